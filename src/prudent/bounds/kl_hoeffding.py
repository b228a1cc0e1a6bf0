"""Hoeffding's p-value in its relative-entropy form, for any bounded loss."""

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64

from prudent.bounds._checks import check_losses
from prudent.bounds._sums import Numbers, log_chernoff
from prudent.bounds._sums import total as sum_of


def kl_hoeffding(losses: Float64[np.ndarray, " n"], alpha: float) -> float:
    """Hoeffding's p-value of H0 "risk > alpha" for losses in [0, 1], in its sharper form with the relative entropy.

        p = exp(-n h(min(r, alpha), alpha)),    r = mean loss
        h(a, b) = a ln(a/b) + (1-a) ln((1-a)/(1-b))

    Without losses it is (1 - alpha)^n, which no bound can be below.

    Args:
        losses: (n,), each in [0, 1], of independent examples.
        alpha: tolerated risk, in (0, 1).

    Returns: the p-value, in [0, 1]; lower = stronger evidence that the risk is at most alpha.

    Raises:
        BadInput: losses outside [0, 1], no losses, alpha outside (0, 1).

    Source: Hoeffding 1963, "Probability Inequalities for Sums of Bounded Random Variables", theorem 1; as a p-value
    Bates et al. 2021, "Distribution-Free, Risk-Controlling Prediction Sets", arXiv:2101.02703. The sum stands where
    they have n times the mean.
    """
    check_losses(losses, alpha)
    return float(of_sum(sum_of(losses), len(losses), alpha))


def of_sum(total: Numbers, n: int, alpha: Numbers) -> npt.NDArray[np.float64]:
    """The p-value of a sum of n losses, for arrays of sums and of alpha."""
    return np.asarray(np.exp(log_chernoff(total, n, alpha)))
