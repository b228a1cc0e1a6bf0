"""Pareto testing: several risks and a cost, with an order of testing chosen on examples of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from prudent.certification import Bound, candidate_p_values
from prudent.claims import bounded
from prudent.errors import BadInput, SplitMisuse
from prudent.multirisk import JoinedRisks, join_risks
from prudent.procedures.fixed_sequence import fixed_sequence
from prudent.types import Losses
from prudent.wording import exact_percent, plural


@dataclass(frozen=True, kw_only=True)
class ParetoTest:
    """The result of Pareto testing, selected or not.

    Args:
        risks, alphas: the losses whose population means are bounded, and by what.
        delta: tolerated chance that any claim about a certified candidate is wrong, in (0, 1).
        names: the candidates, in the order given.
        order: indices of the Pareto set's candidates in the order of testing; others are not tested.
        choice_p_values: (candidates,) of all risks together on the choice split; they claim nothing.
        p_values: (candidates,) of all risks together on the certification split.
        binding: (candidates,) index of the risk that each of `p_values` comes from.
        certified: (candidates,) whether all risks of each are controlled.
        selected: index of the cheapest certified candidate, None if there is none.
        limits: each bounded risk in words.
        bound: name of the p-value.
        costs: (candidates,) what is to be small.
        n, choice_n: number of examples that certify, and of those that the order was chosen on.
        data, choice_data, models, dense: fingerprints of the examples of both kinds, of the candidates and of the dense
            network, "" or () if unknown.
    """

    risks: tuple[str, ...]
    alphas: tuple[float, ...]
    delta: float
    names: tuple[str, ...]
    order: tuple[int, ...]
    choice_p_values: tuple[float, ...]
    p_values: tuple[float, ...]
    binding: tuple[int, ...]
    certified: tuple[bool, ...]
    selected: int | None
    limits: tuple[str, ...]
    bound: str
    costs: tuple[float, ...]
    n: int
    choice_n: int
    data: str = ""
    choice_data: str = ""
    models: tuple[str, ...] = ()
    dense: str = ""

    def sentence(self) -> str:
        """The claim in one English sentence."""
        confidence, what = exact_percent(self.delta, complement=True), " and ".join(self.limits)
        if self.selected is None:
            return (
                f"Nothing certified: with {plural(self.n, 'example')}, for none of "
                f"{plural(len(self.order), 'candidate')} on the Pareto front could it be shown with {confidence} "
                f"confidence that {what}."
            )
        passed = plural(sum(self.certified), "certified candidate")
        return f"With {confidence} confidence, {what} for {self.names[self.selected]!r}, the cheapest of {passed}."


def pareto_front(objectives: Float64[np.ndarray, "candidates objectives"]) -> Bool[np.ndarray, " candidates"]:
    """Which candidates no other beats: none is at most as large everywhere and smaller somewhere.

    Args:
        objectives: (candidates, objectives), lower = better in each, no NaN.

    Returns: (candidates,), True = on the front; candidates with equal objectives stay or go together.

    Raises:
        BadInput: no candidates or objectives, NaN.

    Source: the definition (Pareto 1906, "Manuale di economia politica").
    """
    values = np.asarray(objectives)
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "biuf" or np.isnan(values).any():
        raise BadInput(f"objectives are numbers (candidates, objectives) without NaN; got shape {values.shape}")
    # one candidate at a time: all pairs at once would need candidates^2 * objectives numbers
    beaten = [((values <= own).all(axis=1) & (values < own).any(axis=1)).any() for own in values]
    return ~np.array(beaten)


def certify_pareto(
    choice: Sequence[Losses],
    certification: Sequence[Losses],
    *,
    alphas: Sequence[float],
    delta: float,
    costs: Sequence[float] | None = None,
    bound: str | Bound = "hoeffding_bentkus",
) -> ParetoTest:
    """Certify several risks at once and select the cheapest candidate for which all of them are controlled.

        choice split:        Pareto set of (empirical risks, cost), in order of increasing p_j = max over r of p_rj
        certification split: fixed sequence in that order at level delta, with p-values of the same kind

    P(a certified candidate has any risk above its alpha) <= delta, so that choosing among them is free.

    Args:
        choice: losses of the validation split, one `Losses` for each risk, of the same candidates.
        certification: losses of the certification split: the same risks in the same order, the same candidates, other
            examples.
        alphas: tolerated risks, one for each risk, in (0, 1).
        delta: tolerated chance that any claim is wrong, in (0, 1).
        costs: (candidates,) what is to be small, finite; known without the certification split. By default the share of
            weights that is kept, 1 - sparsity.
        bound: name of a p-value in prudent.bounds, or such a function.

    Returns: what was tested in which order, and the cheapest certified candidate; of equally cheap ones the first in
    the order of testing.

    Raises:
        SplitMisuse: losses of other splits, or both of the same examples.
        BadInput: risks, candidates or examples that do not match, alphas or delta outside (0, 1), costs that are not
            finite, losses that the bound is not valid for.
        UnknownName: no bound of that name.

    Source: Laufer-Goldshtein et al. 2022, "Efficiently Controlling Multiple Risks with Pareto Testing",
    arXiv:2210.07913. Its published code tests differences of accuracies, for which that p-value is not valid; here only
    losses in [0, 1] are tested.
    """
    _check_splits(choice, certification)
    tolerated = _tolerated(alphas, len(choice))
    if not 0 < delta < 1:
        raise BadInput(f"delta lies in (0, 1); got {delta}")
    names = choice[0].names
    cost = _costs([1 - s for s in choice[0].sparsities] if costs is None else costs, len(names))
    chosen = _joined(choice, tolerated, bound)
    front = pareto_front(np.column_stack([*(losses.means for losses in choice), cost]))
    order = [int(j) for j in np.argsort(chosen.p_values, kind="stable") if front[j]]
    joined = _joined(certification, tolerated, bound)
    certified = np.zeros(len(names), dtype=np.bool_)
    certified[order] = fixed_sequence(joined.p_values[order], delta=delta)
    return ParetoTest(
        risks=tuple(losses.loss for losses in certification),
        alphas=tolerated,
        delta=float(delta),
        names=names,
        order=tuple(order),
        choice_p_values=tuple(float(p) for p in chosen.p_values),
        p_values=tuple(float(p) for p in joined.p_values),
        binding=tuple(int(r) for r in joined.binding),
        certified=tuple(bool(c) for c in certified),
        selected=min((j for j in order if certified[j]), key=lambda j: cost[j], default=None),
        limits=tuple(_limit(losses, a) for losses, a in zip(certification, tolerated, strict=True)),
        bound=bound if isinstance(bound, str) else str(getattr(bound, "__name__", "custom")),
        costs=tuple(float(c) for c in cost),
        n=certification[0].n,
        choice_n=choice[0].n,
        data=certification[0].data,
        choice_data=choice[0].data,
        models=certification[0].models,
        dense=next((losses.dense for losses in certification if losses.dense), ""),
    )


def _limit(losses: Losses, alpha: float) -> str:
    among = f" in {losses.group}" if losses.group else ""
    return bounded(losses.loss, alpha, dict(losses.options)) + among


def _joined(risks: Sequence[Losses], alphas: tuple[float, ...], bound: str | Bound) -> JoinedRisks:
    """All risks of each candidate in one p-value."""
    each = [candidate_p_values(table, alpha=a, bound=bound) for table, a in zip(risks, alphas, strict=True)]
    return join_risks(np.array(each, dtype=np.float64))


def _check_splits(choice: Sequence[Losses], certification: Sequence[Losses]) -> None:
    """Refuse risks, candidates, splits and examples that do not belong together."""
    if not choice or len(choice) != len(certification):
        raise BadInput(
            "Pareto testing needs the losses of the same risks on both splits, at least one; got "
            f"{len(choice)} for the choice and {len(certification)} for the certification"
        )
    for wanted, risks in (("validation", choice), ("certification", certification)):
        for losses in risks:
            if losses.split != wanted:
                raise SplitMisuse(
                    f"the order of testing is chosen on the validation split and tested on the certification split; "
                    f"losses that must be of {wanted!r} come from {losses.split!r}"
                )
            if (losses.n, losses.data, losses.models) != (risks[0].n, risks[0].data, choice[0].models):
                raise BadInput(f"all risks need the same networks, of one split the same examples; not {losses.loss!r}")
    for before, after in zip(choice, certification, strict=True):
        if (before.loss, before.names, before.sparsities) != (after.loss, after.names, after.sparsities) or (
            before.names != choice[0].names
        ):
            raise BadInput(
                f"both splits need the same risks of the same candidates in the same order; got {before.loss!r} of "
                f"{list(before.names)} and {after.loss!r} of {list(after.names)}"
            )
    if choice[0].data and choice[0].data == certification[0].data:
        raise SplitMisuse(
            "the order of testing must be chosen on other examples than those of the test; both are "
            f"{choice[0].data[:12]}: keep a validation split"
        )


def _tolerated(alphas: Sequence[float], risks: int) -> tuple[float, ...]:
    if len(alphas) != risks or not all(0 < a < 1 for a in alphas):
        raise BadInput(f"each of {risks} risks needs its alpha in (0, 1); got {list(alphas)}")
    return tuple(float(a) for a in alphas)


def _costs(costs: Sequence[float], candidates: int) -> Float64[np.ndarray, " candidates"]:
    values: Float64[np.ndarray, " candidates"] = np.array(costs, dtype=np.float64)
    if values.shape != (candidates,) or not np.isfinite(values).all():
        raise BadInput(f"each of {candidates} candidates needs a finite cost; got {list(costs)}")
    return values
