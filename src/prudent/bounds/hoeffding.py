"""Hoeffding's p-value, for any bounded loss."""

import math

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64

from prudent.bounds._checks import check_delta, check_losses
from prudent.bounds._sums import Numbers
from prudent.bounds._sums import total as sum_of


def hoeffding(losses: Float64[np.ndarray, " n"], alpha: float) -> float:
    """Hoeffding's p-value of H0 "risk > alpha" for losses in [0, 1], by the simplest of all bounds.

        p = exp(-2 max(0, n alpha - S)^2 / n),    S = sum of losses

    There for comparison: kl_hoeffding is never larger, and much smaller where alpha is far from 1/2.

    Args:
        losses: (n,), each in [0, 1], of independent examples.
        alpha: tolerated risk, in (0, 1).

    Returns: the p-value, in [0, 1]; lower = stronger evidence that the risk is at most alpha.

    Raises:
        BadInput: losses outside [0, 1], no losses, alpha outside (0, 1).

    Source: Hoeffding 1963, "Probability Inequalities for Sums of Bounded Random Variables", theorem 2 (arXiv: none).
    """
    check_losses(losses, alpha)
    return float(of_sum(sum_of(losses), len(losses), alpha))


def of_sum(total: Numbers, n: int, alpha: Numbers) -> npt.NDArray[np.float64]:
    """The p-value of a sum of n losses, for arrays of sums and of alpha."""
    gap = np.maximum(0, n * np.asarray(alpha) - total)
    return np.asarray(np.exp(-2 * gap * gap / n))


def upper(losses: Float64[np.ndarray, " n"], delta: float) -> float:
    """The smallest alpha whose p-value is at most delta, at most 1.

    u = S / n + sqrt(ln(1/delta) / (2n))
    """
    check_losses(losses, 0.5)
    check_delta(delta)
    n = len(losses)
    return min(1.0, sum_of(losses) / n + math.sqrt(-math.log(delta) / (2 * n)))
