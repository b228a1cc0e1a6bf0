"""The hockey-stick p-value, for any bounded loss: never above Hoeffding-Bentkus."""

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64
from scipy.special import betaincc

from prudent.bounds._checks import check_losses
from prudent.bounds._sums import Numbers, log_pmf
from prudent.bounds._sums import total as sum_of


def hockey_stick(losses: Float64[np.ndarray, " n"], alpha: float) -> float:
    """p-value of H0 "risk > alpha" for losses in [0, 1], by the best of all hockey-stick functions.

        p = min over integers s > S of E(s - B)_+ / (s - S),    B ~ Bin(n, alpha),  S = sum of losses

    For losses of mean at least alpha, E(s - sum)_+ is at most E(s - B)_+ (0/1 losses are the most spread out), so by
    Markov's inequality P(sum <= S) is at most the ratio for each s > S. The best s belongs to S and not to the losses,
    so nothing has to be paid for taking it. Both parts of Hoeffding-Bentkus follow from averages of such functions:
    this p-value is never the larger one.

    Args:
        losses: (n,), each in [0, 1], of independent examples.
        alpha: tolerated risk, in (0, 1).

    Returns: the p-value, in [0, 1]; lower = stronger evidence that the risk is at most alpha.

    Raises:
        BadInput: losses outside [0, 1], no losses, alpha outside (0, 1).

    Source: after Bentkus 2004, "On Hoeffding's inequalities", arXiv:math/0410159, whose factor e and log-linear
    interpolation come from bounding this minimum; here it is computed.
    """
    check_losses(losses, alpha)
    return float(of_sum(sum_of(losses), len(losses), alpha))


def of_sum(total: Numbers, n: int, alpha: Numbers) -> npt.NDArray[np.float64]:
    """The p-value of a sum of n losses, for arrays of sums and of alpha."""
    total, alpha = np.broadcast_arrays(np.asarray(total, dtype=np.float64), np.asarray(alpha, dtype=np.float64))
    low, high = np.minimum(np.floor(total) + 1, n), np.full(total.shape, float(n))
    # the ratio falls until F(s) (s - S) >= E(s - B)_+ and rises from there; any s gives a valid p-value
    while (low < high).any():
        middle = np.floor((low + high) / 2)
        rises = _cdf(middle, n, alpha) * (middle - total) >= _shortfall(middle, n, alpha)
        low, high = np.where(rises, low, np.minimum(middle + 1, high)), np.where(rises, middle, high)
    gap = low - total
    return np.asarray(np.where(gap > 0, np.minimum(1.0, _shortfall(low, n, alpha) / np.where(gap > 0, gap, 1.0)), 1.0))


def _shortfall(s: Numbers, n: int, alpha: Numbers) -> npt.NDArray[np.float64]:
    """E(s - B)_+ for B ~ Bin(n, alpha) and integers 0 < s <= n.

    E(s - B)_+ = s (n-s)/n P(B = s) + (s - n alpha) P(Bin(n-1, alpha) <= s-1)
    """
    mass = s * ((n - s) / n) * np.exp(log_pmf(s, n, alpha))
    value = mass + (s - n * alpha) * _cdf(s - 1, n - 1, alpha)
    # far in the tail the two nearly cancel; the sum over j < s of P(B <= j) is at least its last term
    return np.asarray(np.maximum(value, _cdf(s - 1, n, alpha)))


def _cdf(k: Numbers, n: int, alpha: Numbers) -> npt.NDArray[np.float64]:
    """P(Bin(n, alpha) <= k) for integers k >= 0: smoother in its last digits than a sum of probabilities."""
    inside = k < n
    return np.asarray(np.where(inside, betaincc(np.where(inside, k + 1, 1), np.where(inside, n - k, 1), alpha), 1.0))
