"""Every importance score: shapes, finiteness, repeatability, and that it leaves the network as it was."""

import pytest
import torch
from torch import nn

from prudent.errors import CannotPrune
from prudent.network import prunable
from prudent.scores import SCORES
from tests.conftest import assert_untouched, batches, chain, snapshot

NAMES = list(SCORES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("norm", [False, True])
def test_one_finite_number_for_each_prunable_weight(name, norm):
    model = chain(norm=norm)
    scores = SCORES[name](model, batches())
    assert {k: v.shape for k, v in scores.items()} == {k: v.shape for k, v in prunable(model).items()}
    for score in scores.values():
        assert torch.isfinite(score).all()
        assert (score >= 0).all()
        assert not score.requires_grad


@pytest.mark.parametrize("name", NAMES)
def test_same_twice(name):
    model = chain()
    first, second = (SCORES[name](model, batches()) for _ in range(2))
    assert all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("training", [False, True])
def test_leaves_the_network_as_it_was(name, training):
    model = chain(norm=True).train(training)
    model[0].eval()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    before = snapshot(model)
    scores = SCORES[name](model, batches())
    assert_untouched(model, before)
    storage = {p.data_ptr() for p in model.parameters()}
    assert not storage & {s.data_ptr() for s in scores.values()}, "a score must not share memory with the weights"


@pytest.mark.parametrize("name", NAMES)
def test_refuses_a_network_with_nothing_to_prune(name):
    with pytest.raises(CannotPrune, match="nothing to prune"):
        SCORES[name](nn.Sequential(nn.ReLU()), batches())


@pytest.mark.parametrize("name", NAMES)
def test_names_its_source(name):
    what, source = SCORES.summary(name)
    assert what.endswith(".")
    assert "arXiv" in source
