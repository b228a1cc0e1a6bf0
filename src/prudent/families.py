"""Families of candidates from cautious to bold as one claim: by upper bounds of their risks, or on average."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from prudent.admission import check_claim, check_tables
from prudent.bounds import BOUNDS
from prudent.claims import Options, bounded
from prudent.crc import adjusted_risks, control_expected_risk
from prudent.errors import BadInput
from prudent.inversion import upper_bounds
from prudent.rcps import last_controlled
from prudent.types import Losses
from prudent.wording import exact_percent, plural


@dataclass(frozen=True, kw_only=True)
class FamilyClaim:
    """How bold a family of candidates may be, selected or not.

    Args:
        method: "rcps" bounds the risk of the selected candidate, "crc" its expectation over the examples too.
        risk: the loss whose mean is bounded.
        alpha: tolerated risk, in (0, 1).
        delta: tolerated chance that the claim is wrong, in (0, 1); None for "crc", which has none.
        n: number of certification examples.
        bound: what `limits` come from: name of a p-value in prudent.bounds, "" for "crc".
        names, sparsities: the candidates, cautious first.
        empirical_risks: mean loss of each.
        limits: of each, its upper confidence bound, or its risk with one more example of loss 1.
        selected: index of the boldest candidate that is controlled, None if there is none.
        data, models, dense: fingerprints of the examples, the candidates and the dense network, "" or () if unknown.
        group, options: as in `Losses`.
    """

    method: Literal["rcps", "crc"]
    risk: str
    alpha: float
    delta: float | None
    n: int
    bound: str
    names: tuple[str, ...]
    sparsities: tuple[float, ...]
    empirical_risks: tuple[float, ...]
    limits: tuple[float, ...]
    selected: int | None
    data: str = ""
    models: tuple[str, ...] = ()
    dense: str = ""
    group: str = ""
    options: Options = ()

    def sentence(self) -> str:
        """The claim in one English sentence."""
        among = f" in {self.group}" if self.group else ""
        what = bounded(self.risk, self.alpha, dict(self.options)) + among
        if self.selected is None:
            return (
                f"Nothing certified: with {plural(self.n, 'example')}, for none of "
                f"{plural(len(self.names), 'candidate')} could it be shown that {what}."
            )
        name = self.names[self.selected]
        if self.delta is None:
            return (
                f"On average over all draws of {plural(self.n, 'certification example')}, {what} for the candidate "
                f"that is selected, here {name!r}; with the examples at hand it may be more."
            )
        return f"With {exact_percent(self.delta, complement=True)} confidence, {what} for {name!r}."


def certify_family(losses: Losses, *, alpha: float, delta: float, bound: str = "binomial") -> FamilyClaim:
    """Risk-controlling prediction sets: the boldest candidate before an upper bound exceeds alpha.

        selected = max { j : u_i <= alpha for all i <= j },    P(risk of the selected <= alpha) >= 1 - delta

    Args:
        losses: (n, candidates) of the certification split, cautious candidates first, an order fixed beforehand. Each
            candidate's risk is about all examples.
        alpha: tolerated risk, in (0, 1).
        delta: tolerated chance that the claim is wrong, in (0, 1).
        bound: name of a p-value in prudent.bounds, whose inversion bounds each risk from above.

    Returns: the claim; `selected` is None if not even the most cautious candidate is controlled, which is a result.

    Raises:
        SplitMisuse: losses of another split.
        BadInput: alpha or delta outside (0, 1), losses that the bound is not valid for, losses of another range than
            [0, 1], about some examples only, in bins, or stopped by looking at them.
        UnknownName: no bound of that name.

    Source: Bates et al. 2021, "Distribution-Free, Risk-Controlling Prediction Sets", arXiv:2101.02703; see
    `prudent.rcps.last_controlled` for what differs.
    """
    _check(losses, alpha, bound)
    if not 0 < delta < 1:
        raise BadInput(f"delta lies in (0, 1); got {delta}")
    limits = upper_bounds(losses.values, delta=delta, bound=bound)
    selected = last_controlled(limits, alpha=alpha)
    return _claim(losses, "rcps", alpha, float(delta), bound, limits, selected)


def certify_family_on_average(losses: Losses, *, alpha: float) -> FamilyClaim:
    """Conformal risk control: the boldest candidate whose expected loss is at most alpha, without a delta.

        selected = max { j : (L_1j + ... + L_nj + 1) / (n + 1) <= alpha }

    Args:
        losses: (n, candidates) of the certification split, cautious candidates first, never falling towards bolder ones
            on any example. Each candidate's risk is about all examples.
        alpha: tolerated expected loss, in (0, 1).

    Returns: the claim; `selected` is None if not even the most cautious candidate is safe.

    Raises:
        SplitMisuse: losses of another split.
        BadInput: alpha outside (0, 1), losses that fall, and losses as in `certify_family`.

    Source: Angelopoulos et al. 2022, "Conformal Risk Control", arXiv:2208.02814.
    """
    _check(losses, alpha, "")
    selected = control_expected_risk(losses.values, alpha=alpha)
    return _claim(losses, "crc", alpha, None, "", adjusted_risks(losses.values), selected)


def _check(losses: Losses, alpha: float, bound: str) -> None:
    check_tables([losses])
    plain = (losses.low, losses.high) == (0, 1) and losses.counted is None and losses.bins is None
    if not plain or losses.stopped:
        raise BadInput(
            f"a family is judged by losses in [0, 1] of all examples; those of {losses.loss!r} have another range, "
            "are about some examples only, in bins, or were stopped: use certify"
        )
    if bound:
        BOUNDS.module(bound)
    check_claim(losses, alpha, bound)


def _claim(
    losses: Losses,
    method: Literal["rcps", "crc"],
    alpha: float,
    delta: float | None,
    bound: str,
    limits: np.ndarray,
    selected: int | None,
) -> FamilyClaim:
    return FamilyClaim(
        method=method,
        risk=losses.loss,
        alpha=float(alpha),
        delta=delta,
        n=losses.n,
        bound=bound,
        names=losses.names,
        sparsities=losses.sparsities,
        empirical_risks=losses.means,
        limits=tuple(float(limit) for limit in limits),
        selected=selected,
        data=losses.data,
        models=losses.models,
        dense=losses.dense,
        group=losses.group,
        options=losses.options,
    )
