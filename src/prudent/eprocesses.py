"""E-processes: running evidence against "risk >= alpha" that may be looked at after every example.

The wealth of a gambler who bets that losses are rare: at most 1 on average if the risk is alpha or more, whenever one
stops. So the chance that it ever reaches 1/delta is at most delta (Ville's inequality), and the reciprocal of its peak
is a p-value at any time. Everything is computed in logarithms.

An array of losses is (n,) or (n, candidates), in the order in which examples are seen, which must not depend on losses.
`prudent.wealth` computes the same batch by batch.
"""

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64
from scipy.special import betainc, logsumexp

from prudent.bounds._checks import check_binary, check_delta, check_range
from prudent.bounds._sums import Numbers, log_pmf
from prudent.errors import BadInput

BET = 0.5
"""Stake of the fixed bet: best for 0/1 losses where the true risk is about half of alpha, and below 1 as it must be."""

TUNED_FOR = 0.05
"""Chance of error for which the stakes of `log_wealth_betting` are tuned. Valid for every other one, too."""


def log_wealth_fixed_bet(
    losses: Float64[np.ndarray, "n ..."], alpha: float, *, lam: float = BET
) -> Float64[np.ndarray, "n ..."]:
    """Logarithm of the wealth after each example, with the same stake on each.

        E_t = prod_{i <= t} (1 + lam (alpha - L_i))

    Args:
        losses: (n,) or (n, candidates), each in [0, 1].
        alpha: tolerated risk, in (0, 1).
        lam: the stake, fixed before any loss is seen; positive, and lam (1 - alpha) < 1.

    Returns: of the shape of `losses`, in nats; higher = stronger evidence that the risk is below alpha.

    Raises:
        BadInput: losses outside [0, 1], no losses, alpha outside (0, 1), a stake that could lose everything.

    Source: Waudby-Smith, Ramdas 2020, "Estimating means of bounded random variables by betting", arXiv:2010.09686.
    """
    check_process(losses, alpha)
    check_bet(lam, alpha)
    return np.cumsum(steps(losses, alpha, lam), axis=0)


def log_wealth_betting(
    losses: Float64[np.ndarray, "n ..."], alpha: float, *, delta: float = TUNED_FOR, horizon: int | None = None
) -> Float64[np.ndarray, "n ..."]:
    """Logarithm of the wealth after each example, with stakes that follow the losses seen before.

        K_t = prod_{i <= t} (1 + nu_i (alpha - L_i)),    nu_i = min(1, sqrt(2 ln(1/delta) / (N v_{i-1})))
        m_i = (1/2 + sum_{j <= i} L_j) / (i+1),    v_i = (1/4 + sum_{j <= i} (L_j - m_j)^2) / (i+1),    v_0 = 1/4

    One-sided: every stake is on small losses, so wealth does not grow where the risk is alpha or more.

    Args:
        losses: (n,) or (n, candidates), each in [0, 1].
        alpha: tolerated risk, in (0, 1).
        delta: the chance of error for which stakes are tuned, in (0, 1); any value is valid.
        horizon: N, the number of examples for which stakes are tuned, n if None. It is part of the stakes, so it must
            be the same for every batch of one stream; any positive value fixed beforehand is valid.

    Returns: of the shape of `losses`, in nats; higher = stronger evidence that the risk is below alpha.

    Raises:
        BadInput: losses outside [0, 1], no losses, alpha or delta outside (0, 1), horizon below 1.

    Source: Waudby-Smith, Ramdas 2020, "Estimating means of bounded random variables by betting", arXiv:2010.09686, in
    the form of Bates et al. 2021, "Distribution-Free, Risk-Controlling Prediction Sets", arXiv:2101.02703.
    """
    check_process(losses, alpha)
    horizon = len(losses) if horizon is None else horizon
    check_tuning(delta, horizon)
    stakes, _, _ = betting_stakes(losses, delta, horizon)
    return np.cumsum(steps(losses, alpha, stakes), axis=0)


