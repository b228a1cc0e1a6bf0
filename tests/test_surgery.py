"""Smaller networks that compute what the masked ones compute."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from prudent.errors import BadInput, CannotPrune
from prudent.masks import Mask, select
from prudent.network import macs, parameters
from prudent.pruning import prune
from prudent.surgery.chain import links
from prudent.surgery.cutting import plan_of
from prudent.surgery.plans import apply_plan, expand
from prudent.surgery.proving import prove
from prudent.surgery.shrinking import shrink
from prudent.training import train
from tests.conftest import assert_untouched, batches, chain, images, snapshot


def variants():
    torch.manual_seed(1)
    yield "chain", chain(), (1, 8, 8)
    yield "batch norm", chain(norm=True), (1, 8, 8)
    yield "mlp", nn.Sequential(nn.Linear(5, 9), nn.Tanh(), nn.Linear(9, 7), nn.GELU(), nn.Linear(7, 3)), (5,)
    first = nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU())
    second = nn.Sequential(nn.Conv2d(6, 4, 1, bias=False), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    yield "nested", nn.Sequential(first, second, nn.Linear(16, 3)), (2, 9, 9)
    one = nn.Conv1d(2, 6, 3, stride=2)
    yield (
        "1d",
        nn.Sequential(one, nn.BatchNorm1d(6), nn.SiLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(24, 3)),
        (2, 18),
    )
    padded, dilated = (
        nn.Conv2d(1, 5, 3, padding=2, padding_mode="circular"),
        nn.Conv2d(5, 4, 3, dilation=2, padding="same"),
    )
    layers = (padded, nn.LeakyReLU(), dilated, nn.Hardswish(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(100, 2))
    yield "padding", nn.Sequential(*layers), (1, 8, 8)


CASES = list(variants())


@pytest.mark.parametrize(("name", "model", "shape"), CASES, ids=[c[0] for c in CASES])
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_cut_and_masked_compute_the_same(name, model, shape, sparsity, scope):
    model = copy.deepcopy(model)
    example = torch.rand(3, *shape)
    pruned = prune(model, sparsity=sparsity, granularity="channel", scope=scope)
    if pruned.mask.collapsed:
        pytest.skip("global scope removed a whole layer")
    before = snapshot(pruned.model)
    small = shrink(pruned, example)
    assert_untouched(pruned.model, before)
    assert small.proof.difference <= 1e-12
    assert small.proof.inputs == 12  # three given, and at least eight random ones in batches of three
    expected, got = pruned.model.eval()(example), small.model.eval()(example)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
    assert (small.params, small.macs) == (parameters(small.model), macs(small.model, example[:1]))
    if sparsity:
        assert small.params < parameters(model)
        assert small.macs < macs(model, example[:1])


def test_sizes_counted_by_hand():
    small = shrink(prune(chain(), sparsity=0.5, granularity="channel", scope="layer"), images(2)[0])
    # 4, 6 and 10 channels become 2, 3 and 5
    assert small.params == (2 * 9 + 2) + (3 * 2 * 9 + 3) + (5 * 12 + 5) + (3 * 5 + 3)
    assert small.macs == 2 * 9 * 64 + 3 * 2 * 9 * 16 + 60 + 15
    assert (small.model[3].in_channels, small.model[3].out_channels, small.model[8].in_features) == (2, 3, 12)
    assert small.sparsity == 0.5


def test_the_network_can_be_trained_on_and_put_back():
    model = chain(norm=True)
    pruned = prune(model, sparsity=0.5, granularity="channel", scope="layer")
    small = shrink(pruned, images(2)[0])
    tuned = train(small.model, batches(), epochs=2, lr=0.01)
    large = expand(tuned, model, small.plan)
    x = images(20, seed=5)[0]
    with torch.no_grad():
        torch.testing.assert_close(large.eval()(x), tuned.eval()(x), rtol=1e-5, atol=1e-6)
    again = apply_plan(large, small.plan)
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), tuned.state_dict().values(), strict=True))


def test_a_network_that_answers_pictures_is_cut_too():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    small = shrink(prune(model, sparsity=0.5, granularity="channel", scope="layer"), torch.rand(2, 3, 8, 8))
    assert small.params == (4 * 3 * 9 + 4) + (2 * 4 + 2)


def test_frozen_parameters_stay_frozen_and_modes_stay():
    model = chain(norm=True).eval()
    model[3].weight.requires_grad_(False)
    small = shrink(prune(model, sparsity=0.5, granularity="channel", scope="layer"), images(2)[0]).model
    assert not small[3].weight.requires_grad
    assert small[0].weight.requires_grad
    assert not any(m.training for m in small.modules())


def test_single_weights_leave_no_smaller_network():
    with pytest.raises(CannotPrune, match="granularity='channel'"):
        shrink(prune(chain(), sparsity=0.5), images(2)[0])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 2)), "'1' \\(Sigmoid\\) is not known to keep"),
        (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2)), "LayerNorm"),
        (nn.Sequential(nn.Conv2d(4, 4, 1, groups=2), nn.Conv2d(4, 2, 1)), "'0' is a grouped convolution"),
        (nn.Sequential(nn.Linear(4, 2)), "fewer than two"),
        (
            nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, affine=False), nn.Linear(4, 2)),
            "no weights that could silence",
        ),
        (nn.Sequential(nn.Linear(4, 4), nn.Linear(6, 2)), "no multiple"),
    ],
)
def test_what_is_not_plain_is_refused_with_the_module(model, message):
    with pytest.raises(CannotPrune, match=message):
        links(model)


def test_a_shared_layer_is_refused():
    shared = nn.Linear(4, 4)
    with pytest.raises(CannotPrune, match="used twice"):
        links(nn.Sequential(shared, nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), shared))
    tied = nn.Linear(4, 4)
    tied.weight = shared.weight
    with pytest.raises(CannotPrune, match="weights of module '2' are used twice"):
        links(nn.Sequential(shared, nn.ReLU(), tied))


def test_a_shared_activation_is_fine():
    relu = nn.ReLU()
    model = nn.Sequential(nn.Linear(4, 6), relu, nn.Linear(6, 5), relu, nn.Linear(5, 2))
    small = shrink(prune(model, sparsity=0.5, granularity="channel", scope="layer"), torch.rand(3, 4))
    assert small.params == 4 * 3 + 3 + 3 * 2 + 2 + 2 * 2 + 2


def test_the_proof_finds_a_wrong_cut():
    pruned = prune(chain(), sparsity=0.5, granularity="channel", scope="layer")
    wrong = replace(pruned.mask, kept={name: torch.roll(kept, 1) for name, kept in pruned.mask.kept.items()})
    with pytest.raises(CannotPrune, match="differs from the masked one by"):
        prove(pruned.model, apply_plan(pruned.model, plan_of(pruned.model, wrong)), images(3)[0])


def test_the_proof_finds_a_module_that_mixes_channels():
    class Mixing(nn.ReLU):  # passes for a ReLU, and is none
        def forward(self, x):
            return torch.relu(x + 0.1 * x.mean(dim=1, keepdim=True))

    model = nn.Sequential(nn.Linear(4, 6), Mixing(), nn.Linear(6, 2))
    with pytest.raises(CannotPrune, match="nothing was cut"):
        shrink(prune(model, sparsity=0.5, granularity="channel"), torch.rand(3, 4))


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"7.weight": [True]}, "the network has"),
        ({"0.weight": [False] * 4, "3.weight": [True] * 6}, "keeps no channel of '0.weight'"),
        ({"0.weight": [True] * 5}, "the mask has 5 channels of '0'; the network has 4"),
    ],
)
def test_masks_that_do_not_fit(kept, message):
    mask = Mask(kept={name: torch.tensor(bits) for name, bits in kept.items()}, granularity="channel")
    with pytest.raises(BadInput, match=message):
        plan_of(chain(), mask)


def test_plan_of_a_mask():
    scores = {"0.weight": torch.tensor([3.0, 1.0, 2.0, 4.0])}
    plan = plan_of(chain(), select(scores, 0.5, granularity="channel"))
    assert {name: {d: kept.tolist() for d, kept in own.dims.items()} for name, own in plan.slices.items()} == {
        "0.weight": {0: [0, 3]},
        "0.bias": {0: [0, 3]},
        "3.weight": {1: [0, 3]},
    }
    assert plan.attributes == {
        "0": {"out_channels": 2},
        "3": {"in_channels": 2},
    }


def test_a_collapsed_layer_is_refused():
    scores = {
        n: torch.zeros(c) if n == "0.weight" else torch.ones(c)
        for n, c in (("0.weight", 4), ("3.weight", 6), ("8.weight", 10))
    }
    from prudent.granularities import removed_elements, zero
    from prudent.pruning import Pruned

    mask = select(scores, 0.2, granularity="channel")
    assert mask.collapsed == ("0.weight",)
    model = chain()
    zero(model, removed_elements(model, mask))
    with pytest.raises(BadInput, match=r"keeps no channel.*or prune with scope=.layer. or minimum=1"):
        shrink(Pruned(model=model, mask=mask, score="x", scope="global", requested=0.2), images(2)[0])
