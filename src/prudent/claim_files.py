"""Claims that are no walk over networks, as files: Pareto tests, families and cascades, with what they follow from.

Format 3, a JSON document beside the losses or margins that it was computed from. Verifying one runs the same function
on the stored numbers again, writes the document anew, and compares.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from prudent._version import __version__
from prudent.archive import losses_from_bytes, losses_to_bytes
from prudent.cascades import CascadeCertificate, ServedTable, Thresholds, certify_served
from prudent.certificate_documents import ASSUMPTIONS, OTHER, check_digest, digest, read_document
from prudent.certificates import read_stored
from prudent.errors import BadInput, BrokenCertificate, PrudentError, reason
from prudent.families import FamilyClaim, certify_family, certify_family_on_average
from prudent.files import read_file, write_whole
from prudent.keys import canonical
from prudent.pareto import ParetoTest, certify_pareto
from prudent.served_files import fixed_from_bytes, fixed_to_bytes, served_from_bytes, served_to_bytes
from prudent.spending import enter
from prudent.types import Losses

Claimed = ParetoTest | FamilyClaim | CascadeCertificate
"""What such a file states."""

ROUNDED = ("p_values", "choice_p_values", "limits", "empirical_risks")
"""Numbers whose last digits depend on the SciPy version; they may differ by 1e-6, relative."""

EXCHANGEABLE = "The certification examples and new ones are exchangeable; the claim is an average over both."

ORDERS = {
    "pareto": "by p-value on the choice examples, each tested at delta, stop at the first that does not pass",
    "cascade": "the most cautious threshold first, each tested at delta, stop at the first that does not pass",
    "rcps": "cautious candidates first, up to the first whose upper bound exceeds alpha",
    "crc": "the last candidate whose risk, with one more example of loss 1, is at most alpha",
}


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """How one kind of claim is read, computed again and put in words.

    Args:
        noun: the dataclass.
        again: (claim, content of its files by role) -> the claim that follows from them.
        assumptions: beyond those of every certificate.
    """

    noun: type[Claimed]
    again: Callable[[Any, Mapping[str, bytes]], Claimed]
    assumptions: tuple[str, ...]


def write_pareto(
    claim: ParetoTest, choice: Sequence[Losses], certification: Sequence[Losses], path: str | Path
) -> Path:
    """Write a Pareto test as NAME.json, with the losses of both splits beside it. The claim is entered in the ledger.

    Args:
        claim: made from these losses, by a bound of prudent.bounds.
        choice, certification: as in `prudent.pareto.certify_pareto`.
        path: of the JSON file.

    Returns: the path.

    Raises:
        BrokenCertificate: the claim does not follow from the losses.
        UnknownName: a bound of one's own, which nobody else could verify.
    """
    roles = {f"choice-{i}": losses_to_bytes(table) for i, table in enumerate(choice, 1)}
    roles |= {f"losses-{i}": losses_to_bytes(table) for i, table in enumerate(certification, 1)}
    return _write(claim, roles | {"costs": fixed_to_bytes(claim.costs, claim.choice_data)}, Path(path))


def write_family(claim: FamilyClaim, losses: Losses, path: str | Path) -> Path:
    """Write what risk-controlling prediction sets or conformal risk control found, with the losses beside it.

    Args:
        claim: made from these losses.
        losses: as in `prudent.families`.
        path: of the JSON file.

    Returns: the path.

    Raises:
        BrokenCertificate: the claim does not follow from the losses.
    """
    return _write(claim, {"losses-1": losses_to_bytes(losses)}, Path(path))


def write_cascade(claim: CascadeCertificate, table: ServedTable, path: str | Path) -> Path:
    """Write a cascade's claim, with margins and disagreements of the certification examples beside it.

    Args:
        claim: made from the same predictions.
        table: of them, by `prudent.cascades.served_table`.
        path: of the JSON file.

    Returns: the path.

    Raises:
        BrokenCertificate: the claim does not follow from the table.
    """
    fixed = fixed_to_bytes(claim.thresholds, claim.choice_data)
    return _write(claim, {"margins": served_to_bytes(table), "thresholds": fixed}, Path(path))


def verify_claim(path: str | Path) -> Claimed:
    """Recompute a Pareto test, a family's claim or a cascade's from the numbers stored beside it.

    What that shows, and what it cannot, is the same as for `prudent.verify`.

    Args:
        path: of the JSON file.

    Returns: the claim.

    Raises:
        PrudentError: a file is missing or cannot be read.
        BadInput: the file is no such claim, or of a newer format.
        BrokenCertificate: the claim or what it follows from was changed, or they do not agree.
    """
    path = Path(path)
    try:
        return _recomputed(path)
    except PrudentError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        # whatever stands where prudent writes something else: text for a number, no claim, brackets without end
        raise BadInput(f"{path.name} is no claim written by prudent ({reason(error)})") from error


def certified_fingerprint(claim: Claimed) -> str:
    """sha256 of the network that a claim is about: the selected candidate, or the small one of a cascade.

    Raises:
        BadInput: nothing was certified, or the claim does not say which networks it is about.
    """
    models = (claim.small,) if isinstance(claim, CascadeCertificate) else claim.models
    at = 0 if isinstance(claim, CascadeCertificate) else claim.selected
    if claim.selected is None or at is None or not models or not models[at]:
        what = "certifies no network" if claim.selected is None else "does not say which networks it is about"
        raise BadInput(f"this claim {what}, so none can be compared with it")
    return models[at]


def _write(claim: Claimed, roles: Mapping[str, bytes], path: Path) -> Path:
    kind = _kind_of(claim)
    _compare(claim, KINDS[kind].again(claim, roles))
    own = path.name.removesuffix(".json")
    stored = [(role, f"{own}.{role}.safetensors", content) for role, content in roles.items()]
    for _, name, content in stored:
        write_whole(path.with_name(name), content)
    written = _document(claim, stored)
    fixed = {k: v for k, v in written.items() if k not in ("stored", "made_by", "sha256")}
    hashes = [hashlib.sha256(content).hexdigest() for _, _, content in stored]
    # before the claim is there: one that was not counted must not exist
    delta = getattr(claim, "delta", None) or 0.0
    enter(path.parent, hashlib.sha256(canonical([fixed, hashes])).hexdigest(), data=claim.data, delta=delta, what=kind)
    return write_whole(path, json.dumps(written, indent=1) + "\n")


def _recomputed(path: Path) -> Claimed:
    written = read_document(read_file(path), path.name)
    if written["prudent_certificate"] != OTHER:
        raise BadInput(f"{path.name} is a certificate of networks in a walk: prudent.verify checks it")
    check_digest(written, path.name)
    if written.get("kind") not in KINDS:
        raise BadInput(f"{path.name} is of a kind that this version of prudent does not know: {written.get('kind')!r}")
    kind = KINDS[written["kind"]]
    claim = _read(kind.noun, written["result"])
    contents = read_stored(written["stored"], path)
    stored = [(str(e["role"]), name, text) for e, (name, text) in zip(written["stored"], contents, strict=True)]
    again = kind.again(claim, {role: content for role, _, content in stored})
    _compare(claim, again)
    made = _document(replace(again, **{n: getattr(claim, n) for n in ROUNDED if hasattr(claim, n)}), stored)
    for name in sorted({*written, *made} - {"made_by", "sha256"}):
        if canonical(written.get(name)) != canonical(made.get(name)):
            raise BrokenCertificate(f"{name!r} of {path.name} is not what its numbers give. Do not rely on it")
    return claim


def _document(claim: Claimed, stored: Sequence[tuple[str, str, bytes]]) -> dict[str, Any]:
    kind = _kind_of(claim)
    own = KINDS[kind].assumptions
    written: dict[str, Any] = {
        "prudent_certificate": OTHER,
        "kind": kind,
        "claim": claim.sentence(),
        "result": _plain(asdict(claim)),
        "order": ORDERS[kind],
        "split": {"name": "certification", "sha256": claim.data},
        "stored": [
            {"role": role, "file": name, "sha256": hashlib.sha256(content).hexdigest()}
            for role, name, content in stored
        ],
        "assumptions": [EXCHANGEABLE, *own] if kind == "crc" else [*ASSUMPTIONS[:2], *own],
        "made_by": f"prudent {__version__}",
    }
    return written | {"sha256": digest(written)}


def _compare(claim: Claimed, again: Claimed) -> None:
    for field in fields(claim):
        claimed, found = getattr(claim, field.name), getattr(again, field.name)
        same = claimed == found
        if not same and field.name in ROUNDED and len(claimed) == len(found):
            same = bool(np.allclose(claimed, found, rtol=1e-6, atol=0, equal_nan=True))
        if not same:
            raise BrokenCertificate(
                f"the claim says {field.name} = {claimed}; its numbers give {found}. Do not rely on it"
            )


def _kind_of(claim: Claimed) -> str:
    if isinstance(claim, FamilyClaim):
        return claim.method
    return "pareto" if isinstance(claim, ParetoTest) else "cascade"


def _plain(value: Any) -> Any:  # noqa: ANN401 (whatever a claim holds)
    """As JSON has it: an undefined number is null."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _read(noun: type[Claimed], said: dict[str, Any]) -> Claimed:
    def tuples(value: object) -> object:
        return tuple(tuples(inner) for inner in value) if isinstance(value, list) else value

    values = {name: tuples(value) for name, value in said.items()}
    if "p_values" in values:
        values["p_values"] = tuple(math.nan if p is None else p for p in values["p_values"])  # type: ignore[attr-defined]
    found: Claimed = noun(**values)  # type: ignore[arg-type]  # a wrong type differs from what is computed again
    return found


