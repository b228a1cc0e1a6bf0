"""The exact binomial p-value."""

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64
from scipy.special import betaincinv

from prudent.bounds._checks import check_binary, check_delta, check_losses
from prudent.bounds._sums import Numbers, tail


def binomial(losses: Float64[np.ndarray, " n"], alpha: float) -> float:
    """Exact binomial p-value of H0 "risk > alpha" for losses of 0 and 1.

        p = P(Bin(n, alpha) <= k),    k = number of losses

    No bound for 0/1 losses is smaller for every k. The count is an integer throughout: n * mean never appears.

    Args:
        losses: (n,), each exactly 0 or 1, of independent examples.
        alpha: tolerated risk, in (0, 1).

    Returns: the p-value, in (0, 1]; lower = stronger evidence that the risk is at most alpha.

    Raises:
        BadInput: losses other than 0 and 1 (use hoeffding_bentkus), no losses, alpha outside (0, 1).

    Source: Brown, Cai, DasGupta 2001, "Interval Estimation for a Binomial Proportion"; for risk control
    Angelopoulos et al. 2021, "Learn then Test", arXiv:2110.01052.
    """
    check_losses(losses, alpha)
    check_binary(losses, "binomial")
    return float(of_sum(float(np.count_nonzero(losses)), len(losses), alpha))


def of_sum(total: Numbers, n: int, alpha: Numbers) -> npt.NDArray[np.float64]:
    """The p-value of a count of losses among n, for arrays of counts and of alpha."""
    return tail(total, n, alpha)


def upper(losses: Float64[np.ndarray, " n"], delta: float) -> float:
    """Clopper and Pearson's upper limit: the smallest alpha whose p-value is at most delta; 1 if all are losses.

    u = Beta(1 - delta; k + 1, n - k)
    """
    check_losses(losses, 0.5)
    check_binary(losses, "binomial")
    check_delta(delta)
    k, n = np.count_nonzero(losses), len(losses)
    return 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - delta))
