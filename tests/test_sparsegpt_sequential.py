"""SparseGPT layer after layer against a solve by brute force, in which the definition is written out as loops."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import prudent
from prudent.errors import BadInput
from prudent.masks import count
from prudent.network import prunable
from prudent.scores.sparsegpt import sparsegpt
from tests.conftest import assert_untouched, batches, chain, images, snapshot
from tests.test_sparsegpt import adaptive_by_loop, by_inversion

DAMPING = 0.02


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()


def inputs(n=40):
    generator = torch.Generator().manual_seed(1)
    common = torch.randn(n, 1, dtype=torch.float64, generator=generator)
    return torch.randn(n, 6, dtype=torch.float64, generator=generator) + 2 * common


def in_sequence(model, x, solve):
    """Weight by weight: (weight, its damped second moment) -> new weight, then its answer goes into the next layer."""
    new = {}
    for name, layer in model.named_children():
        if isinstance(layer, nn.Linear):
            moment = x.T @ x / len(x)
            hessian = moment + DAMPING * moment.diagonal().mean() * torch.eye(len(moment), dtype=x.dtype)
            new[f"{name}.weight"] = solve(f"{name}.weight", layer.weight.detach(), hessian)
            x = x @ new[f"{name}.weight"].T + layer.bias.detach()
        else:
            x = layer(x)
    return new


@pytest.mark.parametrize("block", [2, 128])
@pytest.mark.parametrize("sparsity", [0.3, 0.6])
def test_masks_and_weights_are_those_of_a_sequential_solve(sparsity, block):
    model, x = mlp(), inputs()
    kept = {}

    def solve(name, weight, hessian):
        kept[name], new = adaptive_by_loop(weight, hessian, sparsity, block)
        return new

    expected = in_sequence(model, x, solve)
    options = {"sequential": True, "block": block, "damping": DAMPING}
    data = [x[:25], x[25:]]
    pruned = prudent.prune(model, sparsity=sparsity, score="sparsegpt", options=options, scope="layer", batches=data)
    for name, weight in expected.items():
        assert torch.equal(pruned.mask.kept[name], kept[name])
        assert torch.allclose(pruned.model.get_parameter(name), weight, atol=1e-9)


def test_weights_of_any_mask_are_those_of_a_sequential_solve():
    model, x = mlp(), inputs()
    generator = torch.Generator().manual_seed(3)
    kept = {name: torch.rand(weight.shape, generator=generator) < 0.5 for name, weight in prunable(model).items()}

    def solve(name, weight, hessian):
        return torch.stack([by_inversion(w, hessian, k) for w, k in zip(weight, kept[name], strict=True)])

    expected = in_sequence(model, x, solve)
    sequential = sparsegpt(model, [x], damping=DAMPING, sequential=True)
    at_once = sparsegpt(model, [x], damping=DAMPING).weights(kept)
    for _ in range(2):  # asking for weights leaves nothing behind
        new = sequential.weights(kept)
        assert all(torch.allclose(new[name], expected[name], atol=1e-9) for name in expected)
    # the first layer reads the data in both; what is behind it differs
    assert torch.allclose(new["0.weight"], at_once["0.weight"], atol=1e-12)
    assert not torch.allclose(new["2.weight"], at_once["2.weight"], atol=1e-3)


def test_convolutions_in_sequence():
    """Each layer is solved as in a network whose earlier layers were replaced by hand."""
    model, data = chain(norm=True).double(), [images()[0].double()]
    sequential = sparsegpt(model, data, sparsity=0.5, sequential=True)
    byhand = copy.deepcopy(model)
    for name, weight in prunable(byhand).items():
        step = sparsegpt(byhand, data, sparsity=0.5)
        assert torch.allclose(step[name], sequential[name], atol=1e-6)
        assert int((sequential[name] < 0.5).sum()) == count(0.5, weight.numel())
        with torch.no_grad():
            weight.copy_(step.weights({n: s >= 0.5 for n, s in step.items()})[name])
    new = sequential.weights({name: score >= 0.5 for name, score in sequential.items()})
    for name, weight in prunable(byhand).items():
        assert torch.allclose(new[name], weight, atol=1e-9)


class Backwards(nn.Module):
    """Its layers are declared in one order and run in the other; one never runs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.last, self.unused, self.first = nn.Linear(5, 3), nn.Linear(2, 2), nn.Linear(6, 5)
        self.double()

    def forward(self, x):
        return self.last(self.first(x).relu())


def test_the_order_is_the_one_in_which_layers_run():
    model, x = Backwards(), inputs()
    straight = nn.Sequential(model.first, nn.ReLU(), model.last)
    ours, expected = (sparsegpt(m, [x], sparsity=0.4, sequential=True) for m in (model, straight))
    assert list(ours) == ["last.weight", "unused.weight", "first.weight"]
    assert torch.equal(ours["last.weight"], expected["2.weight"])
    assert torch.equal(ours["first.weight"], expected["0.weight"])
    kept = {name: score >= 0.5 for name, score in ours.items()}
    assert torch.equal(ours.weights(kept)["unused.weight"] * kept["unused.weight"],
                       model.unused.weight * kept["unused.weight"])  # fmt: skip


def test_a_shared_weight_is_solved_once_on_what_both_read_at_first():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 4, bias=False)).double()
    model[2].weight = model[0].weight
    x = torch.randn(20, 4, dtype=torch.float64)
    ours, expected = (sparsegpt(model, [x], sequential=s) for s in (True, False))
    assert torch.equal(ours["0.weight"], expected["0.weight"])


def test_it_composes_with_patterns_and_leaves_the_network_alone():
    model = chain()
    model.train()
    before = snapshot(model)
    options = {"sequential": True}
    layers = ["3", "8"]
    pruned = prudent.prune(
        model, score="sparsegpt", options=options, granularity="n:m", pattern=(2, 4), layers=layers, batches=batches()
    )
    assert_untouched(model, before)
    for name, kept in pruned.mask.kept.items():
        assert (kept.movedim(1, -1).reshape(-1, 4).sum(1) == 2).all()
        assert not torch.equal(pruned.model.get_parameter(name)[kept], model.get_parameter(name)[kept])
    assert torch.equal(pruned.model[0].weight, model[0].weight), "a layer that is not pruned stays as it is"


def test_later_changes_of_the_callers_network_do_not_count():
    model, x = mlp(), inputs()
    scores = sparsegpt(model, [x], sequential=True)
    kept = {name: score >= 0.5 for name, score in scores.items()}
    expected = scores.weights(kept)
    with torch.no_grad():
        model[0].weight.zero_()
    assert all(torch.equal(w, expected[name]) for name, w in scores.weights(kept).items())


def test_a_shuffling_loader_gives_the_same_twice_and_keeps_the_random_state():
    model = chain()
    loader = DataLoader(TensorDataset(*images()), batch_size=16, shuffle=True)
    before = snapshot(model)
    first, second = (sparsegpt(model, loader, sequential=True) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert_untouched(model, before)


def test_refusals():
    model, x = mlp(), inputs()
    with pytest.raises(BadInput, match="read more than once"):
        sparsegpt(model, iter([x]), sequential=True)
    with pytest.raises(BadInput, match="the batches were empty"):
        sparsegpt(model, [], sequential=True)
    with pytest.raises(BadInput, match="needs data"):
        sparsegpt(model, None, sequential=True)
