"""How diverse a team is where it matters: on the examples that its members get wrong, one member at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from prudent.diversity import MEASURES, diversity_of
from prudent.tallies import Tally, check_members, tally
from prudent.types import Predictions

Teams = Bool[np.ndarray, "teams members"]
Values = Float64[np.ndarray, " teams"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """A pool of members, counted once for all of its teams.

    Args:
        disputed: over the examples on which the members do not all decide the same.
        focal: for each member, over the examples that it gets wrong.
        right: (members,) how many of all examples each gets right.
    """

    disputed: Tally
    focal: tuple[Tally, ...]
    right: Int64[np.ndarray, " members"]


def gather(members: Sequence[Predictions]) -> Pool:
    """Count a pool: everything that teams are judged by.

    Args:
        members: 1 to 64, of one split, on the same labelled examples.

    Raises:
        BadInput: members that do not belong together.
    """
    labels = check_members(members)
    decided = np.stack([member.decisions for member in members])
    return Pool(
        disputed=tally(members, examples=(decided != decided[0]).any(axis=0)),
        focal=tuple(tally(members, examples=one != labels) for one in decided),
        right=np.count_nonzero(decided == labels, axis=1).astype(np.int64),
    )


def baseline_diversity(pool: Pool, teams: Teams, measure: str) -> Values:
    """A measure over the examples on which the pool does not agree, turned so that higher = more diverse.

    Args:
        pool: from `gather`.
        teams: (teams, members) True where a member belongs to a team.
        measure: a name in `diversity.MEASURES`.

    Returns: (teams,) the measure, or minus it where lower is more diverse; NaN where it is undefined.

    Raises:
        UnknownName: another measure.
    """
    values = diversity_of(pool.disputed, teams, measure)
    return values if MEASURES[measure].higher else -values


def focal_diversity(pool: Pool, teams: Teams, measure: str) -> Values:
    """Focal diversity: how differently a team answers what its members, one after the other, get wrong.

        d_F(T)   = the measure over the examples that F gets wrong, for every team T with F, higher = more diverse
        s_F(T)   = (d_F(T) - lowest) / (highest - lowest) of the given teams of T's size with F; 1/2 where all are equal
        focal(T) = sum over F in T of w_F s_F(T) / sum over F in T of w_F,    w_F = rank of F's accuracy, 1 = lowest

    A member that is never wrong, or whose errors leave the measure undefined for T, has no say about T.

    Args:
        pool: from `gather`.
        teams: (teams, members), of any sizes: teams are compared with those of their own size, so all that compete
            belong into one call.
        measure: a name in `diversity.MEASURES`.

    Returns: (teams,) in [0, 1], higher = more diverse; NaN where no member has a say.

    Raises:
        UnknownName: another measure.

    Source: Wu et al. 2021, "Boosting Ensemble Accuracy by Revisiting Ensemble Diversity Metrics" (CVPR, arXiv: none).
    There the errors are sampled at random, 300 times; here all of them count once. Equal accuracies share their ranks.
    """
    sizes = teams.sum(axis=1)
    below, equal = (compare(pool.right[:, None], pool.right).sum(axis=1) for compare in (np.greater, np.equal))
    ranks = below + (equal + 1) / 2
    total, weight = np.zeros(len(teams)), np.zeros(len(teams))
    for member, errors in enumerate(pool.focal):
        inside = np.flatnonzero(teams[:, member])
        values = diversity_of(errors, teams[inside], measure)
        scaled = _scaled(values if MEASURES[measure].higher else -values, sizes[inside])
        has_say = ~np.isnan(scaled)
        total[inside[has_say]] += ranks[member] * scaled[has_say]
        weight[inside[has_say]] += ranks[member]
    focal: Values = np.where(weight > 0, total / np.where(weight > 0, weight, 1), np.nan)
    return focal


def _scaled(values: Values, sizes: np.ndarray) -> Values:
    """From 0 to 1 within each size; 1/2 where all values of a size are equal; NaN stays."""
    most = int(sizes.max(initial=0)) + 1
    low, high = np.full(most, np.inf), np.full(most, -np.inf)
    np.fmin.at(low, sizes, values)
    np.fmax.at(high, sizes, values)
    with np.errstate(invalid="ignore"):
        span = (high - low)[sizes]
    # rounding may part values that are equal
    flat = ~(span > 1e-12)
    scaled = np.where(flat, 0.5, (values - low[sizes]) / np.where(flat, 1.0, span))
    return np.where(np.isnan(values), np.nan, scaled)
