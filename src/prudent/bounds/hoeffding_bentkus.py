"""The Hoeffding-Bentkus p-value, for any bounded loss."""

import math

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64

from prudent.bounds._checks import check_losses
from prudent.bounds._sums import Numbers, log_chernoff, tail
from prudent.bounds._sums import total as sum_of


def hoeffding_bentkus(losses: Float64[np.ndarray, " n"], alpha: float) -> float:
    """Hoeffding-Bentkus p-value of H0 "risk > alpha" for losses in [0, 1].

        p = min(1, exp(-n h(min(r, alpha), alpha)), e P(Bin(n, alpha) <= ceil(S)))
        h(a, b) = a ln(a/b) + (1-a) ln((1-a)/(1-b)),    S = sum of losses,  r = S / n

    Args:
        losses: (n,), each in [0, 1], of independent examples.
        alpha: tolerated risk, in (0, 1).

    Returns: the p-value, in [0, 1]; lower = stronger evidence that the risk is at most alpha.

    Raises:
        BadInput: losses outside [0, 1], no losses, alpha outside (0, 1).

    Source: Bates et al. 2021, "Distribution-Free, Risk-Controlling Prediction Sets", arXiv:2101.02703, section 3.1.

    The sum is correctly rounded (math.fsum) before ceil, so that an exact integer is not rounded up.
    """
    check_losses(losses, alpha)
    return float(of_sum(sum_of(losses), len(losses), alpha))


def of_sum(total: Numbers, n: int, alpha: Numbers) -> npt.NDArray[np.float64]:
    """The p-value of a sum of n losses, for arrays of sums and of alpha."""
    bentkus = math.e * tail(np.ceil(total), n, alpha)
    return np.asarray(np.minimum(1.0, np.minimum(np.exp(log_chernoff(total, n, alpha)), bentkus)))
