"""The empirical Bernstein p-value, for losses whose variance is small."""

import math

import numpy as np
from jaxtyping import Float64

from prudent.bounds._checks import check_delta, check_losses, is_binary
from prudent.bounds._sums import total as sum_of


def empirical_bernstein(losses: Float64[np.ndarray, " n"], alpha: float) -> float:
    """p-value of H0 "risk > alpha" for losses in [0, 1], by the variance that the losses themselves show.

        p = min(1, 2 exp(-L)),    L the root of  r + sqrt(2 V L / n) + 7 L / (3 (n-1)) = alpha,    r < alpha

    r is the mean and V the sample variance (n - 1 in the denominator) of the losses. It is the smallest delta at which
    Maurer and Pontil's upper bound of the risk is at most alpha; 1 where r >= alpha, or n = 1.
    Better than bounds that know the mean alone where losses are fractions that vary little.

    Args:
        losses: (n,), each in [0, 1], of independent examples.
        alpha: tolerated risk, in (0, 1).

    Returns: the p-value, in [0, 1]; lower = stronger evidence that the risk is at most alpha.

    Raises:
        BadInput: losses outside [0, 1], no losses, alpha outside (0, 1).

    Source: Maurer, Pontil 2009, "Empirical Bernstein Bounds and Sample Variance Penalization", arXiv:0907.3740,
    theorem 4; solved for delta.
    """
    check_losses(losses, alpha)
    return _p(sum_of(losses), _variance(losses), len(losses), alpha)


def of_count(k: float, n: int, alpha: float) -> float:
    """The p-value of k losses among n, for losses of 0 and 1."""
    return _p(k, k * (n - k) / (n * max(1, n - 1)), n, alpha)


def upper(losses: Float64[np.ndarray, " n"], delta: float) -> float:
    """The smallest alpha whose p-value is at most delta, at most 1; 1 for a single example.

    u = r + sqrt(2 V ln(2/delta) / n) + 7 ln(2/delta) / (3 (n-1))
    """
    check_losses(losses, 0.5)
    check_delta(delta)
    n = len(losses)
    if n == 1:
        return 1.0
    level = math.log(2 / delta)
    spread = math.sqrt(2 * _variance(losses) * level / n)
    return min(1.0, sum_of(losses) / n + spread + 7 * level / (3 * (n - 1)))


def _p(total: float, variance: float, n: int, alpha: float) -> float:
    gap = alpha - total / n
    if n == 1 or gap <= 0:
        return 1.0
    linear, constant = math.sqrt(2 * variance / n), 7 / (3 * (n - 1))
    # the positive root of a quadratic in sqrt(L), in the form without a difference of nearly equal numbers
    root = 2 * gap / (linear + math.sqrt(linear * linear + 4 * constant * gap))
    return min(1.0, 2 * math.exp(-root * root))


def _variance(losses: Float64[np.ndarray, " n"]) -> float:
    """Sample variance, the same whatever the order of the losses; 0 for a single one, where it is not used."""
    n, total = len(losses), sum_of(losses)
    if is_binary(losses):
        return total * (n - total) / (n * max(1, n - 1))
    return math.fsum((losses - total / n) ** 2) / max(1, n - 1)
