"""Channels that a mask of single weights has killed."""

import copy

import pytest
import torch
from torch import nn

from prudent.errors import CannotPrune
from prudent.granularities import removed_elements, zero
from prudent.masks import Mask
from prudent.pruning import Pruned, prune
from prudent.surgery.shrinking import shrink
from tests.conftest import assert_untouched, snapshot


def weights(*layers, **dead):
    """A network of these layers with random statistics, and its mask: `dead` maps a layer to the hole in its mask."""
    torch.manual_seed(3)
    model = nn.Sequential(*layers).eval()
    kept = {}
    with torch.no_grad():
        for name, module in model.named_children():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                kept[f"{name}.weight"] = torch.ones_like(module.weight, dtype=torch.bool)
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.bias.normal_()
    for name, hole in dead.items():
        kept[f"{name.removeprefix('l')}.weight"][hole] = False
    mask = Mask(kept=kept, granularity="weight")
    zero(model, removed_elements(model, mask))
    return Pruned(model=model, mask=mask, score="given", scope="given", requested=mask.sparsity)


def assert_same(small, model, *shape):
    x = torch.randn(5, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        expected, got = copy.deepcopy(model).double()(x), copy.deepcopy(small).double().eval()(x)
    # constants were folded in float64 and then rounded once to float32
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)


def dead_of(small):
    return {name: (~kept).nonzero().flatten().tolist() for name, kept in small.mask.kept.items()}


def mlp(**dead):
    return weights(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.Sigmoid(), nn.Linear(5, 3), **dead)


ROW, COLUMN = (2,), (slice(None), 1)


@pytest.mark.parametrize(
    ("pruned", "expected"),
    [
        (mlp(l0=ROW), {"0.weight": [2]}),  # says relu(its bias) for ever
        (mlp(l2=ROW), {"2.weight": [2]}),  # says sigmoid(its bias) for ever
        (mlp(l2=COLUMN), {"0.weight": [1]}),  # nobody listens
        (mlp(l4=COLUMN), {"2.weight": [1]}),
        (mlp(l0=ROW, l4=COLUMN), {"0.weight": [2], "2.weight": [1]}),
    ],
)
def test_dead_units_of_a_perceptron(pruned, expected):
    example = torch.rand(3, 4)
    before = snapshot(pruned.model)
    small = shrink(pruned, example)
    assert_untouched(pruned.model, before)
    assert dead_of(small) == expected
    assert_same(small.model, pruned.model, 4)
    assert small.params < sum(p.numel() for p in pruned.model.parameters())


def test_death_spreads():
    # the only weights that unit 0 of the second layer reads come from a unit of the first that always says the same
    pruned = mlp(l0=ROW)
    kept = {name: bits.clone() for name, bits in pruned.mask.kept.items()}
    kept["2.weight"][0] = False
    kept["2.weight"][0, 2] = True
    mask = Mask(kept=kept, granularity="weight")
    zero(pruned.model, removed_elements(pruned.model, mask))
    small = shrink(Pruned(model=pruned.model, mask=mask, score="given", scope="given", requested=0.1), torch.rand(3, 4))
    assert dead_of(small) == {"0.weight": [2], "2.weight": [0]}
    assert_same(small.model, pruned.model, 4)


def test_a_bias_is_made_where_there_is_none():
    pruned = weights(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 3, bias=False), l0=ROW)
    small = shrink(pruned, torch.rand(3, 4))
    assert small.model[2].bias is not None
    assert_same(small.model, pruned.model, 4)


def convolutional(padding, **dead):
    return weights(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Softplus(), nn.Conv2d(6, 4, 3, padding=padding), nn.ReLU(),
        nn.Flatten(), nn.Linear(4 * (4 + 2 * padding) ** 2, 3), **dead,
    )  # fmt: skip


def test_a_constant_goes_through_normalisation_into_the_next_convolution():
    pruned = convolutional(0, l0=ROW)
    small = shrink(pruned, torch.rand(2, 1, 8, 8))
    assert dead_of(small) == {"0.weight": [2]}
    assert_same(small.model, pruned.model, 1, 8, 8)


def test_at_padded_borders_a_constant_is_none():
    with pytest.raises(CannotPrune, match="made no channel dead"):
        shrink(convolutional(1, l0=ROW), torch.rand(2, 1, 8, 8))
    # a constant of zero has no borders
    silent = convolutional(1, l0=ROW)
    silent.model[2] = nn.ReLU()
    silent.model[1].bias.data[2] = -100.0
    small = shrink(silent, torch.rand(2, 1, 8, 8))
    assert dead_of(small) == {"0.weight": [2]}
    assert_same(small.model, silent.model, 1, 8, 8)


def test_a_unit_that_only_seems_dead_on_the_example_stays():
    pruned = mlp(l2=(0, 0))
    pruned.model[0].bias.data[3] = -5.0  # relu(w x - 5) is zero on small inputs, and not on large ones
    with pytest.raises(CannotPrune, match="made no channel dead"):
        shrink(pruned, torch.zeros(3, 4))


def perceptron():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(49, 40), nn.ReLU(), nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 4))


def test_of_a_network_that_says_always_the_same_nothing_can_be_proved():
    with pytest.raises(CannotPrune, match="answers the same for all inputs"):
        shrink(prune(perceptron(), sparsity=0.98), torch.rand(3, 1, 7, 7))


def test_of_a_very_sparse_network_most_goes():
    model = perceptron()
    pruned = prune(model, sparsity=0.95)
    small = shrink(pruned, torch.rand(3, 1, 7, 7))
    assert_same(small.model, pruned.model.eval(), 1, 7, 7)
    for layer, reader in ((1, 3), (3, 5)):  # by definition: rows that are not zero and are read
        made = pruned.model[layer].weight.abs().amax(1) > 0
        read = pruned.model[reader].weight.abs().amax(0) > 0
        assert small.model[layer].out_features <= int((made & read).sum())
    assert small.model[1].out_features < 40