def log_wealth_beta_mixture(losses: Float64[np.ndarray, "n ..."], alpha: float) -> Float64[np.ndarray, "n ..."]:
    """Logarithm of the wealth after each example, averaged over all rates below alpha; for losses of 0 and 1.

    E_t as in `log_beta_mixture`, of the count after t examples. It depends on the order of the losses only through when
    each count is reached.

    Args:
        losses: (n,) or (n, candidates), each exactly 0 or 1.
        alpha: tolerated risk, in (0, 1).

    Returns: of the shape of `losses`, in nats; higher = stronger evidence that the risk is below alpha.

    Raises:
        BadInput: losses other than 0 and 1, no losses, alpha outside (0, 1).
    """
    check_process(losses, alpha)
    check_binary(losses, "beta_mixture", instead="betting")
    seen = np.arange(1.0, len(losses) + 1).reshape(-1, *[1] * (losses.ndim - 1))
    return log_beta_mixture(np.cumsum(losses, axis=0), seen, alpha)


def log_beta_mixture(k: Numbers, n: Numbers, alpha: Numbers) -> npt.NDArray[np.float64]:
    """Logarithm of the likelihood ratio of k losses among n, rates mixed evenly over [0, alpha], against alpha.

        E = int_0^alpha (t/alpha)^k ((1-t) / (1-alpha))^(n-k) dt / alpha
          = P(Bin(n+1, alpha) > k) / ((n+1) alpha P(Bin(n, alpha) = k))

    Against any rate of alpha or more it is at most 1 on average, since it falls with k. It rises with alpha.

    Args:
        k, n: whole numbers, 0 <= k <= n; arrays are taken together.
        alpha: in (0, 1).

    Source: Robbins 1970, "Statistical Methods Related to the Law of the Iterated Logarithm" (the method of mixtures).
    """
    k, n, alpha = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (k, n, alpha)))
    above = betainc(k + 1, n - k + 1, alpha)
    small = above < 1e-290  # below, a float keeps fewer digits, and then none
    direct = np.log(np.where(small, 1.0, above)) - np.log((n + 1) * alpha) - log_pmf(k, n, alpha)
    if not small.any():
        return np.asarray(direct)
    result = np.array(direct)
    result[small] = _far_above(k[small], n[small], alpha[small])
    return result


def first_crossing(log_wealth: Float64[np.ndarray, " n"], *, delta: float) -> int | None:
    """After how many examples the wealth first reaches 1/delta: when one may stop; None if it never does.

    P(it ever does) <= delta if the risk is alpha or more (Ville's inequality).

    Raises:
        BadInput: delta outside (0, 1).

    Source: Ville 1939, "Etude critique de la notion de collectif".
    """
    check_delta(delta)
    crossed = log_wealth >= -np.log(delta)
    return int(crossed.argmax()) + 1 if crossed.any() else None


def first_crossings(log_wealth: Float64[np.ndarray, "n candidates"], *, delta: float) -> tuple[int | None, ...]:
    """`first_crossing` of each candidate."""
    return tuple(first_crossing(column, delta=delta) for column in log_wealth.T)


def log_mean(log_values: Float64[np.ndarray, "m ..."]) -> Float64[np.ndarray, "..."]:
    """Logarithm of the mean of m e-values, which is an e-value however they depend on each other.

    The mean of e-processes on the same examples, at each time, is an e-process.

    Args:
        log_values: (m, ...) in nats, along the first axis those to be merged.

    Raises:
        BadInput: none to merge.

    Source: Vovk, Wang 2021, "E-values: Calibration, combination and applications", arXiv:1912.06116.
    """
    if log_values.ndim == 0 or len(log_values) == 0:
        raise BadInput("a mean of e-values needs at least one; got none")
    return np.asarray(logsumexp(log_values, axis=0) - np.log(len(log_values)))


def rejected(log_values: Float64[np.ndarray, " m"], *, delta: float) -> tuple[int, ...]:
    """Which of m hypotheses their e-values reject together: those with E >= m / delta.

    P(any true one is among them) <= delta, however the e-values depend on each other (Bonferroni, by Markov).

    Raises:
        BadInput: delta outside (0, 1).
    """
    check_delta(delta)
    return tuple(int(i) for i in np.flatnonzero(log_values >= np.log(len(log_values)) - np.log(delta)))


