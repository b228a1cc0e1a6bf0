import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from prudent.detection import aupr_id, aupr_ood, auroc, entropy, fpr_id_at_tpr95_ood, fpr_ood_at_tpr95_id, max_prob
from prudent.errors import BadInput
from prudent.types import Predictions
from tests.conftest import predictions

scores = st.lists(st.integers(0, 6), min_size=1, max_size=30).map(lambda v: np.array(v, float))


@settings(max_examples=200, deadline=None)
@given(scores, scores)
def test_auroc_is_the_share_of_pairs(known, ood):
    pairs = [(o > k) + (o == k) / 2 for o in ood for k in known]
    assert auroc(known, ood) == pytest.approx(sum(pairs) / len(pairs), abs=1e-15)


def test_auroc_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    known, ood = rng.normal(size=500), rng.normal(1, 1, size=300)
    truth = np.r_[np.zeros(500), np.ones(300)]
    assert auroc(known, ood) == pytest.approx(roc_auc_score(truth, np.r_[known, ood]), abs=1e-14)


@settings(max_examples=200, deadline=None)
@given(scores, scores)
def test_fpr_definitions_by_trying_every_threshold(known, ood):
    everything = sorted({*known, *ood})
    accepts = [(np.mean(known <= t), np.mean(ood <= t)) for t in everything]
    assert fpr_ood_at_tpr95_id(known, ood) == min(o for k, o in accepts if k >= 0.95)
    flags = [(np.mean(ood >= t), np.mean(known >= t)) for t in everything]
    assert fpr_id_at_tpr95_ood(known, ood) == min(k for o, k in flags if o >= 0.95)


@settings(max_examples=200, deadline=None)
@given(scores, scores)
def test_aupr_by_trying_every_threshold(known, ood):
    step = linear = recall = 0.0
    precision = 1.0
    for t in sorted({*known, *ood}, reverse=True):
        flagged, caught = np.sum(known >= t) + np.sum(ood >= t), np.sum(ood >= t)
        step += (caught / len(ood) - recall) * caught / flagged
        linear += (caught / len(ood) - recall) * (caught / flagged + precision) / 2
        recall, precision = caught / len(ood), caught / flagged
    assert aupr_ood(known, ood) == pytest.approx(step, abs=1e-14)
    assert aupr_ood(known, ood, interpolation="linear") == pytest.approx(linear, abs=1e-14)


@pytest.mark.parametrize("rounded", [False, True])
def test_aupr_agrees_with_scikit_learn(rounded):
    rng = np.random.default_rng(2)
    known, ood = rng.normal(size=500), rng.normal(1, 1, size=300)
    if rounded:  # ties between and within the sides
        known, ood = known.round(), ood.round()
    truth, everything = np.r_[np.zeros(500), np.ones(300)], np.r_[known, ood]
    assert aupr_ood(known, ood) == pytest.approx(average_precision_score(truth, everything), abs=1e-13)
    assert aupr_id(known, ood) == pytest.approx(average_precision_score(1 - truth, -everything), abs=1e-13)
    precision, recall, _ = precision_recall_curve(truth, everything)
    assert aupr_ood(known, ood, interpolation="linear") == pytest.approx(auc(recall, precision), abs=1e-13)


def test_aupr_of_what_is_told_apart_wholly_or_not_at_all():
    low, high = np.arange(10.0), np.arange(20.0, 30.0)
    assert aupr_ood(low, high) == aupr_id(low, high) == 1.0
    assert aupr_ood(np.zeros(30), np.zeros(10)) == 0.25
    assert aupr_id(np.zeros(30), np.zeros(10)) == 0.75


def test_metrics_do_not_change_with_the_order_or_a_rising_map():
    rng = np.random.default_rng(3)
    known, ood = rng.normal(size=200).round(1), rng.normal(1, 1, size=150).round(1)
    for metric in (auroc, aupr_id, aupr_ood, fpr_id_at_tpr95_ood, fpr_ood_at_tpr95_id):
        assert metric(rng.permutation(known), rng.permutation(ood)) == metric(known, ood)
        assert metric(np.exp(known), np.exp(ood)) == metric(known, ood)


@pytest.mark.parametrize("n", [20, 40, 60, 100, 1000])
def test_exactly_95_percent_is_enough(n):
    known = np.arange(n, dtype=float)
    ood = np.array([0.95 * n - 1])
    assert fpr_ood_at_tpr95_id(known, ood) == 1.0
    assert fpr_ood_at_tpr95_id(known, ood + 0.5) == 0.0


def test_fpr_agrees_with_the_roc_curve():
    rng = np.random.default_rng(1)
    known, ood = rng.normal(size=400), rng.normal(1.5, 1, size=400)
    fpr, tpr, _ = roc_curve(np.r_[np.zeros(400), np.ones(400)], np.r_[known, ood], drop_intermediate=False)
    assert fpr_id_at_tpr95_ood(known, ood) == pytest.approx(fpr[np.argmax(tpr >= 0.95)])


def test_max_prob_ranks_as_the_maximum_probability_and_does_not_saturate():
    p = predictions(300, 5)
    top = p.probabilities.max(axis=1)
    np.testing.assert_allclose(max_prob(p), -np.log(top / (1 - top)), rtol=1e-9)
    sure = Predictions(logits=np.array([[80.0, 0.0], [90.0, 0.0]], np.float32), split="test")
    assert sure.probabilities.max(axis=1).tolist() == [1.0, 1.0]
    assert max_prob(sure)[0] > max_prob(sure)[1]


def test_max_prob_of_members():
    p = predictions(100, 3, members=4)
    order = np.argsort(p.probabilities.max(axis=1))
    assert (np.diff(max_prob(p)[order]) <= 0).all()


def test_max_prob_of_members_does_not_saturate():
    logits = np.array([[[60.0, 0.0], [90.0, 0.0]], [[61.0, 0.0], [91.0, 0.0]]], np.float32)
    sure = Predictions(logits=logits, split="test")
    assert sure.probabilities.max(axis=1).tolist() == [1.0, 1.0]
    # ln of the mean of the other class' probabilities, to first order
    expected = [np.log((np.exp(-60) + np.exp(-61)) / 2), np.log((np.exp(-90) + np.exp(-91)) / 2)]
    np.testing.assert_allclose(max_prob(sure), expected)


def test_more_ood_is_higher(oracle):
    v = oracle("ood_logit_scores")
    p = Predictions(logits=np.array(v["inputs"]["logits"], np.float32), split="test")
    np.testing.assert_allclose(-p.probabilities.max(axis=1), v["expected"]["msp"], rtol=1e-6)
    np.testing.assert_allclose(entropy(p), v["expected"]["entropy"], rtol=1e-5, atol=1e-12)
    assert np.argsort(max_prob(p)).tolist() == np.argsort(v["expected"]["msp"]).tolist()


def test_refusals():
    with pytest.raises(BadInput, match="3 and 0"):
        auroc(np.zeros(3), np.zeros(0))
    with pytest.raises(BadInput, match="NaN"):
        fpr_id_at_tpr95_ood(np.array([np.nan]), np.zeros(1))
    for metric in (aupr_id, aupr_ood):
        with pytest.raises(BadInput, match="0 and 3"):
            metric(np.zeros(0), np.zeros(3))
        with pytest.raises(BadInput, match="NaN"):
            metric(np.zeros(2), np.array([np.nan]))


def test_an_interpolation_that_does_not_exist(unchecked):
    with pytest.raises(BadInput, match='"step" or "linear"; got \'cubic\''):
        aupr_ood(np.zeros(2), np.ones(2), interpolation="cubic")
