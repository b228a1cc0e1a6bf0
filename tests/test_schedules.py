"""Schedules that change the mask during training."""

import math

import pytest
import torch
from torch import nn

import prudent
from prudent.batches import Batches
from prudent.errors import BadInput
from prudent.masks import Mask
from prudent.schedules import SCHEDULES
from prudent.scopes import count
from prudent.upkeep import Step
from tests.conftest import assert_untouched, batches, chain, images, snapshot

NAMES = list(SCHEDULES)
OPTIONS = {"gradual": {"every": 1, "end": 0.8}, "rigl": {"every": 2}, "set": {"every": 2}}


def start(sparsity=0.6):
    return prudent.prune(chain(), sparsity=sparsity, score="random", scope="erdos_renyi_kernel")


def run(name, *, seed=0, epochs=3, **options):
    """The trained network and every mask that training went through."""
    first = None if name == "gradual" else start().mask
    schedule = SCHEDULES[name](0.6, seed=seed, **(OPTIONS[name] | options))
    masks = []

    def follow(step):
        revised = schedule(step)
        assert step.index < step.total == epochs * 4
        if revised is not None:
            masks.append((step.index, revised))
        return revised

    model = prudent.train(chain(), batches(), epochs=epochs, lr=0.01, mask=first, on_step=follow, seed=seed)
    return model, first, masks


@pytest.mark.parametrize("name", NAMES)
def test_removed_weights_are_zero_and_the_sparsity_is_the_requested_one(name):
    original = chain()
    before = snapshot(original)
    model, _, masks = run(name)
    last = masks[-1][1]
    assert last.total - last.remaining == count(0.6, last.total)
    for weight, kept in last.kept.items():
        assert (model.get_parameter(weight)[~kept] == 0).all()
        assert (model.get_parameter(weight)[kept] != 0).any()
    assert_untouched(original, before)


