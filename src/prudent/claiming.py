"""From artefacts and a data set to a certificate: what `prudent certify` does, and what checks it in full."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, Int64

from prudent.anytime import certify_anytime
from prudent.artefacts import Answer, Artefact
from prudent.certificates import check_artefact, losses_of
from prudent.certification import WALK, candidate_p_values, certify
from prudent.claims import Options, same_network
from prudent.errors import BadInput, BrokenCertificate, SplitMisuse
from prudent.leakage import Leaks, check_leaks, shared_inputs
from prudent.loss_tables import by_group, losses
from prudent.procedures import PROCEDURES
from prudent.risks import LOSSES, options_of
from prudent.seeds import stream
from prudent.splits import Data, Examples
from prudent.types import Certificate, Losses, Predictions

LossOptions = Mapping[str, float | int | str]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What is to be certified; all of it fixed before any loss is seen.

    Args:
        risks: names in prudent.risks.LOSSES.
        alphas: tolerated risk of each.
        delta: tolerated chance that the claim is wrong.
        bounds: name of the p-value for each.
        procedure: name in prudent.procedures.
        options: of the losses, each given to those that have it; or one such mapping for each risk.
        by_class: whether the claim is about every true class by itself.
    """

    risks: tuple[str, ...]
    alphas: tuple[float, ...]
    delta: float
    bounds: tuple[str, ...]
    procedure: str = "fixed_sequence"
    options: LossOptions | Sequence[LossOptions] | None = None
    by_class: bool = False


def certify_artefacts(
    candidates: Sequence[Artefact], dense: Artefact | None, data: Data, claim: Claim, *, batch: int = 256
) -> tuple[Certificate, Losses | list[Losses]]:
    """Certify artefacts on the certification split of a data set; one of them is in memory at a time.

    Returns: the certificate, with the losses that `prudent.write_certificate` takes.

    Raises:
        BadInput: as `prudent.losses` and `prudent.certify`; no dense network where a risk compares with it.
    """
    batches = data.certification.batches(batch)
    reference = None if dense is None else dense.predict(batches)
    answers = [candidate.predict(batches) for candidate in candidates]
    tables = [_table(answers, reference, candidates, claim, i) for i in range(len(claim.risks))]
    alphas, bounds = list(claim.alphas), list(claim.bounds)
    if claim.by_class:
        labels = _labels(data.certification)
        parts = [by_group(table, labels) for table in tables]
        alphas = [a for a, part in zip(alphas, parts, strict=True) for _ in part]
        bounds = [b for b, part in zip(bounds, parts, strict=True) for _ in part]
        tables = [table for part in parts for table in part]
    made: Losses | list[Losses] = tables[0] if len(tables) == 1 and not claim.by_class else tables
    if isinstance(made, Losses):
        return certify(made, alpha=alphas[0], delta=claim.delta, bound=bounds[0], procedure=claim.procedure), made
    return certify(made, alpha=alphas, delta=claim.delta, bound=bounds, procedure=claim.procedure), made


