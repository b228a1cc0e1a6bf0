"""Distances between networks against reference vectors, scipy, and every sample of a small population."""

import math
from itertools import combinations

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from prudent import similarity
from prudent.alignment import linear_cka, minibatch_cka, unbiased_hsic
from prudent.errors import BadInput
from prudent.similarity import (
    decision_agreement,
    distances,
    hellinger,
    jensen_shannon,
    kl,
    log_mean_probabilities,
    softmax_l2,
    softmax_l_infinity,
    total_variation,
)
from prudent.types import Predictions
from tests.conftest import predictions


def test_against_reference(oracle):
    v = oracle("functional_distance")
    p, q, expected = np.log(v["inputs"]["p_dense"]), np.log(v["inputs"]["p_pruned"]), v["expected"]
    for name, found in (
        ("kl", kl(p, q)),
        ("kl_rev", kl(q, p)),
        ("js", jensen_shannon(p, q)),
        ("tv", total_variation(p, q)),
        ("hellinger", hellinger(p, q)),
        ("l2", softmax_l2(p, q)),
    ):
        np.testing.assert_allclose(found, expected[name], atol=v["tolerance"], rtol=0)
    np.testing.assert_allclose(softmax_l_infinity(p, q), [0.1, 0.15], atol=1e-12)
    dense, pruned = (Predictions(logits=x.astype(np.float32), split="test") for x in (p, q))
    assert 1 - decision_agreement(pruned, dense) == expected["disagreement"]


@pytest.mark.parametrize("members", [None, 3])
def test_predictions_against_scipy(members):
    a, b = predictions(30, 4, members=members, seed=0), predictions(30, 4, seed=1)
    b = Predictions(logits=b.logits, labels=a.labels, split="test")
    found = distances(a, b)
    p, q = b.probabilities, a.probabilities
    np.testing.assert_allclose(found["kl"], entropy(p, q, axis=1), atol=1e-12)
    np.testing.assert_allclose(found["kl_reverse"], entropy(q, p, axis=1), atol=1e-12)
    np.testing.assert_allclose(found["jensen_shannon"], jensenshannon(p, q, axis=1) ** 2, atol=1e-12)
    np.testing.assert_allclose(found["l2"], [math.dist(x, y) for x, y in zip(p, q, strict=True)], atol=1e-12)
    for i in range(30):
        assert found["total_variation"][i] == pytest.approx(sum(max(x - y, 0) for x, y in zip(p[i], q[i], strict=True)))
        overlap = math.fsum(math.sqrt(x * y) for x, y in zip(p[i], q[i], strict=True))
        assert found["hellinger"][i] == pytest.approx(math.sqrt(1 - overlap), abs=1e-9)
        assert found["l_infinity"][i] == pytest.approx(max(abs(p[i] - q[i])), abs=1e-14)
    np.testing.assert_allclose(np.exp(log_mean_probabilities(a)), q, atol=1e-15)


def test_the_ends_of_the_ranges():
    sure = Predictions(logits=np.array([[800.0, 0.0], [5.0, 5.0]], np.float32), split="test")
    other = Predictions(logits=np.array([[0.0, 800.0], [5.0, 5.0]], np.float32), split="test")
    found = distances(sure, other)
    assert {name: values[1] for name, values in found.items()} == dict.fromkeys(found, 0.0)
    assert found["kl"][0] == 800.0  # from logarithms: the probability itself is 0
    assert found["jensen_shannon"][0] == pytest.approx(math.log(2), abs=1e-15)
    assert found["total_variation"][0] == found["hellinger"][0] == found["l_infinity"][0] == 1.0
    assert found["l2"][0] == pytest.approx(math.sqrt(2))
    never = np.array([[0.0, -np.inf]])
    assert kl(never, never).tolist() == [0.0]
    assert kl(np.log([[0.5, 0.5]]), never).tolist() == [math.inf]


def test_cka_against_reference(oracle):
    v = oracle("linear_cka")
    x, y = np.array(v["inputs"]["X"]), np.array(v["inputs"]["Y"])
    assert linear_cka(x, y) == pytest.approx(v["expected"]["cka"], abs=v["tolerance"])
    assert unbiased_hsic(x, y) == pytest.approx(v["expected"]["hsic1_xy"], abs=v["tolerance"])


def test_cka_ignores_rotation_scale_and_shift():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 5))
    rotation, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    assert linear_cka(x, 3 * x @ rotation + 7) == pytest.approx(1, abs=1e-12)
    assert minibatch_cka([(x, 3 * x @ rotation + 7)]).cka == pytest.approx(1, abs=1e-12)
    assert linear_cka(x, rng.normal(size=(40, 5))) < 0.5


def test_unbiased_hsic_is_unbiased_over_every_sample():
    # all samples of 5 out of 8: their mean is the same statistic of all 8
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(8, 2)), rng.normal(size=(8, 3))
    samples = [list(c) for c in combinations(range(8), 5)]
    mean = math.fsum(unbiased_hsic(x[s], y[s]) for s in samples) / len(samples)
    assert mean == pytest.approx(unbiased_hsic(x, y), abs=1e-12)


def test_minibatches_add_up():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(4000, 6))
    y = x[:, :3] + rng.normal(size=(4000, 3))
    parts = [(x[i : i + 40], y[i : i + 40]) for i in range(0, 4000, 40)]
    found = minibatch_cka(iter(parts))
    each = [[unbiased_hsic(a, b), unbiased_hsic(a, a), unbiased_hsic(b, b)] for a, b in parts]
    both, one, other = np.mean(each, axis=0)
    assert found.cka == pytest.approx(both / math.sqrt(one * other), abs=1e-12)
    assert found.cka == pytest.approx(linear_cka(x, y), abs=0.02)
    constant = np.ones((5, 2))
    assert math.isnan(minibatch_cka([(constant * 0, x[:5])]).cka)


def test_refusals():
    p = predictions(10, 3)
    logs = np.log([[0.5, 0.5]])
    with pytest.raises(BadInput, match="same number of classes"):
        distances(p, predictions(10, 4))
    with pytest.raises(BadInput, match="same number of examples"):
        decision_agreement(p, predictions(9, 3))
    with pytest.raises(BadInput, match="add up to 1"):
        kl(logs + 0.1, logs)
    with pytest.raises(BadInput, match="add up to 1"):
        total_variation(logs, np.array([[np.nan, 0.0]]))
    with pytest.raises(BadInput, match="same for all examples"):
        linear_cka(np.ones((4, 2)), np.ones((4, 2)))
    with pytest.raises(BadInput, match="finite"):
        linear_cka(np.full((4, 2), np.nan), np.ones((4, 2)))
    with pytest.raises(BadInput, match="same 4 or more examples"):
        unbiased_hsic(np.ones((3, 2)), np.ones((3, 2)))
    with pytest.raises(BadInput, match="at least one batch"):
        minibatch_cka([])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ["kl", "jensen_shannon", "total_variation", "hellinger", "softmax_l2"])
def test_shapes_that_differ(name):
    with pytest.raises(BadInput, match="both networks need"):
        getattr(similarity, name)(np.log([[0.5, 0.5]]), np.log([[0.5, 0.25, 0.25]]))
