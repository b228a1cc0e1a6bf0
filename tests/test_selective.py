"""Selective prediction against definitions by loop, every order of ties, and reference vectors."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prudent.detection import auroc
from prudent.errors import BadInput
from prudent.selective import (
    augrc,
    aurc,
    best_aurc,
    coverage_at_risk,
    e_aurc,
    rank_by_confidence,
    risk_at_coverage,
    risk_coverage,
)
from prudent.types import Predictions
from tests.conftest import predictions

rows = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=25)
few = st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6)


def curve_of(pairs):
    return rank_by_confidence(np.array([c for c, _ in pairs], float), np.array([w for _, w in pairs], bool))


def in_order(wrong):
    """AURC and AUGRC, as means over k, of answers already in order."""
    errors = np.cumsum(wrong)
    k = np.arange(1, len(wrong) + 1)
    return float((errors / k).mean()), float((errors / len(wrong)).mean())


@settings(max_examples=60, deadline=None)
@given(few)
def test_ties_are_averaged_over_every_order(pairs):
    found, count = np.zeros(2), 0
    for order in permutations(pairs):
        if all(a[0] >= b[0] for a, b in zip(order, order[1:], strict=False)):
            found, count = found + in_order([w for _, w in order]), count + 1
    curve = curve_of(pairs)
    assert aurc(curve) == pytest.approx(found[0] / count, abs=1e-12)
    assert augrc(curve, variant="mean") == pytest.approx(found[1] / count, abs=1e-12)


def test_without_ties_against_reference(oracle):
    v = oracle("aurc_no_ties")
    curve = rank_by_confidence(np.array(v["inputs"]["conf"]), np.array(v["inputs"]["error"], bool))
    expected, near = v["expected"], v["tolerance"]
    assert aurc(curve) == pytest.approx(expected["aurc_mean"], abs=near)
    assert aurc(curve, variant="extended") == pytest.approx(expected["aurc_trapz_const_ext_fdshifts"], abs=near)
    assert best_aurc(curve) == pytest.approx(expected["aurc_optimal_discrete"], abs=near)
    assert e_aurc(curve) == pytest.approx(expected["eaurc_discrete"], abs=near)
    assert augrc(curve) == pytest.approx(expected["augrc_trapz_from0"], abs=near)
    assert augrc(curve) == pytest.approx(expected["augrc_identity"], abs=near)
    assert augrc(curve, variant="mean") == pytest.approx(expected["augrc_mean"], abs=near)


def test_with_ties_against_reference(oracle):
    v = oracle("aurc_ties")
    curve = rank_by_confidence(np.array(v["inputs"]["conf"]), np.array(v["inputs"]["error"], bool))
    assert aurc(curve) == pytest.approx(v["expected"]["aurc_mean_tie_averaged"], abs=v["tolerance"])
    assert aurc(curve, variant="extended") == pytest.approx(
        v["expected"]["aurc_trapz_distinct_thresholds_fdshifts"], abs=v["tolerance"]
    )
    assert v["expected"]["best"] < aurc(curve) < v["expected"]["worst"]


@settings(max_examples=150, deadline=None)
@given(rows)
def test_augrc_is_its_identity(pairs):
    confidence, wrong = np.array([c for c, _ in pairs], float), np.array([w for _, w in pairs], bool)
    share = wrong.mean()
    expected = share**2 / 2
    if wrong.any() and not wrong.all():
        expected += (1 - auroc(confidence[wrong], confidence[~wrong])) * share * (1 - share)
    assert augrc(curve_of(pairs)) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(rows, st.integers(0, 20))
def test_thresholds_by_trying_all(pairs, twentieths):
    curve, target = curve_of(pairs), twentieths / 20
    answers = [[w for c, w in pairs if c >= t] for t in {c for c, _ in pairs}]
    able = [len(a) / len(pairs) for a in answers if sum(a) / len(a) <= target]
    assert coverage_at_risk(curve, risk=target) == max(able, default=0.0)
    if target > 0:
        smallest = min((a for a in answers if len(a) / len(pairs) >= target), key=len)
        assert risk_at_coverage(curve, coverage=target) == sum(smallest) / len(smallest)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 20), st.integers(0, 20))
def test_the_best_order(right, errors):
    if right + errors:
        wrong = np.arange(right + errors) >= right
        curve = rank_by_confidence(-np.arange(right + errors, dtype=float), wrong)
        assert best_aurc(curve) == pytest.approx(in_order(wrong)[0], abs=1e-12)
        assert e_aurc(curve) == pytest.approx(0, abs=1e-12)


def test_many_examples_keep_their_digits():
    n = 300_000
    rng = np.random.default_rng(0)
    confidence, wrong = rng.random(n), rng.random(n) < 0.1
    ranked = wrong[np.argsort(-confidence)]
    expected = math.fsum((np.cumsum(ranked) / np.arange(1, n + 1)).tolist()) / n
    assert aurc(rank_by_confidence(confidence, wrong)) == pytest.approx(expected, abs=1e-13)
    blurred = np.floor(confidence * 50)
    steps = rank_by_confidence(blurred, wrong)
    assert len(steps.answered) == 50
    total = 0.0
    for k in range(49, -1, -1):
        before, errors = int((blurred > k).sum()), int(wrong[blurred > k].sum())
        size, more = int((blurred == k).sum()), int(wrong[blurred == k].sum())
        j = np.arange(1, size + 1)
        total += float(((errors + j * more / size) / (before + j)).sum())
    assert aurc(steps) == pytest.approx(total / n, abs=1e-12)


def test_predictions_are_ranked_by_their_highest_probability():
    p = predictions(200, 4)
    by_hand = rank_by_confidence(p.probabilities.max(axis=1), p.decisions != p.labels)
    assert aurc(risk_coverage(p)) == pytest.approx(aurc(by_hand), abs=1e-12)
    # in probabilities both would be 1.0, and a tie
    sure = Predictions(logits=np.array([[90.0, 0], [80.0, 0]], np.float32), labels=np.array([0, 1]), split="test")
    assert aurc(risk_coverage(sure)) == 0.25


def test_refusals():
    curve = curve_of([(1, True), (2, False)])
    with pytest.raises(BadInput, match="risk lies in"):
        coverage_at_risk(curve, risk=1.5)
    with pytest.raises(BadInput, match="coverage lies in"):
        risk_at_coverage(curve, coverage=0.0)
    with pytest.raises(BadInput, match="NaN"):
        rank_by_confidence(np.array([np.nan, 1.0]), np.array([True, False]))
    with pytest.raises(BadInput, match="true labels"):
        risk_coverage(Predictions(logits=np.zeros((3, 2), np.float32), split="test"))
    with pytest.raises(BadInput, match="n >= 1"):
        rank_by_confidence(np.zeros(0), np.zeros(0, bool))


signs = st.sampled_from(
    [-np.inf, -2.5, -1.0, -5e-324, -0.0, 0.0, 5e-324, 2.225073858507201e-308, 0.1, 1.0, 2.5, np.inf]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(signs | st.floats(allow_nan=False), st.booleans()), min_size=1, max_size=20))
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
def test_curves_of_any_numbers_by_counting(kind, pairs):
    with np.errstate(over="ignore"):
        confidence = np.array([c for c, _ in pairs]).astype(kind)
    wrong = np.array([w for _, w in pairs])
    curve = rank_by_confidence(confidence, wrong)
    levels = sorted(set(confidence.tolist()), reverse=True)
    assert curve.answered.tolist() == [int((confidence >= level).sum()) for level in levels]
    assert curve.errors.tolist() == [int(wrong[confidence >= level].sum()) for level in levels]
    assert curve.answered.dtype == curve.errors.dtype == np.int64


@pytest.mark.parametrize("most", [3, 40, 10**9])
def test_the_area_is_that_of_the_definition_for_many(most):
    rng = np.random.default_rng(most)
    confidence, wrong = rng.integers(0, most, 500) - most / 2, rng.random(500) < 0.3
    expected = 0.0
    for level in np.unique(confidence):
        before, group = wrong[confidence > level], wrong[confidence == level]
        for k in range(1, len(group) + 1):
            expected += (before.sum() + k * group.mean()) / (len(before) + k)
    assert aurc(rank_by_confidence(confidence, wrong)) == pytest.approx(expected / 500, abs=1e-13)
