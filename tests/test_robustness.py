"""Corruption errors and certified radii against reference vectors, scipy and the smoothed network itself."""

import math

import numpy as np
import pytest
from scipy.stats import binom, norm

from prudent.certification import certify
from prudent.errors import BadInput
from prudent.robustness import certified_radii, corruption_errors, smoothed_loss
from prudent.types import Losses
from tests.conftest import vectors


def test_mce_against_reference(oracle):
    v = oracle("mce")
    own, dense = ({str(i): row for i, row in enumerate(v["inputs"][k])} for k in ("err_model", "err_baseline"))
    clean, dense_clean = v["inputs"]["clean_model"], v["inputs"]["clean_baseline"]
    found = corruption_errors(own, dense, clean=clean, dense_clean=dense_clean)
    assert list(found.by_corruption.values()) == pytest.approx(v["expected"]["CE"], abs=v["tolerance"])
    assert found.mce == pytest.approx(v["expected"]["mCE"], abs=v["tolerance"])
    assert found.relative_mce == pytest.approx(v["expected"]["relative_mCE"], abs=v["tolerance"])
    assert found.mean_error == pytest.approx(v["expected"]["mean_corruption_error"], abs=v["tolerance"])


def test_the_dense_network_has_1():
    rates = {"fog": [0.2, 0.4], "blur": [0.1, 0.5]}
    found = corruption_errors(rates, rates, clean=0.1, dense_clean=0.1)
    assert (found.mce, found.relative_mce) == (1.0, 1.0)
    unhurt = corruption_errors({"fog": [0.2]}, {"fog": [0.25]}, clean=0.1, dense_clean=0.25)
    assert unhurt.mce == pytest.approx(0.8)
    assert math.isnan(unhurt.relative_mce)


def test_no_relative_error_where_corruption_costs_the_dense_network_nothing():
    """Errors one less, the same and one more than clean: what is left of their sum is a rounding."""
    roundings = 0
    for n in (80, 250):
        for k in range(3, n - 3):
            dense = [(k - 3) / n, k / n, (k + 3) / n]
            roundings += sum(dense) - 3 * (k / n) != 0
            found = corruption_errors({"fog": [1.0] * 3}, {"fog": dense}, clean=0.0, dense_clean=k / n)
            assert math.isnan(found.relative["fog"])
    assert roundings > 0, "exactly 0 would prove nothing"
    gains = corruption_errors({"fog": [0.3]}, {"fog": [0.1]}, clean=0.2, dense_clean=0.15)
    assert math.isnan(gains.relative["fog"]), "divided by a gain, more harm would look like less"
    one = corruption_errors({"fog": [0.3]}, {"fog": [1_001 / 10_000]}, clean=0.2, dense_clean=0.1)
    assert one.relative["fog"] == pytest.approx(0.1 / 0.0001), "a single example is no rounding"


@pytest.mark.parametrize("v", vectors("robustness", "randomized_smoothing"), ids=lambda v: v["name"])
def test_radius_against_reference(v):
    given = v["inputs"]
    counts = np.array([given["top_count"]])
    (radius,) = certified_radii(counts, samples=given["n"], sigma=given["sigma"], delta=given["alpha"])
    if v["expected"]["radius"] is None:
        assert math.isnan(radius)
    else:
        assert radius == pytest.approx(v["expected"]["radius"], abs=v["tolerance"])
        assert norm.cdf(radius / given["sigma"]) == pytest.approx(v["expected"]["pA_lower"], abs=v["tolerance"])


@pytest.mark.parametrize("p", [0.5, 0.7, 0.9, 0.99])
@pytest.mark.parametrize("delta", [0.05, 0.3])
def test_a_radius_is_too_large_as_rarely_as_it_says(p, delta):
    # exactly: the true radius is sigma Phi^-1(p), and every count is tried with its chance
    counts = np.arange(61)
    radii = certified_radii(counts, samples=60, sigma=0.5, delta=delta)
    wrong = np.nan_to_num(radii, nan=0.0) > 0.5 * norm.ppf(p)
    chance = math.fsum(binom.pmf(counts[wrong], 60, p))
    assert chance <= delta
    if p < 0.95:
        assert chance > delta / 20  # no more careful than counts make it


def test_a_linear_network_is_certified_up_to_its_border():
    # smoothing leaves a linear decision as it is, so the distance to the border is the true radius
    rng = np.random.default_rng(0)
    distance, sigma = np.array([0.1, 0.3, 0.6]), 0.4
    counts = (distance[:, None] + sigma * rng.normal(size=(3, 20_000)) > 0).sum(axis=1)
    radii = certified_radii(counts, samples=20_000, sigma=sigma)
    assert (radii < distance).all()
    assert (radii > distance - 0.02).all()


def test_ends():
    radii = certified_radii(np.array([0, 100]), samples=100, sigma=1.0, delta=0.001)
    assert math.isnan(radii[0])
    assert radii[1] == pytest.approx(norm.ppf(0.001 ** (1 / 100)), abs=1e-12)


def test_certified_accuracy_is_a_loss_that_can_be_certified():
    radii = np.array([0.5, 0.2, np.nan, 0.9, 0.3])
    top, labels = np.array([0, 1, 2, 1, 1]), np.array([0, 1, 2, 0, 1])
    assert smoothed_loss(radii, top, labels).tolist() == [0, 0, 1, 1, 0]
    assert smoothed_loss(radii, top, labels, radius=0.3).tolist() == [0, 1, 1, 1, 0]
    many = np.tile(smoothed_loss(radii[:1], top[:1], labels[:1], radius=0.5), 100)[:, None]
    losses = Losses(
        values=many, names=("a",), sparsities=(0.5,), loss="not certified within 0.5", split="certification"
    )
    assert losses.binary
    assert certify(losses, alpha=0.05, delta=0.05).selected is not None


def test_refusals():
    rates = {"fog": [0.2, 0.4]}
    with pytest.raises(BadInput, match="same corruptions"):
        corruption_errors(rates, {"snow": [0.2, 0.4]}, clean=0.1, dense_clean=0.1)
    with pytest.raises(BadInput, match="fog: both networks need the same severities; got 2 and 1"):
        corruption_errors(rates, {"fog": [0.2]}, clean=0.1, dense_clean=0.1)
    with pytest.raises(BadInput, match="fog: error rates lie in"):
        corruption_errors({"fog": [0.2, math.nan]}, rates, clean=0.1, dense_clean=0.1)
    with pytest.raises(BadInput, match="clean: error rates lie in"):
        corruption_errors(rates, rates, clean=1.1, dense_clean=0.1)
    with pytest.raises(BadInput, match="nothing to divide by"):
        corruption_errors(rates, {"fog": [0.0, 0.0]}, clean=0.1, dense_clean=0.0)
    with pytest.raises(BadInput, match=r"0 \.\. samples"):
        certified_radii(np.array([11]), samples=10, sigma=1.0)
    with pytest.raises(BadInput, match="sigma=0"):
        certified_radii(np.array([9]), samples=10, sigma=0.0)
    with pytest.raises(BadInput, match="delta=1"):
        certified_radii(np.array([9]), samples=10, sigma=1.0, delta=1.0)
    one = np.ones(1, int)
    with pytest.raises(BadInput, match="at least 0; got -1"):
        smoothed_loss(np.ones(1), one, one, radius=-1.0)
