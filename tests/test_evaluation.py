import math

import numpy as np
import pytest
from scipy.stats import binomtest

from prudent import calibration, detection, uncertainty
from prudent.errors import BadInput, SplitMisuse
from prudent.evaluation import evaluate, worst_class_error
from prudent.types import Predictions
from tests.conftest import predictions


def test_everything_that_the_predictions_allow():
    p, q = predictions(200, 4, members=5), predictions(80, 4, members=5, seed=7)
    ood = Predictions(logits=q.logits, split="ood")
    report = evaluate(p, dense=p, ood=ood)
    assert report["error"].value == pytest.approx((p.decisions != p.labels).mean())
    interval = binomtest(int((p.decisions != p.labels).sum()), 200).proportion_ci(0.95, method="exact")
    assert (report["error"].lo, report["error"].hi) == pytest.approx((interval.low, interval.high))
    assert report["ece"].value == calibration.ece(p)
    assert report["nll"].value == calibration.nll(p)
    assert report["brier"].value == calibration.brier(p)
    assert report["mutual_information"].value == pytest.approx(uncertainty.mutual_information(p).mean())
    assert report["ood_mutual_information"].value == pytest.approx(uncertainty.mutual_information(ood).mean())
    assert report["disagreement"].value == 0
    assert report["auroc_entropy"].value == detection.auroc(detection.entropy(p), detection.entropy(ood))
    assert report["auroc_max_prob"].better == "higher"
    assert all(math.isfinite(m.value) for m in report.values())


def test_what_is_not_given_is_absent():
    blind = Predictions(logits=predictions().logits, split="test")
    assert set(evaluate(blind)) == {"confidence", "entropy"}


def test_worst_class_by_loop():
    p = predictions(300, 4)
    errors = [np.mean(p.decisions[p.labels == c] != c) for c in range(4)]
    assert worst_class_error(p) == (int(np.argmax(errors)), pytest.approx(max(errors)))


def test_worst_class_ignores_classes_that_do_not_occur():
    p = Predictions(logits=np.eye(3, dtype=np.float32)[[0, 1]], labels=np.array([0, 1]), split="test")
    assert worst_class_error(p) == (0, 0.0)


@pytest.mark.parametrize("split", ["certification", "train"])
def test_splits_that_are_not_for_reports(split):
    with pytest.raises(SplitMisuse, match=f"from '{split}'"):
        evaluate(predictions(split=split))


def test_no_argument_takes_the_certification_split():
    test = predictions(40)
    other = predictions(40, split="certification")
    with pytest.raises(SplitMisuse, match="for the certificate alone"):
        evaluate(test, ood=other)
    with pytest.raises(SplitMisuse, match="for the certificate alone"):
        evaluate(test, dense=other)


def test_refusals():
    with pytest.raises(BadInput, match="ood predictions have 3 classes, the others 4"):
        evaluate(predictions(), ood=predictions(classes=3))
    with pytest.raises(BadInput, match="same number of examples"):
        evaluate(predictions(), dense=predictions(51))
