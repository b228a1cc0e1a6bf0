"""The beta-mixture e-value as a p-value, for losses of 0 and 1."""

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64

from prudent.bounds._checks import check_binary, check_losses
from prudent.bounds._sums import Numbers
from prudent.eprocesses import log_beta_mixture, p_value


def beta_mixture(losses: Float64[np.ndarray, " n"], alpha: float) -> float:
    """p-value of H0 "risk > alpha" for losses of 0 and 1: the reciprocal of an e-value without a tuning constant.

        p = min(1, 1 / E),    E = int_0^alpha (t/alpha)^k ((1-t) / (1-alpha))^(n-k) dt / alpha

    The likelihood ratio of k losses among n, averaged over all rates below alpha. The order of the losses does not
    matter. It is the value after n examples of an e-process, so the same p-value holds whenever one stops: n may have
    been chosen while losses came in. For an n fixed beforehand `binomial` is smaller.

    Args:
        losses: (n,), each exactly 0 or 1, of independent examples.
        alpha: tolerated risk, in (0, 1).

    Returns: the p-value, in [0, 1]; lower = stronger evidence that the risk is at most alpha.

    Raises:
        BadInput: losses other than 0 and 1, no losses, alpha outside (0, 1).

    Source: Robbins 1970, "Statistical Methods Related to the Law of the Iterated Logarithm" (the method of mixtures);
    as an e-value Ramdas et al. 2022, "Game-theoretic statistics and safe anytime-valid inference", arXiv:2210.01948.
    """
    check_losses(losses, alpha)
    check_binary(losses, "beta_mixture", instead="betting")
    return float(of_sum(float(np.count_nonzero(losses)), len(losses), alpha))


def of_sum(total: Numbers, n: int, alpha: Numbers) -> npt.NDArray[np.float64]:
    """The p-value of a count of losses among n, for arrays of counts and of alpha."""
    return p_value(log_beta_mixture(total, float(n), alpha))
