"""Parts of the Brier score against their definitions by loop, and the identity that holds them together."""

import math

import numpy as np
import pytest

from prudent.calibration import brier
from prudent.errors import BadInput
from prudent.proper_scores import brier_parts
from prudent.types import Predictions
from tests.conftest import predictions


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("bins", [1, 5, 15])
def test_the_parts_make_the_score(members, bins):
    p = predictions(150, 4, members=members)
    assert brier_parts(p, bins=bins).brier == pytest.approx(brier(p), abs=1e-12)


def test_each_part_by_loop():
    p = predictions(120, 3, seed=2)
    reliability = resolution = uncertainty = 0.0
    for c in range(3):
        overall = sum(p.labels == c) / p.n
        uncertainty += overall * (1 - overall)
        for b in range(5):
            members = [i for i in range(p.n) if min(int(p.probabilities[i, c] * 5), 4) == b]
            if members:
                said = math.fsum(p.probabilities[i, c] for i in members) / len(members)
                share = sum(p.labels[i] == c for i in members) / len(members)
                reliability += len(members) / p.n * (said - share) ** 2
                resolution += len(members) / p.n * (share - overall) ** 2
    parts = brier_parts(p, bins=5)
    assert parts.reliability == pytest.approx(reliability, abs=1e-12)
    assert parts.resolution == pytest.approx(resolution, abs=1e-12)
    assert parts.uncertainty == pytest.approx(uncertainty, abs=1e-12)


def test_few_distinct_forecasts_leave_nothing_within():
    rng = np.random.default_rng(0)
    logits = np.array([[0.0, 2.0], [0.0, -1.0], [0.0, 0.5]], np.float32)[rng.integers(0, 3, 90)]
    p = Predictions(logits=logits, labels=rng.integers(0, 2, 90), split="test")
    assert brier_parts(p, bins=100).within == pytest.approx(0, abs=1e-12)
    assert abs(brier_parts(p, bins=1).within) > 0.01


def test_always_saying_the_shares_resolves_nothing():
    labels = np.array([0, 0, 0, 1])
    p = Predictions(logits=np.log([[0.75, 0.25]] * 4).astype(np.float32), labels=labels, split="test")
    parts = brier_parts(p)
    assert parts.resolution == pytest.approx(0, abs=1e-12)
    assert parts.reliability == pytest.approx(0, abs=1e-12)
    assert parts.uncertainty == 2 * 0.75 * 0.25


def test_refusals():
    with pytest.raises(BadInput, match="true labels"):
        brier_parts(Predictions(logits=np.zeros((3, 2), np.float32), split="test"))
    with pytest.raises(BadInput, match="bins=0"):
        brier_parts(predictions(5, 2), bins=0)
