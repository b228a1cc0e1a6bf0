"""Families of measures: each number is that of the function it is named after, or follows by hand."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from prudent import calibration_variants
from prudent.calibration import ece
from prudent.errors import BadInput
from prudent.measure_families import UNDEFINED, calibration_family, distance_family, selective_family
from prudent.types import Predictions
from tests.conftest import predictions


def knowing(n, *, seed, split="test"):
    """Predictions that are right more often than not, and too sure."""
    given = predictions(n, 4, seed=seed)
    return Predictions(
        logits=given.logits + 2 * np.eye(4, dtype=np.float32)[given.labels], labels=given.labels, split=split
    )


def test_calibration_family_by_hand():
    test, validation = knowing(200, seed=1), knowing(300, seed=2, split="validation")
    found = calibration_family(test, validation=validation, bins=10)
    p = softmax(test.logits.astype(np.float64), axis=1)
    said, right = p.max(axis=1), p.argmax(axis=1) == test.labels
    bins = np.minimum((said * 10).astype(int), 9)
    gaps = [abs(said[bins == b].mean() - right[bins == b].mean()) for b in np.unique(bins)]
    weights = [np.mean(bins == b) for b in np.unique(bins)]
    assert found["ece"] == pytest.approx(np.dot(gaps, weights))
    assert found["mce"] == pytest.approx(max(gaps))
    assert found["ece_equal_mass"] == calibration_variants.equal_mass_ece(test, bins=10)
    assert found["ece_classwise"] == pytest.approx(calibration_variants.classwise_ece(test, bins=10).mean())
    shares = np.bincount(test.labels, minlength=4) / 200
    assert found["brier_uncertainty"] == pytest.approx((shares * (1 - shares)).sum())

    def loss(t):
        return -log_softmax(validation.logits.astype(np.float64) / t, axis=1)[np.arange(300), validation.labels].mean()

    best = minimize_scalar(loss, bounds=(0.05, 50), method="bounded", options={"xatol": 1e-8}).x
    assert found["temperature"] == pytest.approx(best, rel=1e-4)
    after = log_softmax(test.logits.astype(np.float64) / best, axis=1)[np.arange(200), test.labels]
    assert found["nll_after_temperature"] == pytest.approx(-after.mean(), rel=1e-6)
    assert found["ece_after_temperature"] < found["ece"] == ece(test, bins=10)
    assert all(np.isfinite(value) for value in found.values())


def test_without_a_best_temperature_it_is_left_out():
    logits = np.eye(3, dtype=np.float32)[np.arange(60) % 3] * 9
    right = Predictions(logits=logits, labels=np.arange(60) % 3, split="validation")
    found = calibration_family(predictions(60, 3), validation=right)
    assert "temperature" not in found
    assert "temperature" not in calibration_family(predictions(60, 3))
    with pytest.raises(BadInput, match="labels"):
        calibration_family(Predictions(logits=logits, split="test"))


@pytest.mark.parametrize(
    ("logits", "absent"),
    [
        (np.zeros((40, 2)), {"p_spiegelhalter"}),
        (np.where(np.arange(2) == 0, 50.0, -50.0) * np.ones((40, 1)), {"p_spiegelhalter"}),
        (np.r_[np.zeros((39, 4)), [[5.0, 0, 0, 0]]], {"ece_debiased_squared"}),
        (np.array([[1.0, 0.0]]), {"ece_debiased_squared", "kce_squared"}),
    ],
    ids=["dead", "wholly sure", "dead but for one example", "one example"],
)
def test_what_a_ruined_network_has_no_number_for_is_left_out(logits, absent):
    """A study measures such networks last, and must not fail by them."""
    n = len(logits)
    test = Predictions(logits=logits.astype(np.float32), labels=np.arange(n) % 2, split="test")
    found = calibration_family(test, bins=min(15, n))
    whole = set(calibration_family(knowing(200, seed=1)))
    assert whole - set(found) == absent
    assert absent <= set(UNDEFINED)
    assert all(np.isfinite(value) for value in found.values())


def test_selective_family_by_hand():
    test = predictions(120, 3, seed=4)
    p = softmax(test.logits.astype(np.float64), axis=1)
    order = np.argsort(-p.max(axis=1))
    wrong = (p.argmax(axis=1) != test.labels)[order]
    risk = np.cumsum(wrong) / np.arange(1, 121)
    found = selective_family(test)
    assert found["aurc"] == pytest.approx(risk.mean())
    assert found["error_at_80_percent"] == pytest.approx(risk[95])
    able = np.flatnonzero(risk <= 0.01)
    assert found["coverage_at_1_percent"] == pytest.approx((able[-1] + 1) / 120 if len(able) else 0.0)


def test_distance_family_by_hand():
    one, other = predictions(50, 4, seed=5), predictions(50, 4, seed=6)
    other = Predictions(logits=other.logits, labels=one.labels, split="test")
    p, q = (softmax(x.logits.astype(np.float64), axis=1) for x in (one, other))
    found = distance_family(one, other)
    assert found["agreement"] == np.mean(p.argmax(axis=1) == q.argmax(axis=1))
    assert found["l2"] == pytest.approx(np.linalg.norm(p - q, axis=1).mean())
    assert found["l_infinity"] == pytest.approx(np.abs(p - q).max(axis=1).mean())
    m = (p + q) / 2
    both = [(x * np.log(x / m)).sum(axis=1) for x in (p, q)]
    assert found["jensen_shannon"] == pytest.approx(((both[0] + both[1]) / 2).mean())
    assert distance_family(one, one)["l2"] == 0
