"""Conformal risk control against reference vectors, exact fractions and the enumeration of all outcomes."""

import itertools
from fractions import Fraction
from math import factorial, prod

import numpy as np
import pytest

from prudent.crc import adjusted_risks, control_expected_risk, examples_for_expected_risk
from prudent.errors import BadInput
from tests.conftest import VECTORS


def reference(name: str) -> tuple[np.ndarray, float, dict]:
    """Losses with the conservative candidate first, as here."""
    v = VECTORS[name]
    return np.array(v["inputs"]["loss_matrix"])[:, ::-1].copy(), v["inputs"]["alpha"], v["expected"]


def test_reference_meets_alpha_exactly():
    losses, alpha, expected = reference("crc_alpha0.15")
    assert adjusted_risks(losses)[::-1] == pytest.approx(expected["adjusted"], abs=1e-12)
    assert control_expected_risk(losses, alpha=alpha) == losses.shape[1] - 1 - expected["lambda_index"]


def test_how_many_examples_are_needed():
    v = VECTORS["crc_needs_n"]
    assert examples_for_expected_risk(alpha=v["inputs"]["alpha"]) == v["expected"]["min_n"]
    for alpha in (0.5, 0.3, 0.1, 0.07, 0.01, 0.003):
        n = examples_for_expected_risk(alpha=alpha)
        assert control_expected_risk(np.zeros((n, 1)), alpha=alpha) == 0
        if n > 1:
            assert control_expected_risk(np.zeros((n - 1, 1)), alpha=alpha) is None
    assert examples_for_expected_risk(alpha=0.9) == 1
    assert examples_for_expected_risk(alpha=0.1, largest=2.0) == 19


def test_no_end_is_returned_silently():
    losses, _, _ = reference("crc_alpha0.15")
    assert control_expected_risk(losses, alpha=0.05) is None
    assert control_expected_risk(np.zeros((99, 4)), alpha=0.01) == 3
    assert control_expected_risk(np.zeros((98, 4)), alpha=0.01) is None


def test_against_exact_fractions_of_tenths():
    rng = np.random.default_rng(0)
    equal = 0
    for _ in range(400):
        n = 10 * int(rng.integers(1, 5)) - 1
        tenths = np.sort(rng.integers(0, 6, (n, 4)), axis=1)
        alpha = int(rng.integers(5, 50))
        risks = [(Fraction(int(t), 10) + 1) / (n + 1) for t in tenths.sum(axis=0)]
        safe = [r <= Fraction(alpha, 100) for r in risks]
        expected = max((j for j, s in enumerate(safe) if s), default=None)
        assert control_expected_risk(tenths / 10, alpha=alpha / 100) == expected
        equal += Fraction(alpha, 100) in risks
    assert equal > 10, "equality, where floats go wrong, must come up"


@pytest.mark.parametrize("alpha", [0.2, 0.3, 0.5])
@pytest.mark.parametrize("weights", [(0.5, 0.3, 0.1, 0.1), (0.25, 0.25, 0.25, 0.25), (0.05, 0.05, 0.2, 0.7)])
def test_expected_risk_by_enumeration_of_all_outcomes(alpha, weights):
    # four kinds of examples, whose losses rise with boldness; the first candidate abstains and loses nothing
    kinds = np.array([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0], [0.0, 0.1, 0.5, 1.0], [0.0, 0.3, 1.0, 1.0]])
    n = 8
    risks = np.array(weights) @ kinds
    expected = total = 0.0
    chosen = set()
    for counts in itertools.product(range(n + 1), repeat=4):
        if sum(counts) != n:
            continue
        chance = (
            factorial(n) / prod(factorial(c) for c in counts) * prod(w**c for w, c in zip(weights, counts, strict=True))
        )
        j = control_expected_risk(np.repeat(kinds, counts, axis=0), alpha=alpha)
        expected += chance * (0.0 if j is None else risks[j])
        total += chance
        chosen.add(j)
    assert total == pytest.approx(1)
    assert expected <= alpha
    assert len(chosen) > 1, "the choice must depend on the examples"


def test_not_too_cautious():
    # losses 1[u < threshold] with 49 thresholds 0.02 apart: within B / (n + 1) and a step of alpha on average
    rng = np.random.default_rng(1)
    thresholds = np.arange(1, 50) / 50
    found = []
    for _ in range(300):
        losses = (rng.random((200, 1)) < thresholds).astype(float)
        j = control_expected_risk(losses, alpha=0.3)
        found.append(thresholds[j])
    assert 0.3 - 2 / 201 - 0.02 < np.mean(found) <= 0.3 + 3 * np.std(found) / np.sqrt(300)


def test_losses_that_fall_for_any_example_are_refused():
    losses = np.array([[0.0, 0.2, 0.4], [0.0, 0.5, 0.4], [0.1, 0.1, 0.1]])
    with pytest.raises(BadInput, match=r"1 of 3 examples do \(first: 1\)"):
        control_expected_risk(losses, alpha=0.5)
    assert (np.diff(losses.mean(axis=0)) >= 0).all(), "on average they do not fall"


@pytest.mark.parametrize(
    ("losses", "options"),
    [
        (np.zeros((0, 3)), {"alpha": 0.1}), (np.zeros((3, 0)), {"alpha": 0.1}), (np.zeros(3), {"alpha": 0.1}),
        (np.array([[1.5]]), {"alpha": 0.1}), (np.array([[-0.1]]), {"alpha": 0.1}),
        (np.array([[np.nan]]), {"alpha": 0.1}), (np.array([[0.0, np.nan]]), {"alpha": 0.1}),
        (np.zeros((3, 1)), {"alpha": 0.0}), (np.zeros((3, 1)), {"alpha": 1.0}), (np.zeros((3, 1)), {"alpha": np.nan}),
        (np.zeros((3, 1)), {"alpha": 0.1, "largest": 0.0}), (np.zeros((3, 1)), {"alpha": 0.1, "largest": np.inf}),
        (np.array([["a"]]), {"alpha": 0.1}),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("unchecked")
def test_refuses(losses, options):
    with pytest.raises(BadInput):
        control_expected_risk(losses, **options)


def test_larger_losses_need_to_be_declared():
    losses = np.array([[0.0, 2.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    with pytest.raises(BadInput, match="0.0 .. 2.0"):
        control_expected_risk(losses, alpha=0.5)
    assert control_expected_risk(losses, alpha=1.0, largest=2.0) == 1
    assert control_expected_risk(losses, alpha=0.99, largest=2.0) == 0
