"""The fixed-bet e-value as a p-value, for any bounded loss."""

import math

import numpy as np
from jaxtyping import Float64

from prudent.bounds._checks import check_losses, is_binary
from prudent.eprocesses import BET, check_bet, p_value, steps


def fixed_bet(losses: Float64[np.ndarray, " n"], alpha: float, *, lam: float = BET) -> float:
    """p-value of H0 "risk > alpha" for losses in [0, 1]: the reciprocal of an e-value with the same stake on each.

        p = min(1, 1 / E),    E = prod_i (1 + lam (alpha - L_i))

    The order of the losses does not matter. E is an e-value: at most 1 on average under H0, so it can be averaged with
    others; `prudent.eprocesses.log_wealth_fixed_bet` is the same after each example, and valid whenever one stops.

    Args:
        losses: (n,), each in [0, 1], of independent examples.
        alpha: tolerated risk, in (0, 1).
        lam: the stake, fixed before any loss is seen; positive, and lam (1 - alpha) < 1. For 0/1 losses of rate r the
            best is (alpha - r) / (alpha (1 - alpha)); the default suits rates of about alpha / 2, whatever alpha is.

    Returns: the p-value, in [0, 1]; lower = stronger evidence that the risk is at most alpha.

    Raises:
        BadInput: losses outside [0, 1], no losses, alpha outside (0, 1), a stake that could lose everything.

    Source: Waudby-Smith, Ramdas 2020, "Estimating means of bounded random variables by betting", arXiv:2010.09686.
    """
    check_losses(losses, alpha)
    check_bet(lam, alpha)
    if is_binary(losses):
        return _p_of_count(int(np.count_nonzero(losses)), len(losses), alpha, lam)
    return float(p_value(math.fsum(steps(losses, alpha, lam))))


def of_count(k: float, n: int, alpha: float) -> float:
    """The p-value of k losses among n, for losses of 0 and 1 and the default stake."""
    return _p_of_count(k, n, alpha, BET)


def _p_of_count(k: float, n: int, alpha: float, lam: float) -> float:
    return float(p_value(k * math.log1p(lam * (alpha - 1)) + (n - k) * math.log1p(lam * alpha)))