def certify_artefacts_anytime(
    candidates: Sequence[Artefact],
    dense: Artefact | None,
    data: Data,
    claim: Claim,
    *,
    batch: int = 64,
) -> tuple[Certificate, Losses, int]:
    """The same with as few forward examples as it takes: see `prudent.anytime`.

    The examples come in an order that follows from the split's fingerprint.

    Returns: the certificate, its losses, and the forward examples of the candidates.

    Raises:
        BadInput: more than one risk, or one whose losses are not 0 and 1 for every example; another procedure than the
            walk; as `certify_anytime`.
    """
    if len(claim.risks) != 1 or claim.by_class or claim.risks[0] not in COUNTED:
        raise BadInput(f"anytime certification takes one risk of {', '.join(sorted(COUNTED))}; got {claim.risks}")
    if claim.procedure != WALK:
        raise BadInput(f"anytime certification is a walk, procedure {WALK!r}; got {claim.procedure!r}: leave it out")
    examples, name = _shuffled(data.certification), claim.risks[0]
    inputs, risk, own = torch.from_numpy(examples.inputs), LOSSES[name], _own(claim, 0)
    if risk.dense and dense is None:
        raise BadInput(f"the loss {name!r} compares with the dense network: name it with --dense")
    reference = dense.opened() if risk.dense and dense is not None else None
    opened: dict[int, Answer] = {}
    compared: dict[int, Predictions] = {}

    def asked(answer: Answer, part: slice) -> Predictions:
        labels = None if examples.labels is None else examples.labels[part]
        return Predictions(logits=answer(inputs[part]), labels=labels, split="certification")

    def evaluate(j: int, part: slice) -> Float64[np.ndarray, " k"]:
        if j not in opened:
            opened.clear()
            opened[j] = candidates[j].opened()
        if reference is not None and part.start not in compared:
            compared[part.start] = asked(reference, part)
        return risk.function(asked(opened[j], part), compared.get(part.start), **own)

    found = certify_anytime(
        evaluate, n=len(examples), sparsities=[c.sparsity for c in candidates], alpha=claim.alphas[0],
        delta=claim.delta, names=[c.name for c in candidates], loss=name, options=_settled(name, own),
        bound=claim.bounds[0], batch=batch, data=data.certification.fingerprint,
        models=[c.fingerprint for c in candidates], dense="" if dense is None or not risk.dense else dense.fingerprint,
    )  # fmt: skip
    return found.certificate, found.losses, found.forward_examples


COUNTED = frozenset({"error", "disagreement", "negative_flip", "top_k_error"})
"""Risks whose losses are 0 or 1 for every example."""


def check_rerun(
    path: str | Path, certificate: Certificate, chosen: Artefact, dense: Artefact | None, data: Data
) -> int:
    """Ask the artefact again and compare with the stored losses: the fullest check that there is.

    Another machine may round otherwise, and turn a decision that hangs on the last digit: the certificate stands as
    long as the selected candidate still passes with the losses found now.

    Returns: how many losses of the selected candidate are others than those stored.

    Raises:
        BadInput: nothing was certified, the dense network is needed and absent, groups that only their maker knows.
        BrokenCertificate: other examples or another artefact than those certified, or losses under which it fails.
    """
    at = certificate.selected
    if at is None or not certificate.models:
        raise BadInput("the certificate certifies no artefact that is known by its hash, so there is nothing to run")
    stored = losses_of(path)
    if data.certification.fingerprint != certificate.data:
        raise BrokenCertificate("these are not the examples of the certificate: the split's sha256 differs")
    check_artefact(certificate, chosen.fingerprint, path)
    if certificate.dense and (dense is None or not same_network(dense.fingerprint, certificate.dense)):
        raise BadInput("the claim compares with the dense network: name the very one with --dense")
    shuffled = any(table.stopped for table in stored)
    batches = (_shuffled(data.certification) if shuffled else data.certification).batches()
    found = chosen.predict(batches)
    reference = None if dense is None else dense.predict(batches)
    differing, again = 0, []
    for table in stored:
        now = _again(table, found, reference, data, at)
        differing += _differing(table, now, at)
        again.append(now)
    parts = certificate.parts or (certificate,)
    p = max(candidate_p_values(t, alpha=c.alpha, bound=c.bound)[0] for t, c in zip(again, parts, strict=True))
    # in the place of the p-value that was stored: procedures other than the walk share delta
    vector = np.array([*certificate.p_values[:at], p, *certificate.p_values[at + 1 :]])
    settings = dict(certificate.settings)
    if not PROCEDURES[certificate.procedure](vector, delta=certificate.delta, **settings)[at]:
        raise BrokenCertificate(f"asked again, the artefact does not pass: p = {p:.3g}. Do not rely on it")
    return differing


