import numpy as np
import pytest
from scipy.stats import entropy as scipy_entropy

from prudent.errors import BadInput
from prudent.types import Predictions
from prudent.uncertainty import (
    expected_entropy,
    mutual_information,
    pairwise_divergence,
    predictive_entropy,
    reverse_mutual_information,
    variation_ratio,
)
from tests.conftest import predictions


def test_against_reference(oracle):
    v = oracle("mc_dropout_uncertainties")
    samples = np.log(np.array(v["inputs"]["probs_input_sample_class"]))
    p = Predictions(logits=samples.transpose(1, 0, 2).astype(np.float32), split="test")
    # the vectors start from probabilities, we from float32 logits
    for function, key in (
        (predictive_entropy, "predictive_entropy"),
        (expected_entropy, "expected_entropy"),
        (mutual_information, "bald_mi"),
        (variation_ratio, "variation_ratio_votes"),
        (pairwise_divergence, "epkl"),
        (reverse_mutual_information, "reverse_mi"),
        (lambda p: mutual_information(p) / np.log(2), "bald_bits"),
        (lambda p: predictive_entropy(p) / np.log(3), "predictive_entropy_normalised"),
        (lambda p: 1 - p.probabilities.max(axis=1), "one_minus_mean_maxclass_prob"),
    ):
        np.testing.assert_allclose(function(p), v["expected"][key], atol=1e-6)
    # on the last example the mean decides for another class than most members: votes are counted, not the mean
    assert variation_ratio(p)[2] != v["expected"]["variation_ratio_of_mean_argmax"][2]


def test_divergences_pair_by_pair():
    p = predictions(20, 4, members=5, seed=3)
    each = np.exp(p.log_probabilities)
    pairs = [[scipy_entropy(a, b, axis=-1) for b in each] for a in each]
    np.testing.assert_allclose(pairwise_divergence(p), np.mean(pairs, axis=(0, 1)), rtol=1e-10)
    mean = each.mean(axis=0)
    reverse = np.mean([scipy_entropy(mean, one, axis=-1) for one in each], axis=0)
    np.testing.assert_allclose(reverse_mutual_information(p), reverse, rtol=1e-10)
    np.testing.assert_allclose(pairwise_divergence(p), mutual_information(p) + reverse, rtol=1e-10)


def test_divergences_of_members_that_agree_and_of_members_that_exclude_each_other():
    one = 40 * predictions(20, 3, seed=1).logits
    same = Predictions(logits=np.stack([one] * 4), split="test")
    for function in (pairwise_divergence, reverse_mutual_information):
        np.testing.assert_allclose(function(same), 0, atol=1e-12)
        assert (function(same) >= 0).all()
        with pytest.raises(BadInput, match="compares members or dropout samples"):
            function(Predictions(logits=one, split="test"))
    apart = Predictions(logits=np.array([[[300.0, 0.0]], [[0.0, 300.0]]], np.float32), split="test")
    # each is certain: KL of the mean from one is ln(1/2) + 300 / 2, and of one from the other 300
    assert reverse_mutual_information(apart) == pytest.approx([150 - np.log(2)])
    assert pairwise_divergence(apart) == pytest.approx([150.0])


def test_variation_ratio_by_counting():
    p = predictions(60, 4, members=7, seed=5)
    for i, found in enumerate(variation_ratio(p)):
        votes = [int(p.logits[m, i].argmax()) for m in range(7)]
        assert found == pytest.approx(1 - max(votes.count(c) for c in range(4)) / 7, abs=1e-15)


def test_variation_ratio_of_members_that_agree_and_of_ties():
    one = predictions(20, 3).logits
    assert (variation_ratio(Predictions(logits=np.stack([one] * 4), split="test")) == 0).all()
    tied = np.array([[[1.0, 1.0, 0.0]], [[0.0, 1.0, 1.0]], [[2.0, 0.0, 1.0]]], np.float32)
    assert variation_ratio(Predictions(logits=tied, split="test"))[0] == pytest.approx(1 / 3)


def test_entropy_agrees_with_scipy():
    p = predictions(100, 5)
    np.testing.assert_allclose(predictive_entropy(p), scipy_entropy(p.probabilities, axis=1), rtol=1e-12)


def test_entropy_keeps_digits_where_the_softmax_saturates():
    p = Predictions(logits=np.array([[60.0, 0.0]], np.float32), split="test")
    expected = 61 * np.exp(-60.0)  # -q ln q + q to first order, q = exp(-60)
    assert predictive_entropy(p)[0] == pytest.approx(expected, rel=1e-6)
    assert predictive_entropy(Predictions(logits=np.array([[1e4, 0.0]], np.float32), split="test"))[0] == 0.0


def test_mutual_information_bounds():
    p = predictions(200, 4, members=6)
    information = mutual_information(p)
    assert (information >= 0).all()
    assert (information <= np.log(4)).all()
    np.testing.assert_allclose(information, predictive_entropy(p) - expected_entropy(p), atol=1e-12)


def test_mutual_information_is_cut_off_at_zero():
    # equal members whose difference of entropies rounds to below 0
    one = predictions(4000, 10).logits
    p = Predictions(logits=np.stack([one] * 7), split="test")
    assert (predictive_entropy(p) - expected_entropy(p)).min() < 0, "else this shows nothing"
    assert (mutual_information(p) >= 0).all()


def test_equal_members_know_nothing_of_each_other():
    one = predictions(50, 4).logits
    p = Predictions(logits=np.stack([one, one, one]), split="test")
    np.testing.assert_allclose(mutual_information(p), 0, atol=1e-12)


def test_contradicting_members_know_everything():
    p = Predictions(logits=np.array([[[500.0, 0.0]], [[0.0, 500.0]]], np.float32), split="test")
    assert mutual_information(p)[0] == pytest.approx(np.log(2))


def test_refuses_single_networks():
    for function in (mutual_information, variation_ratio):
        with pytest.raises(BadInput, match="mc_samples"):
            function(predictions())
