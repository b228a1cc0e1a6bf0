"""Calibration against the definition by loop, against reference vectors and against scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss

from prudent import calibration
from prudent.calibration import bin_confidence, brier, ece, equal_width_bins, nll, reliability
from prudent.errors import BadInput
from prudent.types import Predictions
from tests.conftest import predictions


def ece_by_loop(p: Predictions, bins: int) -> float:
    """Straight from the definition: bins [k/B, (k+1)/B), the last one closed."""
    total = 0.0
    for k in range(bins):
        confidence, right = [], []
        for row, label in zip(p.probabilities, p.labels, strict=True):
            top = max(row)
            if k / bins <= top < (k + 1) / bins or (k == bins - 1 and top == 1.0):
                confidence.append(top)
                right.append(float(list(row).index(top) == label))
        if confidence:
            total += len(confidence) / p.n * abs(math.fsum(confidence) / len(confidence) - sum(right) / len(right))
    return total


@pytest.mark.parametrize("bins", [1, 2, 10, 15, 100])
@pytest.mark.parametrize("members", [None, 3])
def test_ece_is_its_definition(bins, members):
    p = predictions(200, 4, members=members, seed=bins)
    assert ece(p, bins=bins) == pytest.approx(ece_by_loop(p, bins), abs=1e-12)


@pytest.mark.parametrize(
    ("closed", "key"), [("left", "left_closed_last_closed"), ("right", "right_closed_first_closed")]
)
def test_edges_against_reference(oracle, closed, key):
    v = oracle("ece_edges_dyadic_8")
    confidence, correct = np.array(v["inputs"]["conf"]), np.array(v["inputs"]["correct"], bool)
    diagram = bin_confidence(confidence, correct, bins=v["inputs"]["bins"], closed=closed)
    assert diagram.ece == pytest.approx(v["expected"][key], abs=v["tolerance"])


def test_multiclass_reference(oracle):
    v = oracle("multiclass_calibration")
    logits = np.log(np.array(v["inputs"]["probs"])).astype(np.float32)
    p = Predictions(logits=logits, labels=np.array(v["inputs"]["y"]), split="test")
    # float32 logits move a probability by 1e-7, which moves no example over an edge here
    assert ece(p, bins=v["inputs"]["bins"]) == pytest.approx(v["expected"]["confidence_ece"], abs=1e-6)


@pytest.mark.parametrize("closed", ["left", "right"])
@pytest.mark.parametrize("bins", [1, 3, 7, 10, 15, 49, 1000])
def test_bins_are_decided_by_their_edges_to_the_last_digit(closed, bins):
    edges = np.arange(bins + 1) / bins
    values = np.concatenate(
        [edges, np.nextafter(edges, 0), np.nextafter(edges, 1), np.random.default_rng(0).random(99)]
    )
    values = np.tile(values, -(-70_000 // len(values)))  # more than one block
    searched = np.searchsorted(edges, values, side="right" if closed == "left" else "left") - 1
    assert (equal_width_bins(values, bins=bins, closed=closed) == np.clip(searched, 0, bins - 1)).all()


def test_nll_in_blocks_is_nll(monkeypatch):
    for members in (None, 3):
        p = predictions(100, 4, members=members)
        expected = -np.log(p.probabilities[np.arange(100), p.labels]).mean()
        monkeypatch.setattr(calibration, "BLOCK", 2**16)
        assert nll(p) == pytest.approx(expected, abs=1e-13)
        monkeypatch.setattr(calibration, "BLOCK", 90)
        assert nll(p) == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("closed", ["left", "right"])
def test_confidence_exactly_one_is_in_the_last_bin(closed):
    diagram = bin_confidence(np.array([1.0, 1.0, 0.5]), np.array([True, False, True]), bins=15, closed=closed)
    assert diagram.counts[-1] == 2
    assert diagram.counts.sum() == 3
    assert bin_confidence(np.array([1.0, 1.0]), np.array([True, False]), bins=1).ece == 0.5


def test_saturated_logits_are_exactly_one_and_counted():
    p = Predictions(logits=np.array([[200.0, 0.0], [0.0, 200.0]], np.float32), labels=np.array([0, 0]), split="test")
    assert p.probabilities.max() == 1.0
    assert ece(p) == 0.5


def test_reliability_counts_everything_once():
    p = predictions(500, 3)
    diagram = reliability(p, bins=15)
    assert diagram.counts.sum() == 500
    assert diagram.right.sum() == (p.decisions == p.labels).sum()
    assert diagram.confidence.sum() == pytest.approx(p.probabilities.max(axis=1).sum())
    assert (diagram.right <= diagram.counts).all()
    assert diagram.edges.tolist() == [k / 15 for k in range(16)]


def test_row_order_does_not_matter():
    p = predictions(300, 4)
    order = np.random.default_rng(1).permutation(300)
    q = Predictions(logits=p.logits[order], labels=p.labels[order], split="test")
    assert ece(p) == pytest.approx(ece(q), abs=1e-15)


def test_nll_and_brier_agree_with_scikit_learn():
    p = predictions(200, 4, seed=3)
    assert nll(p) == pytest.approx(log_loss(p.labels, p.probabilities), rel=1e-12)
    assert brier(p) == pytest.approx(brier_score_loss(p.labels, p.probabilities, scale_by_half=False), rel=1e-12)


def test_nll_of_members_is_that_of_the_mean_probability():
    p = predictions(100, 4, members=7)
    assert nll(p) == pytest.approx(log_loss(p.labels, p.probabilities), rel=1e-12)


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("scale", [1.0, 60.0, 3000.0])
def test_nll_is_the_log_softmax_at_the_label_at_any_scale(members, scale):
    p = predictions(40, classes=5, members=members, scale=scale)
    each = p.log_probabilities[..., np.arange(40), p.labels]
    if members is not None:
        each = np.logaddexp.reduce(each, axis=0) - np.log(3)
    assert nll(p) == pytest.approx(-each.mean(), rel=1e-13)


def test_nll_keeps_the_digits_of_what_is_nearly_certain():
    p = Predictions(logits=np.array([[40.0, 0.0]], np.float32), labels=np.array([0]), split="test")
    assert nll(p) == pytest.approx(math.exp(-40), rel=1e-14)


def test_nll_is_finite_where_probabilities_underflow():
    p = Predictions(logits=np.array([[0.0, 3000.0]], np.float32), labels=np.array([0]), split="test")
    assert nll(p) == pytest.approx(3000.0)


def test_refusals():
    with pytest.raises(BadInput, match="true labels"):
        ece(Predictions(logits=np.zeros((2, 2), np.float32), split="test"))
    with pytest.raises(BadInput, match="at least one bin"):
        ece(predictions(), bins=0)
