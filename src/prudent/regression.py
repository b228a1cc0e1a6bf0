"""How good are predicted intervals, quantiles and Gaussian distributions of a number? In float64."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64
from scipy.special import ndtr

from prudent.errors import BadInput
from prudent.intervals import clopper_pearson
from prudent.types import Metric
from prudent.wording import percent

Values = Float64[np.ndarray, " n"]


def interval_coverage(low: Values, high: Values, truth: Values) -> Metric:
    """Share of true values that lie in their predicted intervals, ends included: in [0, 1].

    Neither direction is better: it should be the level that was promised.

    Args:
        low, high: (n,) ends of the intervals, low <= high; may be infinite.
        truth: (n,) true values.

    Returns: the share, with its exact 95 % interval.

    Raises:
        BadInput: no examples, lengths that differ, NaN, low above high, a truth that is not finite.
    """
    _check_ends(low, high)
    _check(truth, {"low": low}, finite=False)
    k, n = int(np.count_nonzero((low <= truth) & (truth <= high))), len(truth)
    lo, hi = clopper_pearson(k, n)
    return Metric(value=k / n, lo=lo, hi=hi, interval=f"{percent(0.95)} Clopper-Pearson", better="neither")


def sharpness(low: Values, high: Values) -> float:
    """Mean width of predicted intervals, in the unit of the target, >= 0; lower is better at equal coverage.

    Args:
        low, high: (n,) ends of the intervals, low <= high.

    Raises:
        BadInput: no intervals, lengths that differ, NaN, low above high.
    """
    _check_ends(low, high)
    return float((high - low).mean())


def pinball_loss(quantile: Values, truth: Values, *, level: float) -> float:
    """Mean pinball loss of a predicted quantile, in the unit of the target, >= 0, lower is better.

        mean of level (y - q) where y >= q, and (1 - level) (q - y) elsewhere

    Its mean is lowest for the true quantile of that level. At level 1/2 it is half the mean absolute error.

    Args:
        quantile: (n,) predicted q.
        truth: (n,) true y.
        level: in (0, 1).

    Raises:
        BadInput: no examples, lengths that differ, numbers that are not finite, level outside (0, 1).

    Source: Koenker, Bassett 1978, "Regression Quantiles" (arXiv: none).
    """
    _check(truth, {"quantile": quantile})
    if not 0 < level < 1:
        raise BadInput(f"the level of a quantile lies in (0, 1); got {level}")
    above = truth - quantile
    return float(np.maximum(level * above, (level - 1) * above).mean())


def gaussian_crps(mean: Values, deviation: Values, truth: Values) -> float:
    """Continuous ranked probability score of Gaussian predictions, in the unit of the target, >= 0, lower is better.

        mean of s (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)),    z = (y - m) / s
        = mean of the integral over t of (Phi((t - m) / s) - [t >= y])^2

    Args:
        mean, deviation: (n,) m and s > 0 of each prediction.
        truth: (n,) true y.

    Raises:
        BadInput: no examples, lengths that differ, numbers that are not finite, a deviation that is not positive.

    Source: Gneiting, Raftery 2007, "Strictly Proper Scoring Rules, Prediction, and Estimation", eq. 21 (arXiv: none).
    """
    z = _standard(mean, deviation, truth)
    density = np.exp(-np.square(z) / 2) / np.sqrt(2 * np.pi)
    return float((deviation * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))).mean())


def quantile_calibration_error(mean: Values, deviation: Values, truth: Values, *, levels: int = 99) -> float:
    """How far the levels of Gaussian quantiles are from what they contain: in [0, 1], lower is better.

        mean over levels a = 1/(L+1) .. L/(L+1) of |share of true values at or below the a-quantile - a|

    A network that predicts the same distribution for everything can be calibrated in this sense: read it beside
    `sharpness` or `gaussian_crps`.

    Args:
        mean, deviation: (n,) m and s > 0 of each prediction.
        truth: (n,) true y.
        levels: L >= 1.

    Raises:
        BadInput: no examples, lengths that differ, numbers that are not finite, a deviation that is not positive,
            levels < 1.

    Source: Kuleshov, Fenner, Ermon 2018, "Accurate Uncertainties for Deep Learning Using Calibrated Regression",
    arXiv:1807.00263, eq. 9; there squares are added up, here absolute differences are averaged.
    """
    if levels < 1:
        raise BadInput(f"at least one level is needed; got levels={levels}")
    reached = np.sort(ndtr(_standard(mean, deviation, truth)))
    level = np.arange(1, levels + 1) / (levels + 1)
    share = np.searchsorted(reached, level, side="right") / len(reached)
    return float(np.abs(share - level).mean())


def _standard(mean: Values, deviation: Values, truth: Values) -> Values:
    _check(truth, {"mean": mean, "deviation": deviation})
    if not (deviation > 0).all():
        raise BadInput(f"standard deviations are positive; the lowest is {deviation.min()}")
    standard: Values = (truth - mean) / deviation
    return standard


def _check(truth: Values, others: Mapping[str, Values], *, finite: bool = True) -> None:
    if truth.ndim != 1 or len(truth) == 0:
        raise BadInput(f"true values are (n,) with n >= 1; got shape {truth.shape}")
    if not np.isfinite(truth).all():
        raise BadInput("true values are finite numbers; some are not")
    for name, values in others.items():
        if values.shape != truth.shape:
            raise BadInput(f"{name} needs one number for each of {len(truth)} examples; got shape {values.shape}")
        if finite and not np.isfinite(values).all():
            raise BadInput(f"{name} needs finite numbers; some are not")


def _check_ends(low: Values, high: Values) -> None:
    if low.ndim != 1 or low.shape != high.shape or len(low) == 0:
        raise BadInput(f"intervals need (n,) lower and upper ends, n >= 1; got {low.shape} and {high.shape}")
    # written so that NaN fails it too
    if not (low <= high).all():
        raise BadInput("the lower end of an interval is at most the upper one; some are above, or NaN")
