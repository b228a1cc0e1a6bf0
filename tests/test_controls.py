"""Controls: each differs from the method in one thing, and in nothing else."""

import pytest
import torch
from torch import nn

import prudent
from prudent.errors import CannotPrune
from prudent.network import prunable
from prudent.pruning import prune
from tests.conftest import assert_untouched, chain, snapshot

KINDS = [("weight", {}), ("block", {"block": (2, 1)}), ("channel", {}), ("n:m", {"pattern": (1, 2)})]


def model_of():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4))


@pytest.mark.parametrize(("granularity", "more"), KINDS)
@pytest.mark.parametrize("control", ["random", "shuffled"])
def test_other_units_as_many_in_each_layer(granularity, more, control):
    model = model_of()
    amount = {} if granularity == "n:m" else {"sparsity": 0.5}
    own = prudent.prune(model, granularity=granularity, **amount, **more)
    if (granularity, control) == ("n:m", "shuffled"):
        with pytest.raises(CannotPrune, match="random"):
            prudent.prune(model, granularity=granularity, control=control, **amount, **more)
        return
    before = snapshot(model)
    other = prudent.prune(model, granularity=granularity, control=control, seed=1, **amount, **more)
    again = prudent.prune(model, granularity=granularity, control=control, seed=1, **amount, **more)
    third = prudent.prune(model, granularity=granularity, control=control, seed=2, **amount, **more)
    assert_untouched(model, before)
    assert other.mask.removed_by_layer == own.mask.removed_by_layer
    same = {n: torch.equal(other.mask.kept[n], own.mask.kept[n]) for n in own.mask.kept}
    assert not all(same.values())
    assert all(torch.equal(other.mask.kept[n], again.mask.kept[n]) for n in own.mask.kept)
    assert not all(torch.equal(other.mask.kept[n], third.mask.kept[n]) for n in own.mask.kept)
    if granularity == "n:m":
        for kept in other.mask.kept.values():
            assert (kept.reshape(-1, 2).sum(1) == 1).all()


def test_inverted_removes_what_the_method_values_most():
    model = model_of()
    pruned = prudent.prune(model, sparsity=0.3, control="inverted")
    kept = torch.cat([w[pruned.mask.kept[n]].abs() for n, w in prunable(model).items()])
    gone = torch.cat([w[~pruned.mask.kept[n]].abs() for n, w in prunable(model).items()])
    assert kept.max() <= gone.min()


def test_reinit_keeps_the_mask_and_draws_new_weights():
    model = chain(norm=True)
    before = snapshot(model)
    own = prudent.prune(model, sparsity=0.5)
    fresh = prudent.prune(model, sparsity=0.5, control="reinit", seed=3)
    assert_untouched(model, before)
    for name, kept in own.mask.kept.items():
        assert torch.equal(fresh.mask.kept[name], kept)
        weight = fresh.model.get_parameter(name)
        assert (weight[~kept] == 0).all()
        assert not (weight[kept] == model.get_parameter(name)[kept]).any()
    assert torch.equal(fresh.model[4].running_mean, torch.zeros(6)), "statistics start anew too"
    again = prudent.prune(model, sparsity=0.5, control="reinit", seed=3)
    assert all(torch.equal(a, b) for a, b in zip(fresh.model.parameters(), again.model.parameters(), strict=True))


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.scale = nn.Parameter(torch.ones(2))

    def forward(self, x):
        return self.layer(x) * self.scale


def test_reinit_refuses_a_module_that_cannot_draw_its_weights():
    with pytest.raises(CannotPrune, match="reset_parameters"):
        prudent.prune(Scaled(), sparsity=0.5, control="reinit")


@pytest.mark.parametrize("control", ["random", "shuffled"])
@pytest.mark.parametrize("granularity", ["weight", "channel"])
def test_controls_bring_nothing_back(control, granularity):
    first = prune(chain(), sparsity=0.4, granularity=granularity, scope="layer")
    second = prune(
        first.model, sparsity=0.7, granularity=granularity, scope="layer", within=first.mask, control=control
    )
    plain = prune(first.model, sparsity=0.7, granularity=granularity, scope="layer", within=first.mask)
    assert second.mask.removed_by_layer == plain.mask.removed_by_layer
    for name, kept in second.mask.kept.items():
        assert not (kept & ~first.mask.kept[name]).any()
