"""Intervals for proportions, medians and over seeds."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from scipy.special import betainc, betaincinv, stdtrit

from prudent.errors import BadInput
from prudent.types import Metric
from prudent.wording import percent, plural

FEWEST = 5
"""Seeds from which on an interval of their mean says something."""

ROUNDING = 1e-6
"""A value may lie so far beyond what its measure can take, and still mean the end of it."""


def upper_limit(k: int, n: int, *, delta: float = 0.05) -> float:
    """One-sided Clopper-Pearson upper limit of a proportion: with probability >= 1 - delta it is not below the truth.

    The smallest rate at which k or fewer of n would have probability at most delta: Beta(1 - delta; k + 1, n - k), and
    1 for k = n.

    Source: Clopper, Pearson 1934, "The Use of Confidence or Fiducial Limits".
    """
    _check(k, n, delta)
    return 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - delta))


def lower_limit(k: int, n: int, *, delta: float = 0.05) -> float:
    """One-sided Clopper-Pearson lower limit of a proportion; the mirror image of `upper_limit`."""
    _check(k, n, delta)
    return 0.0 if k == 0 else float(betaincinv(k, n - k + 1, delta))


def clopper_pearson(k: int, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Two-sided exact interval of a proportion k of n at the given level, (1 - level) / 2 in each tail."""
    tail = (1 - level) / 2
    return lower_limit(k, n, delta=tail), upper_limit(k, n, delta=tail)


def median_interval(values: Sequence[float], *, level: float = 0.95) -> tuple[float, float]:
    """Distribution-free interval of the median: the k-th smallest and the k-th largest value.

        P(x_(k) <= median <= x_(n+1-k)) >= 1 - 2 P(Binomial(n, 1/2) < k)        k the largest for which this is >= level

    Counted in whole numbers, so it holds exactly, for independent values of any distribution.

    Args:
        values: n numbers, in any order; at level 0.95 at least 6.
        level: in (0, 1).

    Returns: (lo, hi), two of the values.

    Raises:
        BadInput: level outside (0, 1), or too few values for any interval of this level.

    Source: Thompson 1936, "On Confidence Ranges for the Median and Other Expectation Distributions for Populations of
    Unknown Distribution Form".
    """
    if not 0 < level < 1:
        raise BadInput(f"the level of an interval lies in (0, 1); got {level}")
    n, k, below = len(values), 0, 0
    tail = Fraction(1 - level) / 2 * 2**n
    # `below` counts the outcomes of n coins with at most k heads
    while 2 * k < n and below + math.comb(n, k) <= tail:
        below += math.comb(n, k)
        k += 1
    if k == 0:
        needed = math.ceil(1 - math.log2(1 - level))
        raise BadInput(f"an interval of the median at level {level:g} needs {needed} values; got {n}")
    ranked = sorted(values)
    return ranked[k - 1], ranked[n - k]


def quantile_rank(n: int, *, quantile: float, delta: float = 0.05) -> int | None:
    """Which of n sorted values is an upper confidence bound of a quantile, such as the latency that 99 % stay below.

        the smallest r with P(Binomial(n, quantile) >= r) <= delta;  then P(x_(r) < the quantile) <= delta

    Args:
        n: number of independent values, of any one distribution.
        quantile: in (0, 1).
        delta: the chance that the bound is below the quantile, in (0, 1).

    Returns: the rank, counted from 1 for the smallest value; None if n values are too few for any.

    Raises:
        BadInput: n below 1, quantile or delta outside (0, 1).

    Source: Thompson 1936, "On Confidence Ranges for the Median and Other Expectation Distributions for Populations of
    Unknown Distribution Form".
    """
    _check(0, n, delta)
    if not 0 < quantile < 1:
        raise BadInput(f"a quantile lies in (0, 1); got {quantile}")
    low, high = 0, n + 1  # P(>= low) > delta >= P(>= high) throughout; P(>= r) = I_q(r, n - r + 1)
    while high - low > 1:
        middle = (low + high) // 2
        if betainc(middle, n - middle + 1, quantile) <= delta:
            high = middle
        else:
            low = middle
    return high if high <= n else None


