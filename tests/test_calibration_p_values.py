"""Tests of calibration against every outcome of a few labels, and against scipy's normal distribution."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from prudent.calibration import bin_confidence
from prudent.calibration_p_values import consistency_p_value, spiegelhalter_p_value, spiegelhalter_z
from prudent.errors import BadInput

CONFIDENCE = np.array([0.15, 0.3, 0.55, 0.6, 0.8, 0.85, 0.95, 0.97])


def outcomes():
    """Every way in which 8 predictions can be right, with its chance if the network is calibrated."""
    for outcome in range(2**8):
        correct = np.array([bool(outcome >> i & 1) for i in range(8)])
        yield correct, float(np.where(correct, CONFIDENCE, 1 - CONFIDENCE).prod())


@pytest.mark.parametrize("right", [0, 37, 128, 240, 255])
def test_resampling_comes_to_the_exact_p_value(right):
    observed = np.array([bool(right >> i & 1) for i in range(8)])
    least = bin_confidence(CONFIDENCE, observed, bins=4).ece - 1e-12
    exact = math.fsum(chance for y, chance in outcomes() if bin_confidence(CONFIDENCE, y, bins=4).ece >= least)
    found = consistency_p_value(CONFIDENCE, observed, bins=4, resamples=4000)
    assert found == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 4000) + 1 / 4000)


def test_it_rejects_a_calibrated_network_as_rarely_as_it_says():
    # exactly, over all outcomes: few resamples make each p-value random, but the test stays valid
    p_values = [(consistency_p_value(CONFIDENCE, y, bins=3, resamples=39, seed=i), chance)
                for i, (y, chance) in enumerate(outcomes())]  # fmt: skip
    for level in (0.1, 0.25, 0.5):
        assert math.fsum(chance for p, chance in p_values if p <= level) <= level + 0.03
    assert min(p for p, _ in p_values) == 1 / 40


def test_power():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 2000)
    assert consistency_p_value(confidence, rng.random(2000) < confidence - 0.1, resamples=199) == 1 / 200
    assert consistency_p_value(confidence, rng.random(2000) < confidence, resamples=199) > 0.05


def test_z_by_loop_and_its_moments_by_enumeration():
    mean = square = 0.0
    for y, chance in outcomes():
        top = sum((float(r) - p) * (1 - 2 * p) for r, p in zip(y, CONFIDENCE, strict=True))
        z = top / math.sqrt(sum((1 - 2 * p) ** 2 * p * (1 - p) for p in CONFIDENCE))
        assert spiegelhalter_z(CONFIDENCE, y) == pytest.approx(z, abs=1e-12)
        assert spiegelhalter_p_value(CONFIDENCE, y) == pytest.approx(2 * norm.sf(abs(z)), rel=1e-12)
        mean, square = mean + chance * z, square + chance * z * z
    assert mean == pytest.approx(0, abs=1e-12)
    assert square == pytest.approx(1, abs=1e-12)


def test_too_sure_is_positive():
    assert spiegelhalter_z(np.full(100, 0.9), np.arange(100) < 60) > 5
    assert spiegelhalter_z(np.full(100, 0.6), np.arange(100) < 90) < -5


def test_refusals():
    with pytest.raises(BadInput, match="resamples=0"):
        consistency_p_value(CONFIDENCE, CONFIDENCE > 0.5, resamples=0)
    with pytest.raises(BadInput, match="confidences lie in"):
        consistency_p_value(CONFIDENCE + 1, CONFIDENCE > 0.5)
    with pytest.raises(BadInput, match="no variance"):
        spiegelhalter_z(np.array([0.5, 1.0]), np.array([True, True]))