def test_the_best_epoch_is_one_of_the_last_mask():
    mask = start(0.5).mask
    history = []
    inputs, labels = images()
    # every label is wrong, so that training makes it worse: without the change the first epoch would be the best
    wrong = Batches(inputs=inputs, labels=(labels + 1) % 3, split="validation")
    model = prudent.train(
        chain(), batches(), epochs=4, lr=0.01, validation=wrong, on_epoch=history.append,
        on_step=lambda step: mask if step.index == 6 else None,
    )  # fmt: skip
    assert min(history, key=lambda e: e.validation_loss).index == 0, "else this shows nothing"
    for name, kept in mask.kept.items():
        assert (model.get_parameter(name)[~kept] == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_masks(name):
    first, second = (run(name)[2] for _ in range(2))
    for (i, a), (j, b) in zip(first, second, strict=True):
        assert i == j
        assert all(torch.equal(a.kept[n], b.kept[n]) for n in a.kept)


def test_gradual_follows_the_cubic_and_never_gives_back():
    _, _, masks = run("gradual", epochs=5, end=0.8, begin=0.2)  # 20 steps: from 4 to 15
    assert masks[0][0] == 4
    assert masks[-1][0] == 15
    for index, mask in masks:
        expected = 0.6 * (1 - (1 - (index - 4) / 11) ** 3)
        assert mask.total - mask.remaining == count(expected, mask.total)
    for (_, loose), (_, tight) in zip(masks, masks[1:], strict=False):
        assert all(not (tight.kept[n] & ~loose.kept[n]).any() for n in tight.kept)


@pytest.mark.parametrize("name", ["rigl", "set"])
def test_every_layer_keeps_its_number(name):
    _, first, masks = run(name, epochs=6)
    changed = 0
    for _, mask in masks:
        assert mask.removed_by_layer == first.removed_by_layer
        changed += any(not torch.equal(mask.kept[n], first.kept[n]) for n in mask.kept)
    assert changed


def one_step(name, *, share, seed=0):
    """One replacement on a layer of six weights with known values and gradients."""
    model = nn.Sequential(nn.Linear(6, 1, bias=False))
    model[0].weight.data = torch.tensor([[0.5, 0.1, 0.9, 0.2, 0.0, 0.0]])
    model[0].weight.grad = torch.tensor([[9.0, 8.0, 7.0, 0.1, 0.3, -0.4]])
    mask = Mask(kept={"0.weight": torch.tensor([[True, True, True, True, False, False]])}, granularity="weight")
    schedule = SCHEDULES[name](1 / 3, fraction=share, every=5, until=1.0, seed=seed)
    return schedule(Step(index=5, total=10**9, model=model, mask=mask)).kept["0.weight"][0].tolist()


def test_rigl_drops_the_smallest_and_grows_the_largest_gradient():
    # one of four goes: weight 1; of those that are left out (1, 4, 5) the largest gradient is weight 1's own
    assert one_step("rigl", share=0.26) == [True, True, True, True, False, False]
    # two go: 1 and 3; of (1, 3, 4, 5) the largest gradients are those of 1 and 5
    assert one_step("rigl", share=0.51) == [True, True, True, False, False, True]


def test_set_drops_the_smallest_and_grows_any_other():
    grown = set()
    for seed in range(60):
        kept = one_step("set", share=0.26, seed=seed)
        assert kept[0]
        assert kept[2]
        assert kept[3]
        assert sum(kept) == 4
        grown |= {i for i in (1, 4, 5) if kept[i]}
    assert grown == {1, 4, 5}


def test_rigl_replaces_less_and_less():
    from prudent.schedules._regrowing import cosine

    assert cosine(0.3, 0, 100) == pytest.approx(0.3)
    assert cosine(0.3, 50, 100) == pytest.approx(0.15)
    assert cosine(0.3, 100, 100) == pytest.approx(0.0)
    assert cosine(0.3, 25, 100) == pytest.approx(0.15 * (1 + math.cos(math.pi / 4)))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_weight_that_comes_back_starts_at_zero_without_momentum(optimizer):
    model = chain()
    everything = prudent.prune(model, sparsity=0.0).mask
    half = prudent.prune(model, sparsity=0.5).mask
    seen = {}

    def come_and_go(step):
        if step.index == 5:
            return half
        if step.index == 9:
            return everything
        if step.index == 10:
            seen.update({n: step.model.get_parameter(n).detach().clone() for n in half.kept})
            seen.update({f"{n}.grad": step.model.get_parameter(n).grad.clone() for n in half.kept})
        return None

    lr = 0.01
    prudent.train(model, batches(), epochs=3, lr=lr, optimizer=optimizer, on_step=come_and_go)
    for name, kept in half.kept.items():
        value, gradient = seen[name][~kept], seen[f"{name}.grad"][~kept]
        # sgd with an empty momentum: Nesterov's first step is lr * (1 + momentum) * gradient
        if optimizer == "sgd":
            torch.testing.assert_close(value, -lr * 1.9 * gradient)
        else:  # adam's averages start anew, too; its step counts are the whole tensor's
            assert (value.abs() <= lr * 1.01).all()


@pytest.mark.parametrize("name", ["rigl", "set"])
def test_dropping_needs_a_mask_to_start_from(name):
    with pytest.raises(BadInput, match="needs a mask of single weights"):
        prudent.train(chain(), batches(), epochs=1, lr=0.01, on_step=SCHEDULES[name](0.5))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gradual", {"begin": 0.5, "end": 0.5}, "begin < end"),
        ("gradual", {"every": 0}, "1 or more"),
        ("rigl", {"fraction": 1.0}, r"in \(0, 1\)"),
        ("set", {"every": 0}, "1 or more"),
        ("rigl", {"until": 0.0}, r"in \(0, 1\]"),
    ],
)
def test_options_out_of_range(name, options, message):
    with pytest.raises(BadInput, match=message):
        SCHEDULES[name](0.5, **options)


@pytest.mark.parametrize("name", NAMES)
def test_names_its_source(name):
    what, source = SCHEDULES.summary(name)
    assert what.endswith(".")
    assert "arXiv" in source
