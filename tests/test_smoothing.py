"""Calibration errors without bins against quadrature, loops over pairs and a reference vector."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

from prudent import smoothing
from prudent.calibration_variants import top_label
from prudent.errors import BadInput
from prudent.smoothing import error_at_width, kernel_calibration_error, smooth_ece
from prudent.types import Predictions
from tests.conftest import predictions


def by_quadrature(confidence, correct, width):
    """The integral from its definition: reflections written out, kinks found by the integrator."""

    def height(t):
        total = 0.0
        for f, y in zip(confidence, correct, strict=True):
            for k in range(-6, 7):
                for image in (2 * k + f, 2 * k - f):
                    total += math.exp(-(((t - image) / width) ** 2) / 2) * (f - y)
        return abs(total) / (len(confidence) * width * math.sqrt(2 * math.pi))

    return sum(quad(height, i / 20, (i + 1) / 20, epsabs=1e-10, limit=200)[0] for i in range(20))


@pytest.mark.parametrize("width", [0.03, 0.2, 1.0])
def test_one_width_is_its_integral(width):
    rng = np.random.default_rng(0)
    confidence = np.append(rng.random(6), [0.0, 1.0])
    correct = rng.random(8) < 0.5
    assert error_at_width(confidence, correct, width=width) == pytest.approx(
        by_quadrature(confidence, correct, width), abs=2e-6
    )


def test_against_reference(oracle):
    v = oracle("smooth_ece")
    confidence, correct = np.array(v["inputs"]["conf"]), np.array(v["inputs"]["correct"], bool)
    # the vector's tolerance is for a coarser peer; exact quadrature is met far closer
    for width, key in ((0.05, "smece_sigma_0p05"), (0.1, "smece_sigma_0p1")):
        assert error_at_width(confidence, correct, width=width) == pytest.approx(v["expected"][key], abs=1e-6)
    assert smooth_ece(confidence, correct) == pytest.approx(v["expected"]["smece"], abs=1e-6)
    assert smooth_ece(confidence, correct) == pytest.approx(v["expected"]["sigma_star"], abs=1e-6)


def test_it_is_the_one_fixed_point():
    confidence, correct = top_label(predictions(400, 3))
    found = smooth_ece(confidence, correct)
    assert error_at_width(confidence, correct, width=found) == pytest.approx(found, abs=1e-9)
    widths = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0]
    heights = [error_at_width(confidence, correct, width=w) for w in widths]
    assert heights == sorted(heights, reverse=True)
    # an endless width leaves the difference of the means
    assert heights[-1] == pytest.approx(abs(confidence.mean() - correct.mean()), abs=1e-9)


def test_plain_cases():
    assert smooth_ece(np.ones(5), np.ones(5, bool)) == pytest.approx(0, abs=1e-9)
    assert smooth_ece(np.ones(5), np.zeros(5, bool)) == pytest.approx(1, abs=1e-9)
    rng = np.random.default_rng(0)
    confidence = rng.random(200_000)
    assert smooth_ece(confidence, rng.random(200_000) < confidence) < 0.01
    # 0.1 too sure everywhere, nothing cancels
    assert smooth_ece(confidence, rng.random(200_000) < confidence - 0.1) > 0.08


def kernel_by_loop(p: Predictions, width):
    y = np.eye(p.classes)[p.labels]
    total = 0.0
    for i in range(p.n):
        for j in range(p.n):
            if i != j:
                near = math.exp(-math.dist(p.probabilities[i], p.probabilities[j]) / width)
                total += near * float((y[i] - p.probabilities[i]) @ (y[j] - p.probabilities[j]))
    return total / (p.n * (p.n - 1))


@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("width", [0.1, 0.4])
def test_kernel_error_is_its_definition(members, width, monkeypatch):
    p = predictions(40, 3, members=members)
    expected = kernel_by_loop(p, width)
    assert kernel_calibration_error(p, width=width) == pytest.approx(expected, abs=1e-9)
    monkeypatch.setattr(smoothing, "BLOCK", 7 * 40)
    assert kernel_calibration_error(p, width=width) == pytest.approx(expected, abs=1e-9)


def test_kernel_error_of_a_calibrated_network_is_0_on_average():
    # every outcome of the labels with the chance that the network gives it
    p = predictions(4, 3, seed=1)
    mean, sizes = 0.0, []
    for outcome in range(3**4):
        labels = np.array([outcome // 3**i % 3 for i in range(4)])
        chance = float(np.prod(p.probabilities[np.arange(4), labels]))
        value = kernel_calibration_error(Predictions(logits=p.logits, labels=labels, split="test"))
        mean += chance * value
        sizes.append(abs(value))
    assert mean == pytest.approx(0, abs=1e-9)
    assert max(sizes) > 0.05


def test_refusals():
    with pytest.raises(BadInput, match="positive width; got 0"):
        error_at_width(np.array([0.5]), np.array([True]), width=0.0)
    with pytest.raises(BadInput, match="positive width"):
        kernel_calibration_error(predictions(5, 3), width=-1.0)
    with pytest.raises(BadInput, match="one example"):
        kernel_calibration_error(predictions(1, 3))
    with pytest.raises(BadInput, match="true labels"):
        kernel_calibration_error(Predictions(logits=np.zeros((3, 2), np.float32), split="test"))
    with pytest.raises(BadInput, match="confidences lie in"):
        smooth_ece(np.array([np.nan]), np.array([True]))
