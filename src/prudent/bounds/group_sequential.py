"""The group-sequential p-value, for losses of 0 and 1: looked at every so often among a planned number, exactly."""

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64, Int64
from scipy.special import bdtr, betaincinv

from prudent.bounds._checks import check_binary, check_delta, check_losses
from prudent.bounds._search import largest_counts, smallest_rejected
from prudent.bounds._sums import log_pmf
from prudent.eprocesses import TUNED_FOR
from prudent.errors import BadInput

ORDERED = True  # p depends on when losses came, as the table has them

PLANNED = True
"""Takes the planned number of examples as `n`, of which fewer may have been used."""

EVERY = 64
"""Examples between two looks, as long as that makes no more of them than LOOKS."""

LOOKS = 128
"""So many looks at most, whatever the number of examples."""

NOMINAL, GROWTH = TUNED_FOR / 4, 0.25
"""Shape of the boundary: level of the last look, and how it grows with the share of examples seen. Any are valid."""

ROUNDED = 1 + 1e-9
"""A limit is raised by that much before it is compared with, so that rounding cannot leave out what ties with it."""

Looks = Int64[np.ndarray, " looks"]


def group_sequential(losses: Float64[np.ndarray, " n"], alpha: float, *, n: int | None = None) -> float:
    """p-value of H0 "risk > alpha" for losses of 0 and 1 that were looked at every so often and may have been stopped.

        p = P(min over looks t of u_t(K_t) <= min over looks t until now of u_t(k_t)),    K_t ~ Bin(t, alpha), a path
        u_t(k) = the risk at which P(Bin(t, u) <= k) = c (t/n)^(1/4),    c = 0.0125

    Each look has a limit u of its own, and the least one so far is compared with what all n examples would give at a
    risk of exactly alpha, by summing over all paths: nothing is lost to a union bound or to Ville's inequality. More
    losses, or a higher risk, raise every u_t, so no risk above alpha is wrongly certified more often. Looks come after
    every 64 examples, or n / 128 where that is more, and after the last. Who stops after any look, for whatever
    reason, leaves out the later ones, which can only raise p.

    Args:
        losses: (m,), each exactly 0 or 1, of independent examples in the order in which they were seen.
        alpha: tolerated risk, in (0, 1).
        n: number of examples that were planned, fixed before any loss was seen; m if None.

    Returns: the p-value, in [0, 1]; lower = stronger evidence that the risk is at most alpha. 1 before the first look.

    Raises:
        BadInput: losses other than 0 and 1, no losses, more losses than n, alpha outside (0, 1).

    Source: Armitage, McPherson, Rowe 1969, "Repeated significance tests on accumulating data" (the sum over paths);
    the boundary grows as those of Wang, Tsiatis 1987, "Approximately optimal one-parameter boundaries for group
    sequential trials", of exact binomial levels in place of normal ones. (arXiv: none)
    """
    check_losses(losses, alpha)
    check_binary(losses, "group_sequential", instead="betting")
    looks = looks_of(len(losses) if n is None else n)
    most = _as_good(losses, looks)
    return 1.0 if most is None else crossing(most, looks, alpha)


def upper(losses: Float64[np.ndarray, " n"], delta: float) -> float:
    """The smallest alpha whose p-value is at most delta; 1 if there is none. What is as good does not depend on it."""
    check_losses(losses, 0.5)
    check_binary(losses, "group_sequential", instead="betting")
    check_delta(delta)
    looks = looks_of(len(losses))
    most = _as_good(losses, looks)
    if most is None:
        return 1.0
    return float(smallest_rejected(lambda alpha: np.asarray(crossing(most, looks, float(alpha)) <= delta)))


