import numpy as np
import pytest

from prudent.errors import BadInput, UnknownName
from prudent.loss_tables import losses
from prudent.risks import disagreement, error
from prudent.types import Predictions
from tests.conftest import predictions


def both(n=40, **change):
    a, b = predictions(n, 4, seed=1, split="certification"), predictions(n, 4, seed=2, split="certification")
    b = Predictions(logits=b.logits, labels=a.labels, split="certification", **change)
    return a, b


def test_losses_by_loop():
    a, dense = both()
    for i in range(a.n):
        assert error(a)[i] == float(a.logits[i].argmax() != a.labels[i])
        assert disagreement(a, dense)[i] == float(a.logits[i].argmax() != dense.logits[i].argmax())


def test_a_table_of_losses():
    a, dense = both(model="d")
    table = losses([dense, a], dense=dense, loss="disagreement", sparsities=[0.1, 0.5])
    assert table.values.shape == (40, 2)
    assert table.counts == (0, int((a.decisions != dense.decisions).sum()))
    assert (table.names, table.loss, table.split, table.dense) == (("0.1", "0.5"), "disagreement", "certification", "d")


def test_disagreement_bounds_the_loss_of_accuracy():
    a, dense = both(500)
    lost = error(a).mean() - error(dense).mean()
    assert lost <= disagreement(a, dense).mean()


def test_no_labels_needed_for_disagreement():
    a, dense = both()
    blind = Predictions(logits=a.logits, split="certification")
    table = losses(
        [blind], dense=Predictions(logits=dense.logits, split="certification"), loss="disagreement", sparsities=[0.5]
    )
    assert table.counts == (int((a.decisions != dense.decisions).sum()),)
    with pytest.raises(BadInput, match="'error' needs true labels"):
        losses([blind], loss="error", sparsities=[0.5])


def test_own_loss():
    a, _ = both()

    def half(candidate, dense):
        return np.full(candidate.n, 0.5)

    table = losses([a], loss=half, sparsities=[0.5])
    assert table.loss == "half"
    assert table.counts is None
    with pytest.raises(BadInput, match=r"lie in \[0, 1\]"):
        losses([a], loss=lambda c, d: np.full(c.n, 2.0), sparsities=[0.5])


def test_an_own_loss_cannot_take_the_name_of_another():
    def error(candidate, dense):
        return np.zeros(candidate.n)

    with pytest.raises(BadInput, match="name of its own"):
        losses([predictions(20)], sparsities=[0.5], loss=error)


def test_ensembles_are_candidates_too():
    a, _ = both()
    team = Predictions(logits=np.stack([a.logits, a.logits]), labels=a.labels, split="certification")
    assert losses([team], loss="error", sparsities=[0.0]).counts == (int(error(a).sum()),)


def test_refusals():
    a, dense = both()
    with pytest.raises(UnknownName, match="Did you mean 'disagreement'"):
        losses([a], loss="disagreemnt", sparsities=[0.5])
    with pytest.raises(BadInput, match="pass dense="):
        losses([a], loss="disagreement", sparsities=[0.5])
    with pytest.raises(BadInput, match="at least one candidate"):
        losses([], sparsities=[])
    other = predictions(41, 4, split="certification")
    with pytest.raises(BadInput, match="same number of examples; got 40 and 41"):
        losses([a, other], loss="error", sparsities=[0.5, 0.6])
    with pytest.raises(BadInput, match="same split"):
        losses([a], dense=predictions(40, 4, split="test"), loss="disagreement", sparsities=[0.5])
    with pytest.raises(BadInput, match="same order"):
        losses([a, predictions(40, 4, seed=9, split="certification")], loss="error", sparsities=[0.5, 0.6])
    tagged = [Predictions(logits=a.logits, split="test", data=d) for d in ("x" * 64, "y" * 64)]
    with pytest.raises(BadInput, match="same examples; got data xxx"):
        losses([tagged[0]], dense=tagged[1], loss="disagreement", sparsities=[0.5])
