"""The betting p-value of Waudby-Smith and Ramdas, for any bounded loss."""

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64

from prudent.bounds._checks import check_delta, check_losses
from prudent.bounds._search import smallest_rejected
from prudent.bounds._sums import Numbers
from prudent.eprocesses import TUNED_FOR, betting_stakes, log_wealth_betting, p_value, steps
from prudent.seeds import stream

ORDERED = True  # p depends on the order of the losses, which `seed` fixes


def betting(losses: Float64[np.ndarray, " n"], alpha: float, *, delta: float = TUNED_FOR, seed: int = 0) -> float:
    """p-value of H0 "risk > alpha" for losses in [0, 1], by betting against it on one example after the other.

        p = min(1, 1 / max_t K_t),    K_t = prod_{i <= t} (1 + nu_i (alpha - L_i))
        nu_i = min(1, sqrt(2 ln(1/delta) / (n v_{i-1}))),    v = running variance of the losses before (eprocesses.py)

    One-sided: a risk above alpha is never evidence. The losses are taken in an order that is drawn from `seed` and n
    alone, and so was fixed before any loss was seen. Choosing a seed by its p-value is not valid; nor is the mean of
    1 / p over orders, since a mean of peaks is no e-value.

    Args:
        losses: (n,), each in [0, 1], of independent examples.
        alpha: tolerated risk, in (0, 1).
        delta: the chance of error for which the stakes are tuned, in (0, 1). Valid whatever it is, if it was chosen
            before; best where it is the level at which p is used.
        seed: which order.

    Returns: the p-value, in [0, 1]; lower = stronger evidence that the risk is at most alpha.

    Raises:
        BadInput: losses outside [0, 1], no losses, alpha or delta outside (0, 1).

    Source: Waudby-Smith, Ramdas 2020, "Estimating means of bounded random variables by betting", arXiv:2010.09686;
    stakes of Bates et al. 2021, "Distribution-Free, Risk-Controlling Prediction Sets", arXiv:2101.02703, without their
    half against the other side.
    """
    check_losses(losses, alpha)
    ordered = losses[order(len(losses), seed)]
    return float(p_value(float(log_wealth_betting(ordered, alpha, delta=delta).max())))


def upper(losses: Float64[np.ndarray, " n"], delta: float) -> float:
    """The smallest alpha whose p-value, with the default options, is at most delta; 1 if there is none.

    The stakes do not depend on alpha, so they are computed once.
    """
    check_losses(losses, 0.5)
    check_delta(delta)
    ordered = losses[order(len(losses), 0)]
    stakes, _, _ = betting_stakes(ordered, TUNED_FOR, len(losses))

    def rejects(alpha: Numbers) -> npt.NDArray[np.bool_]:
        peak = np.cumsum(steps(ordered, float(alpha), stakes)).max()
        return np.asarray(p_value(float(peak)) <= delta)

    return float(smallest_rejected(rejects))


def order(n: int, seed: int) -> np.ndarray:
    """The order in which n losses are taken: a permutation of 0 .. n-1 that depends on n and the seed alone."""
    # the bits of a bit generator never change with NumPy's version, what its Generator makes of them may: a certificate
    # must be verified with the order that it was made with
    return np.argsort(np.random.PCG64(stream(f"order of {n} losses", seed)).random_raw(n), kind="stable")