def _differing(table: Losses, now: Losses, at: int) -> int:
    """Examples whose loss, or whether they count, is not as stored."""
    stored = np.ones(table.n, bool) if table.counted is None else table.counted[:, at]
    found = np.ones(table.n, bool) if now.counted is None else now.counted[:, 0]
    return int(np.count_nonzero((stored != found) | (stored & (table.values[:, at] != now.values[:, 0]))))


def _again(table: Losses, found: Predictions, dense: Predictions | None, data: Data, at: int) -> Losses:
    now = losses([found], sparsities=[table.sparsities[at]], loss=table.loss, dense=dense, options=dict(table.options))
    if table.stopped and table.counted is not None:
        seen = table.counted[:, at : at + 1]
        return replace(now, counted=seen, values=np.where(seen, now.values, 0.0), stopped=True)
    if not table.group:
        return now
    groups = {part.group: part for part in by_group(now, _labels(data.certification))}
    if table.group not in groups:
        raise BadInput(f"who belongs to group {table.group!r} the file does not say: verify without --data")
    return groups[table.group]


def check_unseen(candidates: Sequence[Artefact], data: Data, *, tolerated: int = 0) -> Leaks:
    """Refuse certification examples that are not independent, or that anything which shaped a candidate has used.

    Looked at are the other splits of the data set, and those of the runs that candidates come from.

    Args:
        candidates: what is to be certified, and the dense network.
        data: whose certification split is to be used.
        tolerated: so many spoiled examples of the data set itself are let pass: see `prudent.leakage.check_leaks`.

    Returns: what was found in the data set itself.

    Raises:
        SplitMisuse: the same inputs, number for number, occur twice, or are in the train or validation split.
        BadInput: a data set without a certification split.
    """
    if "certification" not in data.splits:
        raise BadInput(f"data set {data.name!r} has no certification split: it holds strangers, and certifies no task")
    found = check_leaks(data, tolerated=tolerated)
    for candidate in candidates:
        run = None if candidate.trained_on is None else candidate.trained_on()
        for examples in () if run is None else (run.train, run.validation):
            if examples.fingerprint == data.splits[examples.split].fingerprint:
                continue  # looked at above
            shared = shared_inputs(data.certification, examples)
            if shared:
                raise SplitMisuse(
                    f"{shared:,} examples of the {examples.split} split of the run of {candidate.name!r} are among "
                    "those that are to certify it: name the data of that run, with its options, or leave --data out"
                )
    return found


def _table(
    answers: Sequence[Predictions], dense: Predictions | None, candidates: Sequence[Artefact], claim: Claim, i: int
) -> Losses:
    return losses(
        answers, sparsities=[c.sparsity for c in candidates], loss=claim.risks[i], dense=dense,
        names=[c.name for c in candidates], options=_own(claim, i),
    )  # fmt: skip


def _own(claim: Claim, i: int) -> dict[str, float | int | str]:
    """Those of the options that risk `i` of a claim has."""
    given = claim.options or {}
    shared = given if isinstance(given, Mapping) else given[i]
    known = options_of(claim.risks[i])
    return {name: value for name, value in shared.items() if name in known}


def _settled(risk: str, own: Mapping[str, float | int | str]) -> Options:
    """The options as they are used, defaults included: the claim names them."""
    return tuple(sorted((name, own.get(name, known.default)) for name, known in options_of(risk).items()))


def _labels(examples: Examples) -> Int64[np.ndarray, " n"]:
    if examples.labels is None:
        raise BadInput("a claim about every class needs labels, and these examples have none")
    labels: Int64[np.ndarray, " n"] = examples.labels
    return labels


def _shuffled(examples: Examples) -> Examples:
    """The examples in the one order that their fingerprint gives: nobody can draw again until an order pleases."""
    seed = stream("certification order", int(examples.fingerprint[:12], 16))
    order = np.random.default_rng(seed).permutation(len(examples))
    labels = None if examples.labels is None else examples.labels[order]
    return replace(examples, inputs=examples.inputs[order], labels=labels, ids=examples.ids[order])