def over_seeds(
    values: Sequence[float],
    *,
    better: Literal["lower", "higher", "neither"] = "lower",
    within: tuple[float, float] = (-math.inf, math.inf),
) -> Metric:
    """Mean over seeds with its interval.

    From 5 seeds on the interval is Student's t for the mean at 95 %; with fewer it would be too wide to say anything,
    and the lowest and highest seed are given instead. `Metric.interval` says which, and where it was cut off.

    Args:
        values: one number for each seed, at least one.
        better: which direction is better.
        within: the numbers that the measure can take, (0, 1) for a share. Their mean lies there too, so an interval
            that is cut off there covers it exactly as often. An end that a value goes beyond, by more than a rounding,
            is none, and nothing is cut off there.

    Raises:
        BadInput: no value.
    """
    if not values:
        raise BadInput("an interval over seeds needs at least one seed")
    found = _mean(values, better)
    if found.lo is None or found.hi is None:
        return found
    low, high = min(values), max(values)
    least = min(within[0], low) if low >= within[0] - ROUNDING else -math.inf
    most = max(within[1], high) if high <= within[1] + ROUNDING else math.inf
    cut = [f"{end:g}" for end, off in ((least, found.lo < least), (most, found.hi > most)) if off]
    name = found.interval + (f", cut off at {' and '.join(cut)}" if cut else "")
    lo, hi = max(found.lo, least), min(found.hi, most)
    return Metric(value=found.value, lo=lo, hi=hi, interval=name, better=better)


def paired_over_seeds(
    dense: Sequence[float],
    pruned: Sequence[float],
    *,
    looked_at: int = 1,
    better: Literal["lower", "higher", "neither"] = "lower",
) -> Metric:
    """Mean over seeds of pruned minus dense, each network beside the dense one that it came from, with its interval.

        d_s = pruned_s - dense_s,    mean d +- t(1 - 0.025 / looked_at; n - 1) * s_d / sqrt(n)

    What seeds have in common falls out of the difference, so the interval is as a rule far narrower than those of the
    two means. With fewer than 5 seeds the lowest and the highest difference are given, as by `over_seeds`.

    Args:
        dense, pruned: one number for each seed, in the same order of seeds.
        looked_at: of how many figures this one was picked as the most striking, >= 1 (Bonferroni); more than one needs
            5 seeds or more.
        better: which direction of the figure is better; that of a difference is the same.

    Raises:
        BadInput: lengths that differ, no seed, a number that is not finite, looked_at < 1, or more than 1 of fewer than
            5 seeds.
    """
    if len(dense) != len(pruned) or not dense:
        raise BadInput(f"a paired difference needs both networks of each seed; got {len(dense)} and {len(pruned)}")
    if not all(math.isfinite(value) for value in (*dense, *pruned)):
        raise BadInput("a paired difference needs finite numbers; got NaN or infinity")
    n = len(dense)
    if looked_at < 1 or (looked_at > 1 and n < FEWEST):
        raise BadInput(
            f"looked_at counts figures, >= 1, and a range of fewer than {FEWEST} seeds cannot be corrected for it; "
            f"got {looked_at} of {plural(n, 'seed')}"
        )
    return _mean([b - a for a, b in zip(dense, pruned, strict=True)], better, level=1 - 0.05 / looked_at, paired=True)


def _mean(
    values: Sequence[float], better: Literal["lower", "higher", "neither"], *, level: float = 0.95, paired: bool = False
) -> Metric:
    n, mean, noun = len(values), math.fsum(values) / len(values), "difference" if paired else "mean"
    if n < FEWEST:
        name = f"range of {plural(n, 'seed')}" if n > 1 else ""
        lo, hi = (min(values), max(values)) if n > 1 else (None, None)
        return Metric(value=mean, lo=lo, hi=hi, interval=name, better=better)
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = float(stdtrit(n - 1, (1 + level) / 2)) * deviation / math.sqrt(n)
    name = f"{percent(level)} t interval of the {noun} over {plural(n, 'seed')}"
    return Metric(value=mean, lo=mean - half, hi=mean + half, interval=name, better=better)


def _check(k: int, n: int, delta: float) -> None:
    if not 0 <= k <= n or n < 1:
        raise BadInput(f"k of n needs 0 <= k <= n and n >= 1; got {k} of {n}")
    if not 0 < delta < 1:
        raise BadInput(f"delta lies in (0, 1); got {delta}")
