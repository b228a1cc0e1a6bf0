"""Claims about two networks on the same examples, put together from bounds and intervals, against reference vectors."""

import numpy as np
import pytest

from prudent.bounds.binomial import binomial
from prudent.bounds.hoeffding_bentkus import hoeffding_bentkus
from prudent.intervals import lower_limit, upper_limit
from prudent.loss_tables import losses
from prudent.types import Predictions
from tests.conftest import VECTORS, vectors

DROPS = [v for v in vectors("paired", "paired_drop") if "n10_dense_right_pruned_wrong" in v["inputs"]]


def right(which: np.ndarray, labels: np.ndarray, split: str = "certification") -> Predictions:
    """Predictions between two classes that are right where it is said."""
    decided = np.where(which, labels, 1 - labels)
    return Predictions(logits=np.eye(2, dtype=np.float32)[decided], labels=labels, split=split)


@pytest.mark.parametrize("v", DROPS, ids=lambda v: v["name"])
def test_accuracy_drop(v):
    i, expected = v["inputs"], v["expected"]
    lost, won, n, margin, delta = i["n10_dense_right_pruned_wrong"], i["n01"], i["n"], i["margin"], i["delta"]
    at, labels = np.arange(n), np.arange(n) % 2
    dense = right(at >= won, labels)
    pruned = right((at < won) | (at >= won + lost), labels)
    signed = (dense.decisions == labels).astype(float) - (pruned.decisions == labels)
    assert signed.mean() == pytest.approx(expected["drop_hat"])
    # in [0, 1] only after (L + 1) / 2; a bound of losses in [0, 1] refuses the difference itself
    rescaled = hoeffding_bentkus((signed + 1) / 2, (1 + margin) / 2)
    assert rescaled == pytest.approx(expected["hb_rescaled_p"], rel=1e-9)
    with pytest.raises(ValueError, match=r"losses lie in \[0, 1\]"):
        hoeffding_bentkus(signed, margin)
    flips = (signed == 1).astype(float)
    assert binomial(flips, margin) == pytest.approx(expected["negative_flip_binomial_p"], rel=1e-9)
    upper = upper_limit(lost, n, delta=delta / 2) - lower_limit(won, n, delta=delta / 2)
    assert upper == pytest.approx(expected["cp_union_ucb"], rel=1e-9)


def test_disagreement_bounds_accuracy_without_labels():
    v = VECTORS["disagreement_certificate"]
    i, expected = v["inputs"], v["expected"]
    n, labels = i["n"], np.zeros(i["n"], dtype=np.int64)
    dense = right(np.ones(n, dtype=bool), labels)
    pruned = right(np.arange(n) >= i["disagree"], labels)
    counts = losses([pruned], sparsities=[0.5], loss="disagreement", dense=dense).counts
    assert counts == (i["disagree"],)
    upper = upper_limit(counts[0], n, delta=i["delta"])
    assert upper == pytest.approx(expected["upper"], rel=1e-9)
    assert i["acc_dense"] - upper == pytest.approx(expected["acc_pruned_lower"], rel=1e-9)
