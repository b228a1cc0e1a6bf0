"""Controls: each differs from the method in one thing, and in nothing else."""

import pytest
import torch
from torch import nn

import prudent
from prudent.building import build
from prudent.errors import BadInput, CannotPrune
from prudent.models.small_cnn import small_cnn
from prudent.network import fingerprint, prunable, seeded
from prudent.pruning import prune
from prudent.seeds import stream
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


class Constant(nn.Module):
    """An architecture whose own initial weights are nothing that torch's default would draw."""

    def __init__(self, width: int = 5) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, width), nn.Linear(width, 3)
        self.scale = nn.Parameter(torch.ones(3))
        for layer in (self.a, self.b):
            nn.init.normal_(layer.weight, 10.0, 0.1)

    def forward(self, x):
        return self.b(torch.relu(self.a(x))) * self.scale


def test_reinit_draws_what_build_draws():
    model = Constant()
    before = snapshot(model)
    own = prudent.prune(model, sparsity=0.5)
    fresh, again, other = (
        prudent.prune(model, sparsity=0.5, control="reinit", build=Constant, seed=seed) for seed in (3, 3, 4)
    )
    assert_untouched(model, before)
    with seeded(stream("fresh weights", 3)):
        expected = Constant()
    for name, kept in own.mask.kept.items():
        assert torch.equal(fresh.mask.kept[name], kept)
        weight = fresh.model.get_parameter(name)
        assert torch.equal(weight, torch.where(kept, expected.get_parameter(name), 0.0))
        assert (weight[kept] > 9).all()
        assert torch.equal(weight, again.model.get_parameter(name))
        assert not torch.equal(weight, other.model.get_parameter(name))


def test_reinit_with_build_is_the_control_of_a_study():
    options = {"widths": [2, 3, 4], "hidden": 5}
    dense = build("small_cnn", (1, 8, 8), 3, seed=0, options=options)
    fresh = prudent.prune(
        dense, sparsity=0.0, control="reinit", seed=7, build=lambda: small_cnn((1, 8, 8), 3, **options)
    )
    study = build("small_cnn", (1, 8, 8), 3, seed=stream("fresh weights", 7), options=options)
    assert fingerprint(fresh.model) == fingerprint(study)
    assert fingerprint(fresh.model) != fingerprint(dense)


def test_build_is_refused_where_it_does_not_fit():
    with pytest.raises(BadInput, match=r"'a.bias' has shape \(5,\) there and \(6,\) in what it made"):
        prudent.prune(Constant(), sparsity=0.5, control="reinit", build=lambda: Constant(6))
    with pytest.raises(BadInput, match="leave it out, or ask for that control"):
        prudent.prune(Constant(), sparsity=0.5, control="random", build=Constant)
    with pytest.raises(CannotPrune, match="pass build="):
        prudent.prune(Constant(), sparsity=0.5, control="reinit")
