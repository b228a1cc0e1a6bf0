"""Sums of losses, exactly, and the probabilities of sums that several bounds share."""

import math

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64
from scipy.special import bdtr, gammaln, xlogy

from prudent.bounds._checks import is_binary

Numbers = npt.NDArray[np.float64] | float
"""One number, or an array of them: what depends on the sum of losses alone is computed for many at a time."""


def total(losses: Float64[np.ndarray, " n"]) -> float:
    """The sum of losses: the exact count if they are 0 and 1, else correctly rounded, so that order does not matter."""
    return float(np.count_nonzero(losses)) if is_binary(losses) else math.fsum(losses)


def log_chernoff(total: Numbers, n: int, alpha: Numbers) -> npt.NDArray[np.float64]:
    """Logarithm of exp(-n h(min(total / n, alpha), alpha)), h the binary relative entropy in nats.

    Written with the sum instead of the mean, which would be rounded; 0 where the mean is alpha or more.
    """
    rest = n - np.asarray(total)
    exponent = xlogy(total, total / (n * np.asarray(alpha))) + xlogy(rest, rest / (n * (1 - np.asarray(alpha))))
    return np.asarray(np.where(total < n * np.asarray(alpha), -np.maximum(exponent, 0), 0.0))


def tail(k: Numbers, n: int, alpha: Numbers) -> npt.NDArray[np.float64]:
    """P(Bin(n, alpha) <= k) for whole numbers k."""
    return np.asarray(bdtr(k, n, alpha), dtype=np.float64)


def log_pmf(k: Numbers, n: Numbers, alpha: Numbers) -> npt.NDArray[np.float64]:
    """ln P(Bin(n, alpha) = k), to about 1e-16 n absolutely; the factorials are never formed.

        ln f = -n h(k/n, alpha) - ln(2 pi k (n-k) / n) / 2 + s(n) - s(k) - s(n-k),    s = Stirling's remainder

    Source: Loader 2000, "Fast and Accurate Computation of Binomial Probabilities".
    """
    k, n, alpha = (np.asarray(x, dtype=np.float64) for x in (k, n, alpha))
    rest = np.asarray(n - k)  # of single numbers NumPy makes none that is an array
    spread = np.where((k > 0) & (rest > 0), np.log(2 * np.pi * np.maximum(k * (rest / n), 1e-300)), 0.0)
    corrections = np.where((k > 0) & (rest > 0), _stirling(n) - _stirling(k) - _stirling(rest), 0.0)
    divergence = xlogy(k, k / (n * alpha)) + xlogy(rest, rest / (n * (1 - alpha)))
    return np.asarray(corrections - divergence - spread / 2)


def _stirling(m: Numbers) -> npt.NDArray[np.float64]:
    """ln m! less Stirling's approximation ln(sqrt(2 pi m) (m/e)^m); 0 at m = 0, where it is not used."""
    few, many = np.clip(m, 1, 16), np.maximum(m, 16)
    exact = gammaln(few + 1) - (few + 0.5) * np.log(few) + few - 0.5 * np.log(2 * np.pi)
    square = many * many
    series = (1 / 12 - (1 / 360 - (1 / 1260 - 1 / 1680 / square) / square) / square) / many
    return np.asarray(np.where(m < 16, np.where(m > 0, exact, 0.0), series))