def p_value(log_value: Numbers) -> npt.NDArray[np.float64]:
    """The p-value min(1, 1/E) of an e-value, or of the peak of an e-process, given its logarithm."""
    return np.asarray(np.exp(-np.maximum(log_value, 0.0)))


def steps(
    losses: Float64[np.ndarray, "n ..."], alpha: float, stakes: Float64[np.ndarray, "n ..."] | float
) -> Float64[np.ndarray, "n ..."]:
    """What each example adds to the logarithm of the wealth."""
    return np.log1p(stakes * (alpha - losses))


def betting_stakes(
    losses: Float64[np.ndarray, "n ..."],
    delta: float,
    horizon: int,
    *,
    seen: int = 0,
    total: npt.ArrayLike = 0.0,
    squares: npt.ArrayLike = 0.0,
) -> tuple[Float64[np.ndarray, "n ..."], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The stake on each example in `log_wealth_betting`, which does not depend on alpha, and the sums after them.

    Args:
        losses: the next n losses.
        delta, horizon: as there.
        seen, total, squares: number of losses before these, their sum, and the sum of squares in v.
    """
    shape = losses.shape[1:]
    count = (seen + np.arange(1.0, len(losses) + 1)).reshape(-1, *[1] * len(shape))
    totals = running(np.broadcast_to(np.asarray(total, dtype=np.float64), shape), losses)
    means = (0.5 + totals[1:]) / (count + 1)
    sums = running(np.broadcast_to(np.asarray(squares, dtype=np.float64), shape), (losses - means) ** 2)
    variances = (0.25 + sums[:-1]) / count  # of the losses before each: a stake must not see what it is placed on
    stakes = np.minimum(1.0, np.sqrt(-2 * np.log(delta) / (horizon * variances)))
    return stakes, np.asarray(totals[-1]), np.asarray(sums[-1])


def running(start: Float64[np.ndarray, "..."], steps: Float64[np.ndarray, "n ..."]) -> Float64[np.ndarray, "m ..."]:
    """`start` and its sum with the first, the first two ... steps: batches give the digits that one run gives."""
    return np.cumsum(np.concatenate([np.asarray(start)[None], steps]), axis=0)


def check_process(losses: Float64[np.ndarray, "..."], alpha: float) -> None:
    """Refuse losses that are not (n,) or (n, candidates) in [0, 1], and alpha outside (0, 1)."""
    if losses.ndim not in (1, 2) or 0 in losses.shape:
        raise BadInput(f"losses in order are (n,) or (n, candidates), at least one of each; got shape {losses.shape}")
    check_range(losses)
    if not 0 < alpha < 1:
        raise BadInput(f"alpha lies in (0, 1); got {alpha}")


def check_bet(lam: float, alpha: float) -> None:
    """Refuse a stake that is not positive, or after which one loss of 1 leaves nothing."""
    if not (lam > 0 and lam * (1 - alpha) < 1):
        raise BadInput(f"lam is positive and below 1 / (1 - alpha) = {1 / (1 - alpha):g}; got {lam}")


def check_tuning(delta: float, horizon: int) -> None:
    """Refuse a chance of error outside (0, 1), and a horizon below one example."""
    check_delta(delta)
    if horizon < 1:
        raise BadInput(f"horizon is a number of examples, at least 1; got {horizon}")


def _far_above(
    k: npt.NDArray[np.float64], n: npt.NDArray[np.float64], alpha: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """`log_beta_mixture` where k is far above n alpha, as a series whose terms fall at once.

    E = (1-alpha)/(k+1) sum_j alpha^j prod_{i < j} (n+2+i)/(k+2+i)
    """
    term, result, at = np.ones_like(k), np.ones_like(k), 0
    while (term > 1e-17 * result).any():
        term = term * alpha * (n + 2 + at) / (k + 2 + at)
        result = result + term
        at += 1
    return np.asarray(np.log1p(-alpha) - np.log(k + 1) + np.log(result))
