"""Stability of channels: the definition by loop, direction, and what the score makes of it."""

import math

import pytest
import torch
from torch import nn

import prudent
from prudent.enclosures import enclose
from prudent.errors import BadInput, CannotPrune
from prudent.models.resnet_cifar import resnet_cifar
from prudent.scores.nrs import nrs
from prudent.stability import channel_stability
from prudent.surgery.chain import links
from tests.conftest import assert_untouched, batches, images, normalised, snapshot

INPUTS = images(10)[0]


def by_loop(model, inputs, radius):
    """Stability after each batch normalisation of a plain network, value by value."""
    found = []
    for i, layer in enumerate(model):
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            ends = enclose(model[: i + 1], inputs - radius, inputs + radius)
            channels = []
            for c in range(layer.num_features):
                low, high = ends.low[:, c].flatten().tolist(), ends.high[:, c].flatten().tolist()
                square = float(layer.weight[c].detach()) ** 2
                channels.append(
                    sum(math.tanh(1 + a * b / square) for a, b in zip(low, high, strict=True)) / len(low)
                )  # fmt: skip
            found.append(channels)
    return found


@pytest.mark.parametrize("radius", [0.001, 0.02, 0.3])
def test_the_score_is_its_definition(radius):
    model = normalised()
    scores = nrs(model, batches(10, size=4), radius=radius)
    expected = by_loop(model.eval(), batches(10).inputs, radius)
    assert list(scores) == [link.weight for link in links(model)]
    for ours, loop in zip(scores.values(), expected, strict=True):
        torch.testing.assert_close(ours, torch.tensor(loop), rtol=1e-4, atol=1e-4)


def test_the_channel_that_switches_goes_first():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 3, bias=False), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 3)
    ).eval()  # fmt: skip
    with torch.no_grad():
        model[1].weight.fill_(1 / 64)
        model[2].bias.copy_(torch.tensor([3.0, 0.0, -3.0]))
        model[2].running_mean.fill_(float(INPUTS[:1].mean()))
    (scores,) = nrs(model, [INPUTS[:1]], radius=0.2).values()
    # the interval is [bias - 0.2, bias + 0.2], rounded by eps of the normalisation
    expected = [math.tanh(1 + 2.8 * 3.2), math.tanh(1 - 0.04), math.tanh(1 + 2.8 * 3.2)]
    torch.testing.assert_close(scores, torch.tensor(expected), atol=1e-3, rtol=0)
    pruned = prudent.prune(model, sparsity=1 / 3, score="nrs", granularity="channel", batches=[INPUTS[:1]])
    assert pruned.mask.kept["1.weight"].tolist() == [True, False, True]


def test_a_dead_channel_has_a_finite_score():
    model = normalised()
    with torch.no_grad():
        model[1].weight[0] = model[1].bias[0] = 0
        model[1].weight[1] = 0
    scores = nrs(model, batches())["0.weight"]
    torch.testing.assert_close(scores[:2], torch.tensor([math.tanh(1), 1.0]))


def test_wider_balls_are_less_stable_on_average():
    means = [float(torch.cat(list(nrs(normalised(), batches(), radius=r).values())).mean()) for r in (1e-4, 0.01, 0.1)]
    assert means[0] > means[1] > means[2]


def test_a_residual_network_and_no_trace():
    torch.manual_seed(0)
    model = resnet_cifar((1, 8, 8), 3, depth=8, width=2, shortcut="B")
    before = snapshot(model)
    norms = {name: module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    whole = channel_stability(model, [INPUTS], norms, radius=0.01)
    assert_untouched(model, before)
    parts = channel_stability(model, [INPUTS[:7], INPUTS[7:]], norms, radius=0.01)
    for name, values in whole.items():
        assert values.requires_grad
        assert ((values >= -1) & (values <= 1)).all()
        torch.testing.assert_close(parts[name], values)


def test_refusals():
    model = normalised()
    for radius in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(BadInput, match="radius above 0"):
            nrs(model, batches(), radius=radius)
    with pytest.raises(CannotPrune, match="score 'nrs' needs batch normalisation after every layer"):
        nrs(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), [torch.zeros(2, 4)])
    odd = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.GELU(), nn.Linear(3, 2))
    before = snapshot(odd)
    with pytest.raises(BadInput, match="not through 'gelu'"):
        nrs(odd, [torch.zeros(2, 4)])
    assert_untouched(odd, before)
