"""Moved decisions against counting by hand."""

from collections import Counter

import numpy as np
import pytest

from prudent.errors import BadInput
from prudent.reallocation import churn, exemplars, largest_movements, modal_decisions, reallocate
from prudent.types import Predictions
from tests.conftest import predictions


def deciding(classes, *, of=4, split="test"):
    """Predictions that decide for the given classes."""
    return Predictions(logits=np.eye(of, dtype=np.float32)[np.array(classes)], split=split)


def test_churn_by_counting():
    a, b = predictions(300, 4, seed=0), predictions(300, 4, seed=1)
    b = Predictions(logits=b.logits, labels=a.labels, split="test")
    pairs = Counter(zip(b.decisions.tolist(), a.decisions.tolist(), strict=True))
    found = churn(a, b)
    assert {(r, c): int(found[r, c]) for r in range(4) for c in range(4) if found[r, c]} == dict(pairs)
    assert np.trace(found) == (a.decisions == b.decisions).sum()


def test_strangers_by_counting():
    rng = np.random.default_rng(0)
    dense, pruned, strangers = rng.integers(0, 4, 200), rng.integers(0, 4, 200), rng.integers(0, 6, 200)
    found = reallocate(deciding(pruned, split="ood"), deciding(dense, split="ood"), strangers)
    for s in range(6):
        for c in range(4):
            assert found.dense[s, c] == sum((strangers == s) & (dense == c))
            assert found.pruned[s, c] == sum((strangers == s) & (pruned == c))
    movements = largest_movements(found, most=24)
    shares = [round(abs(m.change), 12) for m in movements]
    assert shares == sorted(shares, reverse=True)
    for m in movements:
        of_s = strangers == m.stranger
        assert m.dense == np.mean(dense[of_s] == m.taken_for)
        assert m.pruned == np.mean(pruned[of_s] == m.taken_for)
    still = 24 - len(movements)
    assert still == sum((found.dense == found.pruned).ravel())


def test_man_becomes_deer():
    dense = deciding([0, 0, 0, 0, 1, 1], split="ood")
    pruned = deciding([3, 3, 3, 0, 1, 2], split="ood")
    found = reallocate(pruned, dense, np.array([1, 1, 1, 1, 0, 0]), classes=3)
    assert found.dense.shape == (3, 4)
    assert found.dense[2].sum() == 0
    top = largest_movements(found, most=3)
    assert [(m.stranger, m.taken_for, m.change) for m in top] == [(1, 0, -0.75), (1, 3, 0.75), (0, 1, -0.5)]


def test_exemplars_by_voting():
    rng = np.random.default_rng(1)
    pruned = [deciding(rng.integers(0, 3, 50), of=3) for _ in range(5)]
    dense = [deciding(rng.integers(0, 3, 50), of=3) for _ in range(4)]

    def modes(networks, i):
        votes = Counter(int(p.decisions[i]) for p in networks)
        return {c for c, v in votes.items() if v == max(votes.values())}

    expected = [not modes(pruned, i) & modes(dense, i) for i in range(50)]
    assert exemplars(pruned, dense).tolist() == expected
    assert 0 < sum(expected) < 50
    assert any(len(modes(dense, i)) > 1 for i in range(50)), "some tie"
    # half of the dense networks say what all pruned ones say: nothing was forgotten
    assert not exemplars([deciding([3]), deciding([3])], [deciding([1]), deciding([3])]).any()
    assert not exemplars(dense, dense).any()
    assert modal_decisions(dense[:1]).tolist() == dense[0].decisions.tolist()


def test_refusals():
    one = deciding([0, 1], split="ood")
    with pytest.raises(BadInput, match="not from the task; these are 'test'"):
        reallocate(deciding([0, 1]), deciding([0, 1]), np.array([0, 1]))
    with pytest.raises(BadInput, match="each of 2 strangers"):
        reallocate(one, one, np.array([0, -1]))
    with pytest.raises(BadInput, match=r"0 \.\. 1; got 2"):
        reallocate(one, one, np.array([0, 2]), classes=2)
    with pytest.raises(BadInput, match="most=0"):
        largest_movements(reallocate(one, one, np.array([0, 1])), most=0)
    with pytest.raises(BadInput, match="got 0 and 1"):
        exemplars([], [one])
    with pytest.raises(BadInput, match="at least one network"):
        modal_decisions([])
    with pytest.raises(BadInput, match="same number of classes"):
        exemplars([one], [deciding([0, 1], of=3, split="ood")])
    with pytest.raises(BadInput, match="same number of examples"):
        churn(one, deciding([0], split="ood"))
