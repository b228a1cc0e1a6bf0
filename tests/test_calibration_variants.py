"""The other calibration errors against their definitions by loop and against reference vectors."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prudent.calibration import bin_confidence, ece, reliability
from prudent.calibration_variants import (
    classwise_ece,
    debiased,
    debiased_squared_ece,
    equal_mass_ece,
    equal_mass_reliability,
    max_calibration_error,
    sweep_ece,
    top_label,
    top_label_ece,
    uce,
)
from prudent.errors import BadInput
from prudent.types import Predictions
from tests.conftest import predictions

rows = st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=2, max_size=25)


def given_rows(pairs):
    return np.array([c / 8 for c, _ in pairs]), np.array([r for _, r in pairs], bool)


def equal_mass_by_loop(confidence, correct, bins):
    """Runs of the sorted list; an example goes where the first of its equals is. Gives lists of (said, right)."""
    ranked = sorted(zip(confidence, correct, strict=True), key=lambda pair: pair[0])
    runs = [len(part) for part in np.array_split(np.arange(len(ranked)), bins)]
    home = [b for b, size in enumerate(runs) for _ in range(size)]
    filled: list[list] = [[] for _ in range(bins)]
    for said, right in ranked:
        first = next(i for i, (other, _) in enumerate(ranked) if other == said)
        filled[home[first]].append((said, right))
    return filled


def ece_of(filled):
    n = sum(len(b) for b in filled)
    return sum(abs(math.fsum(s for s, _ in b) - sum(r for _, r in b)) for b in filled) / n


@settings(max_examples=150, deadline=None)
@given(rows, st.integers(1, 8))
def test_equal_mass_is_its_definition_also_with_ties(pairs, bins):
    confidence, correct = given_rows(pairs)
    bins = min(bins, len(pairs))
    filled = equal_mass_by_loop(confidence, correct, bins)
    diagram = equal_mass_reliability(confidence, correct, bins=bins)
    assert diagram.counts.tolist() == [len(b) for b in filled]
    assert diagram.right.tolist() == [sum(r for _, r in b) for b in filled]
    assert diagram.ece == pytest.approx(ece_of(filled), abs=1e-12)
    assert (np.diff(diagram.edges) >= 0).all()
    for b, low in zip(filled, diagram.edges, strict=False):
        assert not b or min(s for s, _ in b) == low


def test_equal_mass_against_reference(oracle):
    v = oracle("ece_equal_mass_4")
    confidence, correct = np.array(v["inputs"]["conf"]), np.array(v["inputs"]["correct"], bool)
    diagram = equal_mass_reliability(confidence, correct, bins=v["inputs"]["bins"])
    assert diagram.ece == pytest.approx(v["expected"]["ece_l1"], abs=v["tolerance"])


def test_sweep_against_reference(oracle):
    v = oracle("ece_sweep")
    found = sweep_ece(np.array(v["inputs"]["conf"]), np.array(v["inputs"]["correct"], bool))
    assert found.bins == v["expected"]["bins"]
    assert found.ece == pytest.approx(v["expected"]["ece"], abs=v["tolerance"])


@settings(max_examples=150, deadline=None)
@given(rows)
def test_sweep_is_its_definition(pairs):
    confidence, correct = given_rows(pairs)
    best = None
    for bins in range(1, len(pairs) + 1):
        filled = [b for b in equal_mass_by_loop(confidence, correct, bins) if b]
        # in whole numbers: 1/3 and 2/6 are the same accuracy
        shares = [(sum(r for _, r in b), len(b)) for b in filled]
        if any(r * m > s * n for (r, n), (s, m) in pairwise(shares)):
            break
        best = (bins, ece_of(filled))
    found = sweep_ece(confidence, correct)
    assert found.bins == best[0]
    assert found.ece == pytest.approx(best[1], abs=1e-12)


def test_sweep_stops_where_told():
    confidence = np.linspace(0.5, 1, 400)
    assert sweep_ece(confidence, np.ones(400, bool)).bins == 400
    assert sweep_ece(confidence, np.ones(400, bool), most=30).bins == 30


def test_multiclass_reference(oracle):
    v = oracle("multiclass_calibration")
    logits = np.log(np.array(v["inputs"]["probs"])).astype(np.float32)
    p = Predictions(logits=logits, labels=np.array(v["inputs"]["y"]), split="test")
    bins = v["inputs"]["bins"]
    # logits are kept in float32, which moves a probability by 1e-7
    np.testing.assert_allclose(classwise_ece(p, bins=bins), v["expected"]["classwise_per_class"], atol=1e-6)
    assert classwise_ece(p, bins=bins).mean() == pytest.approx(v["expected"]["classwise_mean"], abs=1e-6)
    assert top_label_ece(p, bins=bins) == pytest.approx(v["expected"]["top_label_weighted"], abs=1e-6)


def test_uce_reference(oracle):
    v = oracle("uce_laves")
    logits = np.log(np.array(v["inputs"]["probs"])).astype(np.float32)
    p = Predictions(logits=logits, labels=np.array(v["inputs"]["y"]), split="test")
    assert uce(p, bins=v["inputs"]["bins"]) == pytest.approx(v["expected"]["uce"], abs=1e-6)


def test_uce_of_members_is_that_of_their_mean():
    p = predictions(60, 3, members=4)
    joined = Predictions(logits=np.log(p.probabilities).astype(np.float32), labels=p.labels, split="test")
    assert uce(p, bins=7) == pytest.approx(uce(joined, bins=7), abs=1e-6)


def test_the_largest_gap_by_loop():
    p = predictions(300, 4)
    diagram = reliability(p, bins=10)
    gaps = [abs(s / n - r / n) for s, n, r in zip(diagram.confidence, diagram.counts, diagram.right, strict=True) if n]
    assert len(gaps) < 10  # empty bins are there, and say nothing
    assert max_calibration_error(p, bins=10) == pytest.approx(max(gaps), abs=1e-15)
    weighted = sum(n / 300 * gap**2 for n, gap in zip(diagram.counts[diagram.counts > 0], gaps, strict=True))
    assert diagram.squared_error == pytest.approx(weighted, abs=1e-15)
    assert max_calibration_error(p, bins=10) >= ece(p, bins=10)


def test_the_debiased_error_is_unbiased_by_enumeration():
    # two fixed bins, every outcome of 7 labels with its chance: the mean is the true squared error
    confidence = np.array([0.2, 0.3, 0.25, 0.7, 0.8, 0.9, 0.75])
    truth = np.array([0.4, 0.4, 0.4, 0.6, 0.6, 0.6, 0.6])
    mean = plain = 0.0
    for outcome in range(2**7):
        correct = np.array([bool(outcome >> i & 1) for i in range(7)])
        chance = float(np.where(correct, truth, 1 - truth).prod())
        diagram = bin_confidence(confidence, correct, bins=2)
        mean += chance * debiased(diagram)
        plain += chance * diagram.squared_error
    expected = 3 / 7 * (confidence[:3].mean() - 0.4) ** 2 + 4 / 7 * (confidence[3:].mean() - 0.6) ** 2
    assert mean == pytest.approx(expected, abs=1e-14)
    assert plain > expected + 0.05


def test_the_debiased_error_of_predictions():
    p = predictions(500, 3)
    filled = equal_mass_by_loop(*top_label(p), 10)
    total = 0.0
    for b in filled:
        said, right = np.mean([s for s, _ in b]), np.mean([r for _, r in b])
        total += len(b) / 500 * ((said - right) ** 2 - right * (1 - right) / (len(b) - 1))
    assert debiased_squared_ece(p, bins=10) == pytest.approx(total, abs=1e-12)
    assert equal_mass_ece(p, bins=10) == pytest.approx(ece_of(filled), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_errors_of_classes_do_not_cancel(seed):
    p = predictions(80, 3, seed=seed)
    assert top_label_ece(p, bins=5) >= ece(p, bins=5) - 1e-12


def test_row_order_changes_nothing():
    rng = np.random.default_rng(0)
    confidence, correct = rng.integers(0, 6, 200) / 5, rng.random(200) < 0.6
    order = rng.permutation(200)
    for bins in (3, 7, 40):
        a = equal_mass_reliability(confidence, correct, bins=bins)
        b = equal_mass_reliability(confidence[order], correct[order], bins=bins)
        assert a.counts.tolist() == b.counts.tolist()
        assert a.right.tolist() == b.right.tolist()
    assert sweep_ece(confidence, correct) == sweep_ece(confidence[order], correct[order])


def test_refusals():
    half, yes = np.array([0.5, 0.6]), np.array([True, True])
    with pytest.raises(BadInput, match="1 to as many as there are examples \\(2\\); got 3"):
        equal_mass_reliability(half, yes, bins=3)
    with pytest.raises(BadInput, match="confidences lie in \\[0, 1\\]"):
        equal_mass_reliability(np.array([0.5, np.nan]), yes, bins=1)
    with pytest.raises(BadInput, match="confidences lie in"):
        bin_confidence(np.array([0.5, 1.5]), yes)
    with pytest.raises(BadInput, match="most=0"):
        sweep_ece(half, yes, most=0)
    with pytest.raises(BadInput, match="one example"):
        debiased(bin_confidence(np.array([0.1, 0.9, 0.8]), np.array([True, True, False]), bins=2))
    with pytest.raises(BadInput, match="at least two classes"):
        uce(Predictions(logits=np.zeros((3, 1), np.float32), labels=np.zeros(3, int), split="test"))
    without = Predictions(logits=np.zeros((3, 2), np.float32), split="test")
    for metric in (uce, classwise_ece, top_label_ece, equal_mass_ece, max_calibration_error, debiased_squared_ece):
        with pytest.raises(BadInput, match="true labels"):
            metric(without)


@pytest.mark.usefixtures("unchecked")
def test_lengths_and_types_that_differ():
    with pytest.raises(BadInput, match="one confidence and one bool"):
        bin_confidence(np.array([0.5, 0.6]), np.array([True]))
    with pytest.raises(BadInput, match="is a bool"):
        sweep_ece(np.array([0.5, 0.6]), np.array([1, 0]))
