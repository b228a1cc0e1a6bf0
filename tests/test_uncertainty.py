import numpy as np
import pytest
from scipy.stats import entropy as scipy_entropy

from prudent.errors import BadInput
from prudent.types import Predictions
from prudent.uncertainty import expected_entropy, mutual_information, predictive_entropy, variation_ratio
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
        (lambda p: mutual_information(p) / np.log(2), "bald_bits"),
        (lambda p: predictive_entropy(p) / np.log(3), "predictive_entropy_normalised"),
        (lambda p: 1 - p.probabilities.max(axis=1), "one_minus_mean_maxclass_prob"),
    ):
        np.testing.assert_allclose(function(p), v["expected"][key], atol=1e-6)
    # on the last example the mean decides for another class than most members: votes are counted, not the mean
    assert variation_ratio(p)[2] != v["expected"]["variation_ratio_of_mean_argmax"][2]


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