def looks_of(n: int) -> Looks:
    """After how many of n examples there is a look; the last is after all of them."""
    every = max(EVERY, -(-n // LOOKS))
    return np.minimum(np.arange(every, n + every, every), n)


def boundary(n: int, *, alpha: float, delta: float) -> tuple[Looks, Looks]:
    """The looks among n examples, and how many losses at each certify "risk <= alpha" at level delta; -1 for none.

    Raises:
        BadInput: n below 1, alpha or delta outside (0, 1).
    """
    if n < 1 or not (0 < alpha < 1 and 0 < delta < 1):
        raise BadInput(f"a boundary needs n of 1 or more, alpha and delta in (0, 1); got {n}, {alpha}, {delta}")
    looks, low, high = looks_of(n), 0.0, 1.0
    inside, outside = np.full(len(looks), -1), looks
    while high - low > 2**-45 and not np.array_equal(inside, outside):
        middle = (low + high) / 2
        most = _most_losses(middle, looks)
        if crossing(most, looks, alpha) <= delta:
            low, inside = middle, most
        else:
            high, outside = middle, most
    return looks, inside


def crossing(most: Looks, looks: Looks, alpha: float) -> float:
    """P(at some look at most so many examples are lost), for losses with a chance of alpha each.

    The chances of all counts are carried from look to look, without those that have crossed; counts above the last
    limit never will. Only positive numbers are added.

    Args:
        most: (looks,) not falling; -1 where none is few enough.
        looks: (looks,) rising.
        alpha: in (0, 1).
    """
    states = int(most[-1]) + 1
    if states == 0:
        return 0.0
    chance, first, crossed = np.ones(1), 0, 0.0  # chance[i]: of first + i losses so far
    between = np.diff(looks, prepend=0)
    steps = {width: _step(width, alpha, states) for width in set(between.tolist())}
    for width, limit in zip(between.tolist(), most.tolist(), strict=True):
        step, rare = steps[width]
        crossed += rare * float(chance.sum())
        chance, gone = _trimmed(np.convolve(chance, step)[: states - first])
        crossed += gone
        inside = max(0, min(limit + 1 - first, len(chance)))
        crossed += float(chance[:inside].sum())
        chance, first = chance[inside:], first + inside
        if not len(chance):
            break
    return min(1.0, crossed)


def _step(examples: int, alpha: float, states: int) -> tuple[Float64[np.ndarray, " k"], float]:
    """P(k of so many examples are lost), for k below `states`, without counts that hardly occur, and their chance."""
    k = np.arange(min(examples + 1, states), dtype=np.float64)
    chance = np.asarray(np.exp(log_pmf(k, float(examples), alpha)))
    return _trimmed(chance)


def _trimmed(chance: Float64[np.ndarray, " k"]) -> tuple[Float64[np.ndarray, " j"], float]:
    """Without the highest counts that hardly occur, and their chance: it is taken for crossed, which is too much."""
    above = np.cumsum(chance[::-1])
    # of what is left: where nearly everything is above the last limit already, the rest is the whole p-value
    cut = int(np.searchsorted(above, 1e-40 * above[-1], side="right"))
    if cut in (0, len(chance)):
        return chance, 0.0
    # what is far below matters for small p-values, and is kept
    return chance[: len(chance) - cut], float(above[cut - 1])


def _as_good(losses: Float64[np.ndarray, " m"], looks: Looks) -> Looks | None:
    """At each look the largest count that is as good as the best look at these losses; None before the first look."""
    if len(losses) > looks[-1]:
        raise BadInput(f"{looks[-1]:,} examples were planned; got the losses of {len(losses):,}")
    seen = looks[looks <= len(losses)]
    lost = np.cumsum(losses)[seen - 1]
    if not len(seen) or (lost == seen).all():
        return None
    some = lost < seen
    limits = np.where(some, betaincinv(lost + 1, np.where(some, seen - lost, 1), 1 - _levels(seen, int(looks[-1]))), 1)
    most = _most_losses(min(1.0, float(limits.min()) * ROUNDED), looks)
    at = int(limits.argmin())
    most[at] = max(most[at], int(lost[at]))
    return np.maximum.accumulate(most)


def _most_losses(limit: float, looks: Looks) -> Looks:
    """At each look the largest count k with u_t(k) <= limit; -1 if not even none is that good."""
    levels = _levels(looks, int(looks[-1]))
    counts = largest_counts(lambda k: bdtr(k.astype(np.float64), looks, limit) <= levels, looks)
    return np.maximum.accumulate(counts)


def _levels(looks: Looks, n: int) -> npt.NDArray[np.float64]:
    return np.asarray(NOMINAL * (looks / n) ** GROWTH)
