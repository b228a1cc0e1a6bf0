"""A chosen team beside the whole pool, its best member and the dense network, on examples that chose nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool

from prudent.errors import BadInput, SplitMisuse
from prudent.evaluation import evaluate
from prudent.intervals import clopper_pearson, lower_limit, upper_limit
from prudent.loss_tables import check_same_examples
from prudent.tallies import check_members
from prudent.types import Metric, Predictions
from prudent.voting import Voting, combine, vote
from prudent.wording import percent

SHOWN = ("nll", "brier", "ece", "auroc_max_prob", "auroc_entropy")
"""What is told of each side besides its error."""

OWN = ("pool", "best member", "dense")
"""Sides that every comparison has, or may have."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """What one prediction of a network costs.

    Args:
        macs: multiply-accumulates.
        milliseconds: measured time of one pass over a batch, None if it was not measured.
    """

    macs: float
    milliseconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of those that are compared.

    Args:
        name: "team", "pool", "best member", "dense", or a name given.
        members: places in the pool; empty for what is not made of its members.
        cost: number of members / pool size; of the dense network None.
        metrics: error, nll, brier, ece, and with strangers auroc_max_prob and auroc_entropy. The error is that of the
            vote asked for; the others are of the mean probability, whatever the vote.
        change: error of the dense network minus this one's, on the same examples; above 0 = better than dense.
        price: of all members one after the other.
        change_lo, change_hi: 95 % limits of the change for other examples of the same kind; None without dense.
    """

    name: str
    members: tuple[int, ...]
    cost: float | None
    metrics: dict[str, Metric]
    change: float | None
    price: Price | None
    change_lo: float | None = None
    change_hi: float | None = None


def compare_team(
    members: Sequence[Predictions],
    teams: dict[str, Sequence[int]],
    *,
    best: int,
    dense: Predictions | None = None,
    ood: Sequence[Predictions] | None = None,
    dense_ood: Predictions | None = None,
    prices: Sequence[Price] | None = None,
    dense_price: Price | None = None,
    voting: Voting = "soft",
) -> tuple[Side, ...]:
    """Set chosen teams beside the whole pool, its best member and the dense network.

        cost(team) = members of the team / members of the pool;    MACs and time of a team: the sum of its members'
        change = share of examples that it alone is right on - share that dense alone is right on

    The limits of the change hold for the two shares together (Clopper-Pearson, a quarter of 5 % on each side of each).

    Args:
        members: predictions of every member of the pool on the *test* split, labelled.
        teams: name of each team -> places of its members, chosen on other examples.
        best: place of the best member, chosen on other examples too.
        dense: the dense network's predictions on the same examples.
        ood: what every member answers to strangers, in the same order.
        dense_ood: what the dense network answers to them.
        prices, dense_price: of every member, and of the dense network.
        voting: how teams and the pool decide.

    Returns: the teams in their order, then "pool", "best member", and with `dense` "dense".

    Raises:
        SplitMisuse: predictions of another split than test; strangers that are none.
        BadInput: members, dense network or strangers that do not belong together, places outside the pool, lists of
            other lengths than the pool, a team named as another side is.
    """
    _check_sides(members, teams, dense, ood, dense_ood)
    for what, listed in (("predictions of strangers", ood), ("prices", prices)):
        if listed is not None and len(listed) != len(members):
            raise BadInput(f"a pool of {len(members)} members needs as many {what}; got {len(listed)}")
    sides = {**{name: tuple(team) for name, team in teams.items()}, "pool": tuple(range(len(members)))}
    found = []
    for name, team in {**sides, "best member": (best,)}.items():
        if not team or len(set(team)) < len(team) or not all(0 <= i < len(members) for i in team):
            raise BadInput(f"{name} names members by different places 0 .. {len(members) - 1}; got {list(team)}")
        chosen = [members[i] for i in team]
        strangers = None if ood is None else [ood[i] for i in team]
        price = None if prices is None else _total([prices[i] for i in team])
        metrics = _metrics(chosen, strangers, voting)
        cost = len(team) / len(members)
        found.append(Side(name=name, members=team, cost=cost, metrics=metrics, change=None, price=price))
    if dense is None:
        return tuple(found)
    metrics = _metrics([dense], None if dense_ood is None else [dense_ood], voting)
    found.append(Side(name="dense", members=(), cost=None, metrics=metrics, change=None, price=dense_price))
    error, right = metrics["error"].value, vote([dense], voting=voting) == dense.labels
    compared = []
    for side in found:
        own = [members[i] for i in side.members] or [dense]
        lo, hi = _limits(vote(own, voting=voting) == dense.labels, right)
        change = error - side.metrics["error"].value
        compared.append(replace(side, change=change, change_lo=lo, change_hi=hi))
    return tuple(compared)


def _limits(right: Bool[np.ndarray, " n"], dense: Bool[np.ndarray, " n"]) -> tuple[float, float]:
    """95 % limits of how much more often one is right than the other, from the examples on which they differ."""
    n, gained, lost = len(right), int((right & ~dense).sum()), int((~right & dense).sum())
    tail = 0.05 / 4
    return (
        lower_limit(gained, n, delta=tail) - upper_limit(lost, n, delta=tail),
        upper_limit(gained, n, delta=tail) - lower_limit(lost, n, delta=tail),
    )


def _check_sides(
    members: Sequence[Predictions],
    teams: Mapping[str, Sequence[int]],
    dense: Predictions | None,
    ood: Sequence[Predictions] | None,
    dense_ood: Predictions | None,
) -> None:
    """Refuse what cannot stand side by side: other splits, other examples, two sides of one name."""
    check_members(members)
    taken = [name for name in teams if name in OWN]
    if taken:
        raise BadInput(f"{', '.join(OWN)} are sides of every comparison; name the team {taken[0]!r} otherwise")
    known, strangers = [*members, *([dense] if dense else [])], [*(ood or []), *([dense_ood] if dense_ood else [])]
    for given, split in ((known, "test"), (strangers, "ood")):
        for one in given:
            if one.split != split:
                raise SplitMisuse(f"teams are reported on the {split} split; these predictions come from {one.split!r}")
            check_same_examples(given[0], one)


def _metrics(members: list[Predictions], ood: list[Predictions] | None, voting: Voting) -> dict[str, Metric]:
    one = len(members) == 1
    joined, strangers = members[0], ood[0] if ood is not None and one else None
    if not one:
        joined, strangers = combine(members), None if ood is None else combine(ood)
    found = evaluate(joined, ood=strangers)
    wrong, n = int(np.count_nonzero(vote(members, voting=voting) != joined.labels)), joined.n
    lo, hi = clopper_pearson(wrong, n)
    error = Metric(value=wrong / n, lo=lo, hi=hi, interval=f"{percent(0.95)} Clopper-Pearson")
    return {"error": error, **{name: found[name] for name in SHOWN if name in found}}


def _total(prices: Sequence[Price]) -> Price:
    times = [price.milliseconds for price in prices if price.milliseconds is not None]
    return Price(
        macs=sum(price.macs for price in prices), milliseconds=sum(times) if len(times) == len(prices) else None
    )
