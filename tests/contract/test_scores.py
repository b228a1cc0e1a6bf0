"""Every importance score: shapes, finiteness, repeatability, and that it leaves the network as it was."""

from functools import cache

import pytest
import torch
from torch import nn

import prudent
from prudent.errors import BadInput, CannotPrune
from prudent.models.resnet_cifar import resnet_cifar
from prudent.network import prunable
from prudent.scopes import count
from prudent.scores import SCORES
from prudent.surgery.chain import links
from tests.conftest import assert_untouched, batches, chain, images, normalised, snapshot

NAMES = list(SCORES)
CHOOSY = [name for name in NAMES if SCORES.constant(name, "SUITS") is not None]


def network(name, *, norm=False):
    """A network that the score suits."""
    return normalised() if SCORES.constant(name, "SUITS") == "normalised" else chain(norm=norm)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("norm", [False, True])
def test_one_finite_number_for_each_prunable_weight(name, norm):
    model = network(name, norm=norm)
    scores = SCORES[name](model, batches())
    weights = prunable(model)
    if SCORES.constant(name, "UNIT") == "channel":
        weights = {link.weight: weights[link.weight].flatten(1)[:, 0] for link in links(model)}
    assert {k: v.shape for k, v in scores.items()} == {k: v.shape for k, v in weights.items()}
    for score in scores.values():
        assert torch.isfinite(score).all()
        assert not score.requires_grad


@pytest.mark.parametrize("name", NAMES)
def test_same_twice(name):
    model = network(name)
    first, second = (SCORES[name](model, batches()) for _ in range(2))
    assert all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("training", [False, True])
def test_leaves_the_network_as_it_was(name, training):
    model = network(name, norm=True).train(training)
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


@pytest.mark.parametrize("name", CHOOSY)
@pytest.mark.parametrize("norm", [False, True])
def test_refuses_a_network_that_it_does_not_suit(name, norm):
    model = chain(norm=norm)
    before = snapshot(model)
    with pytest.raises(CannotPrune, match=f"score '{name}' needs .*: use another score"):
        SCORES[name](model, batches())
    assert_untouched(model, before)


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_needs_and_refuses_to_go_without(name):
    needs = SCORES.constant(name, "NEEDS")
    assert set(needs) <= {"data", "labels", "gradients", "example"}
    assert SCORES.constant(name, "UNIT") in ("weight", "channel")
    assert SCORES.constant(name, "SUITS") in (None, "normalised")
    model = network(name, norm=True)
    if "data" in needs:
        with pytest.raises(BadInput, match=f"score '{name}' needs data"):
            SCORES[name](model, None)
        with pytest.raises(BadInput, match="data"):
            SCORES[name](model, [])
    elif "example" in needs:
        with pytest.raises(BadInput, match=f"score '{name}' needs an example"):
            SCORES[name](model, None)
        SCORES[name](model, None, example=images(2)[0])
    else:
        SCORES[name](model, None)
    unlabelled = [inputs for inputs, _ in batches()]
    if "labels" in needs:
        with pytest.raises(BadInput, match=f"score '{name}' needs labels"):
            SCORES[name](model, unlabelled)
    else:
        SCORES[name](model, unlabelled)
    if "gradients" in needs:
        model[0].weight.requires_grad_(False)
        with pytest.raises(CannotPrune, match="frozen"):
            SCORES[name](model, batches())


@pytest.mark.parametrize("name", NAMES)
def test_prunes_by_name_and_never_changes_its_input(name):
    model = network(name, norm=True)
    before = snapshot(model)
    unit = SCORES.constant(name, "UNIT")
    for granularity in ("weight", "channel"):
        if granularity == "weight" and unit == "channel":
            with pytest.raises(BadInput, match="judges whole channels"):
                prudent.prune(model, sparsity=0.5, score=name, batches=batches())
            continue
        pruned = prudent.prune(model, sparsity=0.5, score=name, granularity=granularity, batches=batches())
        assert pruned.mask.total - pruned.mask.remaining == count(0.5, pruned.mask.total)
        for weight, kept in pruned.mask.kept.items():
            assert (pruned.model.get_parameter(weight)[~kept] == 0).all()
    assert_untouched(model, before)


@cache
def residual():
    torch.manual_seed(0)
    return resnet_cifar((1, 8, 8), 3, depth=8, width=2, shortcut="B")


@pytest.mark.parametrize("name", NAMES)
def test_prunes_the_channels_of_a_network_that_is_traced(name):
    model, data = residual(), batches(16)
    before = snapshot(model)
    pruned = prudent.prune(
        model, sparsity=0.5, score=name, granularity="channel", example=data.inputs[:4], batches=data
    )
    assert_untouched(model, before)
    assert pruned.mask.total - pruned.mask.remaining == count(0.5, pruned.mask.total)
    small = prudent.shrink(pruned, data.inputs[:4])
    assert not small.kept
    assert torch.allclose(small.model.eval()(data.inputs), pruned.model.eval()(data.inputs), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_names_its_source(name):
    what, source = SCORES.summary(name)
    assert what.endswith(".")
    assert "arXiv" in source
