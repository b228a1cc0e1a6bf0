"""How well every detector tells strangers from the task, on the dense network and beside it on pruned ones."""

import hashlib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prudent.batches import Batch, check_purpose, check_repeatable
from prudent.catalogue import check_options
from prudent.detection import Scores, aupr_id, aupr_ood, auroc, fpr_id_at_tpr95_ood, fpr_ood_at_tpr95_id
from prudent.errors import BadInput, PrudentError, SplitMisuse, UnknownName
from prudent.network import check_runs
from prudent.observation import device_of, quiet
from prudent.ood import OOD
from prudent.wording import plural

MEASURES = {
    "auroc": auroc,
    "aupr_ood": aupr_ood,
    "aupr_id": aupr_id,
    "fpr_id_at_tpr95_ood": fpr_id_at_tpr95_ood,
    "fpr_ood_at_tpr95_id": fpr_ood_at_tpr95_id,
}
"""Name -> what it computes from scores of known and of OOD examples; see `prudent.detection`."""


@dataclass(frozen=True, kw_only=True)
class Separation:
    """How well one detector on one network tells one set of strangers from the task.

    Args:
        detector: its name in `prudent.ood`.
        network: name of the network.
        strangers: name of the set.
        values: by name as in MEASURES; empty where the detector does not work on this network.
        note: what it said about this network (a singular covariance), or why it refused; "" for nothing.
    """

    detector: str
    network: str
    strangers: str
    values: Mapping[str, float]
    note: str = ""


