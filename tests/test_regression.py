"""Metrics of predicted numbers against integrals, loops and scipy's own intervals."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import binomtest, norm
from sklearn.metrics import mean_pinball_loss

from prudent.errors import BadInput
from prudent.regression import gaussian_crps, interval_coverage, pinball_loss, quantile_calibration_error, sharpness

RNG = np.random.default_rng(0)
MEAN, DEVIATION = RNG.normal(size=30), RNG.uniform(0.2, 3, 30)
TRUTH = MEAN + DEVIATION * RNG.normal(size=30) * 1.5


def test_crps_is_its_integral():
    total = 0.0
    for m, s, y in zip(MEAN, DEVIATION, TRUTH, strict=True):
        below, _ = quad(lambda t, m=m, s=s: norm.cdf(t, m, s) ** 2, min(m - 12 * s, y - s), y, epsabs=1e-11)
        above, _ = quad(lambda t, m=m, s=s: norm.sf(t, m, s) ** 2, y, max(m + 12 * s, y + s), epsabs=1e-11)
        total += below + above
    assert gaussian_crps(MEAN, DEVIATION, TRUTH) == pytest.approx(total / 30, abs=1e-8)


def test_crps_of_a_sure_prediction_is_its_error():
    assert gaussian_crps(np.zeros(1), np.full(1, 1e-9), np.full(1, 2.5)) == pytest.approx(2.5, abs=1e-8)


@pytest.mark.parametrize("level", [0.1, 0.5, 0.83])
def test_pinball_agrees_with_scikit_learn_and_by_loop(level):
    loss = pinball_loss(MEAN, TRUTH, level=level)
    by_loop = math.fsum(level * (y - q) if y >= q else (1 - level) * (q - y) for q, y in zip(MEAN, TRUTH, strict=True))
    assert loss == pytest.approx(by_loop / 30, abs=1e-14)
    assert loss == pytest.approx(mean_pinball_loss(TRUTH, MEAN, alpha=level), abs=1e-14)


def test_pinball_is_lowest_at_the_quantile():
    truth = np.sort(RNG.normal(size=101))
    losses = [pinball_loss(np.full(101, q), truth, level=0.8) for q in truth]
    assert int(np.argmin(losses)) == 80


def test_coverage_counts_ends():
    low, high = np.array([0.0, 0.0, -np.inf, 1.0]), np.array([1.0, 2.0, 5.0, np.inf])
    covered = interval_coverage(low, high, np.array([1.0, 3.0, 0.0, 1.0]))
    exact = binomtest(3, 4).proportion_ci(0.95, method="exact")
    assert (covered.value, covered.better) == (0.75, "neither")
    assert (covered.lo, covered.hi) == pytest.approx((exact.low, exact.high), abs=1e-12)
    assert sharpness(low[:2], high[:2]) == 1.5


def test_quantile_calibration_by_loop():
    total = 0.0
    for j in range(1, 20):
        inside = np.mean([y <= norm.ppf(j / 20, m, s) for m, s, y in zip(MEAN, DEVIATION, TRUTH, strict=True)])
        total += abs(inside - j / 20)
    assert quantile_calibration_error(MEAN, DEVIATION, TRUTH, levels=19) == pytest.approx(total / 19, abs=1e-12)


def test_quantile_calibration_sees_too_narrow_predictions():
    truth = np.random.default_rng(1).normal(size=20_000)
    zero, one = np.zeros(20_000), np.ones(20_000)
    assert quantile_calibration_error(zero, one, truth) < 0.01
    # in the limit the mean over a of |Phi(z_a / 2) - a|
    limit = np.mean([abs(norm.cdf(norm.ppf(a) / 2) - a) for a in np.arange(1, 100) / 100])
    assert quantile_calibration_error(zero, one / 2, truth) == pytest.approx(limit, abs=0.01)


def test_refusals():
    one, nan = np.ones(2), np.array([np.nan, 1.0])
    with pytest.raises(BadInput, match="positive; the lowest is 0"):
        gaussian_crps(one, np.array([1.0, 0.0]), one)
    with pytest.raises(BadInput, match="true values are finite"):
        gaussian_crps(one, one, nan)
    with pytest.raises(BadInput, match="mean needs finite"):
        quantile_calibration_error(nan, one, one)
    with pytest.raises(BadInput, match="levels=0"):
        quantile_calibration_error(one, one, one, levels=0)
    with pytest.raises(BadInput, match="level of a quantile"):
        pinball_loss(one, one, level=1.0)
    with pytest.raises(BadInput, match="some are above, or NaN"):
        interval_coverage(nan, one, one)
    with pytest.raises(BadInput, match="some are above"):
        sharpness(2 * one, one)


@pytest.mark.usefixtures("unchecked")
def test_lengths_that_differ():
    with pytest.raises(BadInput, match="quantile needs one number for each of 2 examples"):
        pinball_loss(np.ones(3), np.ones(2), level=0.5)
    with pytest.raises(BadInput, match="lower and upper ends"):
        sharpness(np.ones(3), np.ones(2))
    with pytest.raises(BadInput, match="low needs one number"):
        interval_coverage(np.ones(3), np.ones(3), np.ones(2))
