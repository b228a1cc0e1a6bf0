"""Selection against sorting, with ties, and exact counts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prudent.errors import BadInput, UnknownName
from prudent.granularities import removed_elements, unit_scores, zero
from prudent.masks import Mask, select
from prudent.network import prunable
from prudent.scopes import count
from prudent.scores.magnitude import magnitude
from prudent.scores.random import random
from prudent.units import Units
from tests.conftest import chain


def by_sorting(scores, removed, within=None):
    """Remove the `removed` lowest, equal ones in order of layers and elements: the definition, by a stable sort."""
    flat = np.concatenate([s.numpy().ravel() for s in scores.values()])
    dead = (
        np.zeros(len(flat), bool)
        if within is None
        else ~np.concatenate([k.numpy().ravel() for k in within.kept.values()])
    )
    order = sorted(range(len(flat)), key=lambda i: (not dead[i], flat[i], i))
    keep = np.ones(len(flat), bool)
    keep[order[:removed]] = False
    return keep


def flat_of(mask):
    return np.concatenate([k.numpy().ravel() for k in mask.kept.values()])


layers = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=12), min_size=1, max_size=4)


@settings(max_examples=150, deadline=None)
@given(layers, st.floats(0, 0.99))
def test_global_selection_is_sorting_with_ties_in_order(values, sparsity):
    scores = {str(i): torch.tensor(v, dtype=torch.float32) for i, v in enumerate(values)}
    total = sum(len(v) for v in values)
    try:
        removed = count(sparsity, total)
    except BadInput:
        return  # nothing would be left
    mask = select(scores, sparsity)
    np.testing.assert_array_equal(flat_of(mask), by_sorting(scores, removed))
    assert mask.remaining == total - removed


@settings(max_examples=100, deadline=None)
@given(layers, st.data())
def test_growing_masks_stay_nested(values, data):
    scores = {str(i): torch.tensor(v, dtype=torch.float32) for i, v in enumerate(values)}
    total = sum(len(v) for v in values)
    first = data.draw(st.integers(0, total - 1))
    second = data.draw(st.integers(first, total - 1))
    shuffled = {k: v.flip(0) for k, v in scores.items()}
    start = select(shuffled, first / total)
    mask = select(scores, second / total, within=start)
    np.testing.assert_array_equal(flat_of(mask), by_sorting(scores, second, within=start))
    assert not (flat_of(mask) & ~flat_of(start)).any()


def test_layer_scope_removes_the_same_fraction_everywhere():
    scores = magnitude(chain())
    mask = select(scores, 0.5, scope="layer")
    assert mask.removed_by_layer == {k: count(0.5, v.numel()) for k, v in scores.items()}
    for name, score in scores.items():
        alone = select({name: score}, 0.5)
        assert torch.equal(mask.kept[name], alone.kept[name])


@pytest.mark.parametrize(
    ("sparsity", "units", "removed"),
    [(0.2, 100, 20), (0.29, 100, 29), (0.145, 100, 15), (0.35, 10, 4), (0.0, 7, 0), (0.999, 1000, 999), (0.5, 3, 2)],
)
def test_counts_are_exact(sparsity, units, removed):
    assert count(sparsity, units) == removed
    mask = select({"w": torch.zeros(units)}, sparsity)
    assert mask.total - mask.remaining == removed


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_memory_layout_does_not_matter(scope):
    scores = {"a": torch.randint(0, 3, (4, 3, 2, 2)).float(), "b": torch.randint(0, 3, (6, 5)).float()}
    other = {"a": scores["a"].to(memory_format=torch.channels_last), "b": scores["b"].t().contiguous().t()}
    assert not other["a"].is_contiguous()
    assert not other["b"].is_contiguous()
    first, second = select(scores, 0.5, scope=scope), select(other, 0.5, scope=scope)
    assert first.remaining == second.remaining == first.total - sum(first.removed_by_layer.values())
    assert all(torch.equal(first.kept[n], second.kept[n]) for n in scores)


def test_all_equal_scores_remove_the_first():
    mask = select({"a": torch.ones(3), "b": torch.ones(2)}, 0.6)
    assert flat_of(mask).tolist() == [False, False, False, True, True]
    assert mask.collapsed == ("a",)


def test_like_copies_the_counts_of_each_layer():
    model = chain()
    reference = select(magnitude(model), 0.8)
    control = select(random(model, seed=1), 0.8, like=reference)
    assert control.removed_by_layer == reference.removed_by_layer
    assert not np.array_equal(flat_of(control), flat_of(reference))
    assert control.sparsity == reference.sparsity


def test_random_masks_of_one_seed_are_nested():
    model = chain()
    masks = [select(random(model, seed=3), s, like=select(magnitude(model), s)) for s in (0.3, 0.6, 0.9)]
    for loose, tight in zip(masks, masks[1:], strict=False):
        assert not (flat_of(tight) & ~flat_of(loose)).any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions(dtype):
    score = torch.arange(10, dtype=dtype)
    assert select({"w": score}, 0.3).kept["w"].tolist() == [False] * 3 + [True] * 7


@pytest.mark.parametrize(
    ("scores", "sparsity", "message"),
    [
        ({"w": torch.ones(4)}, 1.0, r"in \[0, 1\); got 1.0"),
        ({"w": torch.ones(4)}, -0.1, r"in \[0, 1\)"),
        ({"w": torch.ones(4)}, float("nan"), r"in \[0, 1\)"),
        ({"w": torch.ones(4)}, 0.95, "leaves none; at most 3 can be removed"),
        ({"w": torch.tensor([1.0, float("nan"), 2.0])}, 0.4, "finite"),
        ({"w": torch.tensor([1.0, float("inf"), 2.0])}, 0.4, "finite"),
        ({"w": torch.tensor([1.0, -float("inf"), 2.0])}, 0.0, "finite"),
    ],
)
def test_refusals(scores, sparsity, message):
    with pytest.raises(BadInput, match=message):
        select(scores, sparsity)


def test_masks_that_do_not_fit_are_refused():
    scores = {"w": torch.ones(10)}
    with pytest.raises(BadInput, match="does not fit"):
        select(scores, 0.5, within=Mask(kept={"v": torch.ones(10, dtype=torch.bool)}, granularity="weight"))
    half = select(scores, 0.5)
    with pytest.raises(BadInput, match="already removed 2 more"):
        select(scores, 0.3, within=half)
    with pytest.raises(BadInput, match="no prunable weight 'w'"):
        removed_elements(chain(), half)
    with pytest.raises(BadInput, match=r"'0.weight' has shape \(4, 1, 3, 3\), the mask \(10,\)"):
        removed_elements(chain(), Mask(kept={"0.weight": half.kept["w"]}, granularity="weight"))
    with pytest.raises(UnknownName, match="Did you mean 'global'"):
        from prudent.scopes import Scope, check_choice

        check_choice("scope", "globl", Scope)


def test_channel_scores_are_l1_norms():
    model = chain()
    units = unit_scores(model, magnitude(model), Units(granularity="channel"), scope="layer")
    assert list(units) == ["0.weight", "3.weight", "8.weight"]  # not the layer that makes the classes
    for name, value in units.items():
        weight = prunable(model)[name]
        expected = [sum(abs(v) for v in weight[c].flatten().tolist()) for c in range(len(weight))]
        assert value.tolist() == pytest.approx(expected, rel=1e-5)
    even = unit_scores(model, magnitude(model), Units(granularity="channel"), scope="global")
    assert all(v.mean().item() == pytest.approx(1) for v in even.values())


def test_zero_survives_nan_and_touches_nothing_else():
    model = chain()
    with torch.no_grad():
        model[0].weight.fill_(float("nan"))
    mask = select({k: torch.rand(v.shape) for k, v in prunable(model).items()}, 0.5)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    zero(model, removed_elements(model, mask))
    for name, kept in mask.kept.items():
        now = model.get_parameter(name)
        assert (now[~kept] == 0).all()
        assert torch.equal(now[kept].nan_to_num(7), before[name][kept].nan_to_num(7))
    assert torch.equal(model[0].bias, before["0.bias"])


def test_a_silent_channel_outputs_zero():
    model = chain(norm=True).eval()
    scores = unit_scores(model, magnitude(model), Units(granularity="channel"), scope="layer")
    mask = select(scores, 0.5, scope="layer", granularity="channel")
    zero(model, removed_elements(model, mask))
    x = torch.rand(3, 1, 8, 8)
    after_first, after_norm, after_fc = model[:2](x), model[:6](x), model[:10](x)
    assert (after_first[:, ~mask.kept["0.weight"]] == 0).all()
    assert (after_norm[:, ~mask.kept["3.weight"]] == 0).all()
    assert (after_fc[:, ~mask.kept["8.weight"]] == 0).all()
    assert (after_norm[:, mask.kept["3.weight"]] != 0).any()


def test_masks_cannot_be_changed():
    mask = select({"w": torch.ones(4)}, 0.5)
    with pytest.raises(TypeError):
        mask.kept["w"] = torch.ones(4)
    assert mask.sparsity == 0.5


def test_what_the_caller_does_with_its_tensors_later_changes_nothing():
    kept = torch.tensor([True, False])
    mask = Mask(kept={"w": kept}, granularity="channel")
    kept[:] = False
    assert mask.remaining == 1


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("sparsity", [0.0, 0.25, 0.5, 0.75])
def test_a_layer_alone_whose_rows_keep_equally_many_loses_what_is_asked(scope, sparsity):
    scores = {"a": torch.rand(3, 4, generator=torch.Generator().manual_seed(0))}
    mask = select(scores, sparsity, granularity="channel", scope=scope)
    assert mask.kept["a"].sum(1).tolist() == [4 - round(4 * sparsity)] * 3
    for row, kept in zip(scores["a"], mask.kept["a"], strict=True):
        assert row[kept].min() > row[~kept].max() if sparsity > 0 else kept.all()
