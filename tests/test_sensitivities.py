"""Sensitivities against the definition as a loop, and the sample size against known values."""

import itertools
import math

import pytest
import torch
from torch import nn

from prudent import readings, sensitivities
from prudent.errors import BadInput
from prudent.sensitivities import C, channel_sensitivities, sample_size, weight_sensitivities
from prudent.unfolding import matrix, rows
from tests.conftest import batches, chain

LAYERS = {
    "linear": lambda: (nn.Linear(6, 3), (9, 6)),
    "conv": lambda: (nn.Conv2d(2, 3, 2, padding=1), (5, 2, 4, 4)),
    "grouped": lambda: (nn.Conv2d(4, 4, 2, groups=2), (4, 4, 3, 3)),
}


def share(w, a, sign_w, sign_a):
    """Terms of one kind divided by their sum: by definition, for one neuron at one position."""
    terms = [wk * ak if wk * sign_w > 0 and ak * sign_a > 0 else 0.0 for wk, ak in zip(w, a, strict=True)]
    whole = sum(terms)
    return [t / whole if whole else 0.0 for t in terms]


def by_loop(layer, inputs, over):
    x = rows(layer, inputs).unflatten(1, (len(inputs), -1))
    weight, result = matrix(layer), torch.zeros_like(matrix(layer))
    for g, i in itertools.product(range(len(weight)), range(weight.shape[1])):
        for example, sw, sa in itertools.product(range(len(inputs)), (1, -1), (1, -1)):
            at = torch.tensor([share(weight[g, i].tolist(), a.tolist(), sw, sa) for a in x[g, example]])
            reduced = at.mean(dim=0) if over == "mean" else at.amax(dim=0)
            result[g, i] = torch.maximum(result[g, i], reduced)
    return result.reshape(layer.weight.shape)


@pytest.mark.parametrize("piece", [1, 2**22])
@pytest.mark.parametrize("over", ["mean", "max"])
@pytest.mark.parametrize("kind", LAYERS)
def test_weights_by_definition(monkeypatch, kind, over, piece):
    monkeypatch.setattr(readings, "PIECE", piece)
    monkeypatch.setattr(sensitivities, "PIECE", piece)
    torch.manual_seed(0)
    layer, shape = LAYERS[kind]()
    for inputs in (torch.randn(shape), torch.rand(shape)):
        data = [inputs[:2], inputs[2:]]
        found = weight_sensitivities(nn.Sequential(layer), data, over=over, delta=0.1, examples=None)["0.weight"]
        assert torch.allclose(found.values, by_loop(layer, inputs, over), atol=1e-5)
    positions, kernel = rows(layer, inputs[:1]).shape[1], math.prod(layer.weight.shape[2:])
    assert found.log_term == pytest.approx(C * math.log(8 * (positions + 1) * kernel / 0.1))


@pytest.mark.parametrize("piece", [1, 2**22])
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_channels_by_definition(monkeypatch, kind, piece):
    monkeypatch.setattr(readings, "PIECE", piece)
    monkeypatch.setattr(sensitivities, "PIECE", piece)
    torch.manual_seed(0)
    layer, shape = LAYERS[kind]()
    inputs = torch.randn(shape)
    found = channel_sensitivities(nn.Sequential(layer), [inputs], {"0": 2}, delta=0.1, examples=None)["0"].values
    x, weight = rows(layer, inputs)[0], matrix(layer)[0]
    best = torch.zeros(2)
    for w, a, sw, sa in itertools.product(weight.tolist(), x.tolist(), (1, -1), (1, -1)):
        best = torch.maximum(best, torch.tensor(share(w, a, sw, sa)).view(2, -1).sum(dim=1))
    assert torch.allclose(found, best, atol=1e-5)


def test_sample_size_of_lenet_300_100():
    layers = (300, 100, 10)
    assert [sample_size(layers, delta=d) for d in (10, 1e-32)] == [35, 263]


def test_only_the_first_examples_are_read():
    model, data = chain(), batches(60)
    few = weight_sensitivities(model, data, over="max", delta=0.5, examples=20)
    same = weight_sensitivities(model, [data.inputs[:20]], over="max", delta=0.5, examples=None)
    more = weight_sensitivities(model, data, over="max", delta=0.5, examples=60)
    for name in few:
        assert torch.allclose(few[name].values, same[name].values, atol=1e-6)
        assert (more[name].values >= few[name].values - 1e-6).all()
    neurons = (4 * 64, 6 * 16, 10, 3)
    size = sample_size(neurons, delta=0.5)
    assert size == math.ceil(3 * math.log(8 * sum(neurons) * 256 / 0.5)) < 60
    default = weight_sensitivities(model, data, over="max", delta=0.5, examples=None)
    exactly = weight_sensitivities(model, data, over="max", delta=0.5, examples=size)
    assert all(torch.equal(default[name].values, exactly[name].values) for name in default)
    assert any(not torch.equal(default[name].values, more[name].values) for name in default)


def test_refusals():
    model, data = chain(), batches()
    for options in ({"delta": 0.0, "examples": None}, {"delta": 1.0, "examples": None}, {"delta": 0.1, "examples": 0}):
        with pytest.raises(BadInput):
            weight_sensitivities(model, data, over="max", **options)

    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.spare = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            return self.used(x)

    with pytest.raises(BadInput, match="'spare' did not run"):
        weight_sensitivities(Unused(), [torch.ones(2, 2)], over="max", delta=0.1, examples=None)
