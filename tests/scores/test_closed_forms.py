"""Scores that have a definition of a line: magnitude, LAMP, Wanda."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import prudent
from prudent.errors import BadInput, CannotPrune
from prudent.scores.lamp import lamp
from prudent.scores.magnitude import magnitude
from prudent.scores.wanda import wanda
from tests.conftest import batches, chain


def layer_of(values: list[float]) -> nn.Linear:
    layer = nn.Linear(len(values), 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([values]))
    return layer


@pytest.mark.parametrize("power", [1, 2, 3])
def test_magnitude_is_a_power_of_the_absolute_value(power):
    model = chain()
    for name, score in magnitude(model, power=power).items():
        assert torch.equal(score, model.get_parameter(name).detach().abs() ** power)


def test_magnitude_squared_ranks_channels_by_their_l2_norm():
    model = chain()
    pruned = prudent.prune(
        model, sparsity=0.5, score="magnitude", options={"power": 2}, granularity="channel", scope="layer"
    )
    norms = model[3].weight.detach().flatten(1).norm(dim=1)
    assert set(norms.argsort()[3:].tolist()) == set(pruned.mask.kept["3.weight"].nonzero().flatten().tolist())


def test_magnitude_refuses_powers_below_one():
    with pytest.raises(BadInput, match="got power=0"):
        magnitude(chain(), power=0)


@given(st.lists(st.sampled_from([0.0, 0.5, -0.5, 1.0, 2.0, -3.0, 1e-3, 1e4]), min_size=1, max_size=12))
@settings(max_examples=200, deadline=None)
def test_lamp_by_its_definition(values):
    found = lamp(layer_of(values))["weight"][0]
    squares = [float(torch.tensor(value)) ** 2 for value in values]
    order = sorted(range(len(values)), key=lambda i: (squares[i], i))
    for rank, i in enumerate(order):
        survivors = math.fsum(squares[j] for j in order[rank:])
        expected = squares[i] / survivors if survivors else 0.0
        assert float(found[i]) == pytest.approx(expected, rel=1e-12)


def test_lamp_ranks_a_layer_as_magnitude_does_and_scores_its_largest_one():
    model = chain()
    for name, score in lamp(model).items():
        size = model.get_parameter(name).detach().abs().flatten()
        assert torch.equal(score.flatten().argsort(), size.argsort())
        assert float(score.max()) == 1.0


def test_lamp_keeps_a_weight_in_every_layer_where_magnitude_keeps_none():
    model = chain()
    with torch.no_grad():
        model[8].weight.mul_(1e-6)
    sparsity = 1 - 4 / sum(model[i].weight.numel() for i in (0, 3, 8, 11))
    assert prudent.prune(model, sparsity=sparsity, score="lamp").mask.collapsed == ()
    assert "8.weight" in prudent.prune(model, sparsity=sparsity).mask.collapsed


def test_lamp_loses_nothing_over_many_weights():
    # the smallest of a million weights: its denominator is the sum of all, which float32 sums would miss
    layer = nn.Linear(1000, 1000)
    squares = layer.weight.detach().double().square()
    smallest = squares.argmin()
    expected = float(squares.flatten()[smallest]) / math.fsum(squares.flatten().tolist())
    assert float(lamp(layer)["weight"].flatten()[smallest]) == pytest.approx(expected, rel=1e-12)


class Shared(nn.Module):
    """One layer that runs twice, one that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Linear(5, 5)
        self.never = nn.Linear(5, 5)

    def forward(self, x):
        return self.twice(torch.relu(self.twice(x)))


def test_wanda_by_its_definition_on_linear_layers():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    inputs = torch.randn(10, 4)
    scores = wanda(model, [inputs[:7], inputs[7:]])
    hidden = torch.relu(model[0](inputs)).detach()
    for layer, reads in ((0, inputs), (2, hidden)):
        weight = model[layer].weight.detach()
        for i in range(weight.shape[0]):
            for j in range(weight.shape[1]):
                size = math.sqrt(math.fsum(float(x) ** 2 for x in reads[:, j]))
                assert float(scores[f"{layer}.weight"][i, j]) == pytest.approx(
                    abs(float(weight[i, j])) * size, rel=1e-5
                )


@pytest.mark.parametrize(("groups", "stride", "padding", "dilation"), [(1, 1, 0, 1), (2, 2, 1, 1), (4, (1, 2), 2, 2)])
def test_wanda_by_its_definition_on_convolutions(groups, stride, padding, dilation):
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 8, 3, stride=stride, padding=padding, dilation=dilation, groups=groups)
    inputs = torch.randn(2, 4, 7, 6)
    score = wanda(nn.Sequential(layer), [inputs])["0.weight"]
    padded = nn.functional.pad(inputs, (padding,) * 4)
    positions = layer(inputs).shape[2:]
    down, right = layer.stride
    for out in range(8):
        group = out // (8 // groups)
        for channel in range(4 // groups):
            for a in range(3):
                for b in range(3):
                    seen = padded[:, group * (4 // groups) + channel]
                    read = [
                        float(seen[n, y * down + a * dilation, x * right + b * dilation])
                        for n in range(2) for y in range(positions[0]) for x in range(positions[1])
                    ]  # fmt: skip
                    size = math.sqrt(math.fsum(value**2 for value in read))
                    expected = abs(float(layer.weight.detach()[out, channel, a, b])) * size
                    assert float(score[out, channel, a, b]) == pytest.approx(expected, rel=1e-5)


def test_wanda_adds_up_all_runs_of_a_layer_and_scores_zero_where_none_was():
    torch.manual_seed(0)
    model, inputs = Shared(), torch.randn(6, 5)
    scores = wanda(model, [inputs])
    both = torch.cat([inputs, torch.relu(model.twice(inputs)).detach()])
    torch.testing.assert_close(scores["twice.weight"], model.twice.weight.detach().abs() * both.norm(dim=0))
    assert not scores["never.weight"].any()


def test_wanda_adds_up_tied_layers():
    torch.manual_seed(0)
    a, b = nn.Linear(5, 5), nn.Linear(5, 5)
    b.weight = a.weight
    inputs = torch.randn(6, 5)
    scores = wanda(nn.Sequential(a, nn.ReLU(), b), [inputs])
    both = torch.cat([inputs, torch.relu(a(inputs)).detach()])
    assert list(scores) == ["0.weight"]
    torch.testing.assert_close(scores["0.weight"], a.weight.detach().abs() * both.norm(dim=0))


def test_wanda_does_not_depend_on_the_batches():
    one, many = wanda(chain(), batches(size=60)), wanda(chain(), batches(size=7))
    for name in one:
        torch.testing.assert_close(one[name], many[name])


@pytest.mark.parametrize(
    ("layer", "message"),
    [(nn.ConvTranspose2d(1, 2, 3), "ConvTranspose2d"), (nn.MultiheadAttention(4, 2), "MultiheadAttention")],
)
def test_wanda_refuses_what_is_no_matrix_product_of_what_a_layer_reads(layer, message):
    with pytest.raises(CannotPrune, match=message):
        wanda(nn.Sequential(layer), [torch.rand(2, 1, 4, 4)])
