"""The exact binomial p-value."""

import numpy as np
from jaxtyping import Float64
from scipy.special import bdtr

from prudent.bounds._checks import check_losses
from prudent.errors import BadInput


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
    if not ((losses == 0) | (losses == 1)).all():
        raise BadInput("binomial is valid for losses of 0 and 1 only; for losses in between use hoeffding_bentkus")
    return float(bdtr(np.count_nonzero(losses), len(losses), alpha))
