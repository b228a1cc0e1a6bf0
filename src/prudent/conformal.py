"""Ranks of order statistics that are, with a guarantee, not below a quantile or a new value."""

import math
from fractions import Fraction

import numpy as np
from jaxtyping import Float64
from scipy.special import betainc

from prudent.errors import BadInput


def conformal_rank(n: int, *, alpha: float) -> int | None:
    """Which of n sorted scores a new, exchangeable score exceeds with probability at most alpha.

        rank = ceil((n + 1) (1 - alpha))

    Args:
        n: number of scores, at least 1.
        alpha: tolerated chance that the new score is larger, in (0, 1), taken as the decimal it is written as:
            10 * (1 - 0.1) is 9, and no larger.

    Returns: rank in 1 .. n, 1 = the smallest score; None if it would exceed n, that is if only infinity will do.

    Raises:
        BadInput: n below 1, alpha outside (0, 1).

    Source: Vovk, Gammerman, Shafer 2005, "Algorithmic Learning in a Random World"; Angelopoulos, Bates 2021, "A Gentle
    Introduction to Conformal Prediction", arXiv:2107.07511, section 1.
    """
    _check(n, "alpha", alpha)
    rank = math.ceil((n + 1) * (1 - Fraction(repr(float(alpha)))))
    return rank if rank <= n else None


def conformal_quantile(scores: Float64[np.ndarray, " n"], *, alpha: float) -> float:
    """The score that a new, exchangeable one exceeds with probability at most alpha; infinity if n is too small.

    Args:
        scores: (n,), any finite numbers.
        alpha: tolerated chance that the new score is larger, in (0, 1).

    Returns: one of the scores, by selection and without interpolation, or infinity.

    Raises:
        BadInput: no scores, NaN or infinite ones, alpha outside (0, 1).

    Source: as `conformal_rank`.
    """
    values = np.asarray(scores)
    if values.ndim != 1 or values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise BadInput(f"scores are finite numbers of shape (n,); got shape {values.shape}, or NaN or infinite ones")
    rank = conformal_rank(len(values), alpha=alpha)
    return math.inf if rank is None else float(np.partition(values, rank - 1)[rank - 1])


def quantile_rank(n: int, *, quantile: float, delta: float) -> int | None:
    """Which of n sorted values is, with probability at least 1 - delta, not below a quantile of their distribution.

        rank = min { r : P(Bin(n, quantile) >= r) <= delta }

    Args:
        n: number of independent values, at least 1.
        quantile: which quantile is bounded from above (0.99 for the 99th percentile), in (0, 1).
        delta: tolerated chance that the value is below it, in (0, 1).

    Returns: rank in 1 .. n, 1 = the smallest value; None if not even the largest of n will do.

    Raises:
        BadInput: n below 1, quantile or delta outside (0, 1).

    Source: Thompson 1936, "On Confidence Ranges for the Median and Other Expectation Distributions for Populations of
    Unknown Distribution Form".
    """
    _check(n, "quantile", quantile)
    _check(n, "delta", delta)
    low, high = 0, n + 1  # P(Bin >= low) > delta >= P(Bin >= high) throughout; P(Bin >= r) = I_q(r, n - r + 1)
    while high - low > 1:
        middle = (low + high) // 2
        if betainc(middle, n - middle + 1, quantile) <= delta:
            high = middle
        else:
            low = middle
    return high if high <= n else None


def _check(n: int, name: str, value: float) -> None:
    if n < 1:
        raise BadInput(f"at least one score is needed; got n = {n}")
    if not 0 < value < 1:
        raise BadInput(f"{name} lies in (0, 1); got {value}")