def _pareto_again(claim: ParetoTest, roles: Mapping[str, bytes]) -> ParetoTest:
    tables = {role: losses_from_bytes(content) for role, content in roles.items() if role != "costs"}
    costs, count = fixed_from_bytes(roles["costs"])[0], len(claim.risks)
    if set(tables) != {f"{what}-{i}" for what in ("choice", "losses") for i in range(1, count + 1)}:
        raise BadInput(f"a Pareto test of {count} risks needs the losses of each on both splits; got {sorted(tables)}")
    choice, certification = ([tables[f"{w}-{i}"] for i in range(1, count + 1)] for w in ("choice", "losses"))
    return certify_pareto(choice, certification, alphas=claim.alphas, delta=claim.delta, costs=costs, bound=claim.bound)


def _family_again(claim: FamilyClaim, roles: Mapping[str, bytes]) -> FamilyClaim:
    losses = losses_from_bytes(roles["losses-1"])
    if claim.method == "crc":
        return certify_family_on_average(losses, alpha=claim.alpha)
    if claim.delta is None:
        raise BadInput("a claim by upper bounds has a delta in (0, 1); this one says none")
    return certify_family(losses, alpha=claim.alpha, delta=claim.delta, bound=claim.bound)


def _cascade_again(claim: CascadeCertificate, roles: Mapping[str, bytes]) -> CascadeCertificate:
    values, data = fixed_from_bytes(roles["thresholds"])
    thresholds = Thresholds(values=values, data=data)
    return certify_served(thresholds, served_from_bytes(roles["margins"]), alpha=claim.alpha, delta=claim.delta)


CHOSEN_ELSEWHERE = "The order of testing was chosen on other examples."
FIXED = "Risk, alpha, delta and the order of the candidates were fixed before their losses were seen."

KINDS: Mapping[str, _Kind] = {
    "pareto": _Kind(
        noun=ParetoTest, again=_pareto_again,
        assumptions=(CHOSEN_ELSEWHERE, "Risks, alphas, delta and costs were fixed before the losses were seen."),
    ),
    "rcps": _Kind(noun=FamilyClaim, again=_family_again, assumptions=(FIXED, ASSUMPTIONS[3])),
    "crc": _Kind(
        noun=FamilyClaim, again=_family_again,
        assumptions=(ASSUMPTIONS[1], "Risk, alpha and the order of the candidates were fixed beforehand."),
    ),
    "cascade": _Kind(
        noun=CascadeCertificate, again=_cascade_again,
        assumptions=("The thresholds were chosen on other examples.", "Alpha and delta were fixed beforehand."),
    ),
}  # fmt: skip