def separations(
    networks: Mapping[str, nn.Module],
    batches: Iterable[Batch],
    known: Iterable[Batch],
    strangers: Mapping[str, Iterable[Batch]],
    *,
    detectors: Sequence[str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[Separation, ...]:
    """Fit every detector to every network anew, and measure how well it tells each set of strangers from the task.

    A detector that cannot work on a network (a network that ends in no linear layer, a pruned one that is always
    undecided) is in the result with its reason, and the others go on.

    Args:
        networks: by name, for example {"dense": ..., "pruned": ...}, all for the same task. Not changed.
        batches: inputs and labels of the train or validation split, to fit to; read again for every detector.
        known: examples of the task that the networks have not seen: of the test split (or validation split, if
            `batches` are not).
        strangers: by name, for example {"near": ..., "far": ...}; without examples of `batches` or `known`.
        detectors: names in `prudent.ood`; all by default.
        options: detector -> its options.

    Returns: one for each detector, set of strangers and network, in this order of nesting.

    Raises:
        BadInput: no network or no strangers, an iterator instead of batches, sets without examples, strangers that
            are among the examples of the task (see `check_strange`), inputs that are not finite or that a network
            does not run on, networks with different numbers of classes.
        UnknownName: a detector, or options of one, that does not exist.
        SplitMisuse: known examples that are there for training or for the certificate.
    """
    names = list(OOD) if detectors is None else list(detectors)
    asked = {name: dict((options or {}).get(name, {})) for name in names}
    _check(networks, names, options or {}, strangers)
    for given in (batches, known, *strangers.values()):
        check_repeatable(given)
    check_purpose(known, purpose="telling strangers apart", allowed=("validation", "test"))
    check_purpose(batches, purpose="fitting an OOD detector", allowed=("train", "validation"))
    check_strange(strangers, {"batches": batches, "known": known})
    _check_answers(networks, [batches, known, *strangers.values()])
    rows = {
        (name, label): _fitted(name, model, batches, known, strangers, asked[name])
        for name in names
        for label, model in networks.items()
    }
    return tuple(
        Separation(detector=name, network=label, strangers=other, values=rows[name, label][0].get(other, {}),
                   note=rows[name, label][1])
        for name in names
        for other in strangers
        for label in networks
    )  # fmt: skip


def check_strange(strangers: Mapping[str, Iterable[Batch]], task: Mapping[str, Iterable[Batch]]) -> None:
    """Refuse strangers that are examples of the task: who was trained on them does not find them strange.

    Inputs are compared by a hash of their shape and of their numbers as float32. An input that was changed by
    anything (another scaling, a compression) is not found.

    Args:
        strangers: set by name; read once.
        task: set by name; read once.

    Raises:
        BadInput: an input that is in a set of both.
    """
    seen: dict[bytes, str] = {}
    for name, batches in task.items():
        for digest in _digests(batches):
            seen.setdefault(digest, name)
    for name, batches in strangers.items():
        shared = [seen[digest] for digest in _digests(batches) if digest in seen]
        if shared:
            where = " and ".join(repr(other) for other in task if other in shared)
            raise BadInput(
                f"OOD examples are none of the task's; {plural(len(shared), 'input')} of {name!r} "
                f"{'is' if len(shared) == 1 else 'are'} also in {where}: take them out of one of the sets"
            )


def separation_table(found: Sequence[Separation], *, measure: str = "auroc", digits: int = 3) -> str:
    """One measure as a Markdown table: a row for each detector and set of strangers, a column for each network.

    Args:
        found: what `separations` returned.
        measure: a name in MEASURES.
        digits: after the point.

    Returns: the table, with "-" where a detector did not work; notes follow as a list.

    Raises:
        UnknownName: no such measure.
        BadInput: nothing found.
    """
    if measure not in MEASURES:
        raise UnknownName.of("measure", measure, MEASURES)
    if not found:
        raise BadInput("a table needs at least one separation; got none")
    networks = list(dict.fromkeys(one.network for one in found))
    cells = {(one.detector, one.strangers, one.network): one.values.get(measure) for one in found}
    lines = [f"| detector | strangers | {' | '.join(networks)} |", "|---|---|" + "---|" * len(networks)]
    for detector, strangers in dict.fromkeys((one.detector, one.strangers) for one in found):
        values = (cells.get((detector, strangers, network)) for network in networks)
        shown = ("-" if value is None else f"{value:.{digits}f}" for value in values)
        lines.append(f"| {detector} | {strangers} | {' | '.join(shown)} |")
    notes = dict.fromkeys(f"- {one.network}: {one.note}" for one in found if one.note)
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def _check(
    networks: Mapping[str, nn.Module],
    names: Sequence[str],
    options: Mapping[str, Mapping[str, Any]],
    strangers: Mapping[str, Iterable[Batch]],
) -> None:
    if not networks or not strangers or not names:
        raise BadInput(
            "at least one network, detector and set of strangers is needed; "
            f"got {len(networks)}, {len(names)} and {len(strangers)}"
        )
    for name in names:
        if name not in OOD:
            raise UnknownName.of("detector", name, OOD)
    for name, given in options.items():
        if name not in names:
            raise UnknownName.of("detector to give options to", name, names)
        check_options(OOD[name], dict(given), noun=f"detector {name!r}", given=("model", "batches"))


def _check_answers(networks: Mapping[str, nn.Module], sets: Sequence[Iterable[Batch]]) -> None:
    """Refuse sets that no detector could work with, which else each of them would say by itself."""
    classes = {
        label: {check_runs(model, next(_inputs(given))[:2].to(device_of(model))).shape[1] for given in sets}
        for label, model in networks.items()
    }
    if len(set().union(*classes.values())) > 1:
        told = ", ".join(f"{label}: {' or '.join(map(str, sorted(found)))}" for label, found in classes.items())
        raise BadInput(f"networks to compare answer the same classes; these answer logits of {told}")


def _fitted(
    name: str,
    model: nn.Module,
    batches: Iterable[Batch],
    known: Iterable[Batch],
    strangers: Mapping[str, Iterable[Batch]],
    options: Mapping[str, Any],
) -> tuple[dict[str, dict[str, float]], str]:
    """Values by set of strangers, and what is to be said about this detector on this network."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            score = OOD.call(name, model, batches, **options)
            inside = _scores(score, known)
            outside = {other: _scores(score, examples) for other, examples in strangers.items()}
        except SplitMisuse:
            raise
        except PrudentError as error:
            return {}, str(error)
    values = {
        other: {measure: compute(inside, scores) for measure, compute in MEASURES.items()}
        for other, scores in outside.items()
    }
    return values, "; ".join(dict.fromkeys(str(one.message) for one in said))


def _scores(score: Any, batches: Iterable[Batch]) -> Scores:  # noqa: ANN401 (a detector, also of one's own)
    parts = [score(inputs) for inputs in _inputs(batches)]
    joined: Scores = np.concatenate(parts)
    return joined


def _inputs(batches: Iterable[Batch]) -> Iterator[Tensor]:
    for batch in quiet(batches):
        yield batch if isinstance(batch, Tensor) else batch[0]


def _digests(batches: Iterable[Batch]) -> Iterator[bytes]:
    empty = True
    for inputs in _inputs(batches):
        empty = empty and len(inputs) == 0
        if not torch.isfinite(inputs).all():
            raise BadInput("known examples and strangers are finite numbers; some inputs hold NaN or infinity")
        # + 0.0: -0 and 0 are the same number
        rows = (inputs.detach().cpu().to(torch.float32) + 0.0).contiguous().numpy()
        shape = repr(rows.shape[1:]).encode()
        for row in rows:
            yield hashlib.blake2b(shape + row.tobytes(), digest_size=16).digest()
    if empty:
        raise BadInput("known examples and strangers need at least one example each; a set is empty")
