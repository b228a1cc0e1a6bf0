"""Intervals through any code: like layers in a row where there are such, samples inside, and what is refused."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from prudent.enclosures import enclose
from prudent.ends import Ends, ends_of, sides
from prudent.errors import BadInput
from prudent.models.resnet_cifar import resnet_cifar
from tests.conftest import chain, normalised

INPUTS = torch.rand(5, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("model", [chain(), chain(norm=True), normalised()], ids=["plain", "one norm", "normalised"])
def test_layers_in_a_row_give_the_intervals_of_enclose(model):
    model.double().eval()
    expected = enclose(model, INPUTS - 0.05, INPUTS + 0.05)
    with torch.no_grad():
        low, high = sides(model(ends_of(INPUTS - 0.05, INPUTS + 0.05)))
    torch.testing.assert_close(low, expected.low)
    torch.testing.assert_close(high, expected.high)
    assert type(low) is type(high) is torch.Tensor


class Written(nn.Module):
    """Code with sums, reshaping, functional calls and a layer used twice."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(16, 3)
        self.again = nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")

    def forward(self, x):
        y = functional.relu(self.norm(self.conv(x)), inplace=True)
        y += functional.pad(x, (0, 0, 0, 0)).view(len(x), 1, *x.shape[2:])
        y = torch.add(self.again(y), self.again(y).tanh(), alpha=0.5)
        y = torch.cat([functional.max_pool2d(y, 4), functional.adaptive_avg_pool2d(y, 2)], dim=1).mean((3,))
        return self.last(functional.dropout(y.flatten(1), training=self.training))


@pytest.mark.parametrize("shortcut", ["A", "B", None])
@pytest.mark.parametrize("radius", [0.0, 0.01, 0.1])
def test_answers_of_samples_are_inside(shortcut, radius):
    torch.manual_seed(1)
    model = Written() if shortcut is None else resnet_cifar((1, 8, 8), 3, depth=8, width=2, shortcut=shortcut)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.weight.data, module.bias.data, module.running_mean):
                values.normal_()
    model.double().eval()
    with torch.no_grad():
        low, high = sides(model(ends_of(INPUTS - radius, INPUTS + radius)))
        generator = torch.Generator().manual_seed(2)
        for turn in range(60):
            mix = torch.rand(INPUTS.shape, generator=generator, dtype=torch.float64)
            answers = model(INPUTS + radius * (2 * (mix.round() if turn % 2 else mix) - 1))
            assert (answers >= low - 1e-9).all()
            assert (answers <= high + 1e-9).all()
    if radius == 0:
        torch.testing.assert_close(low, answers)
        torch.testing.assert_close(high, answers)
    else:
        assert (high > low).all()


def test_one_linear_layer_is_exact_at_the_corners():
    torch.manual_seed(0)
    layer = nn.Linear(3, 4).double()
    low, high = torch.tensor([[-1.0, 0.5, 0.0]]).double(), torch.tensor([[0.5, 0.5, 2.0]]).double()
    corners = torch.tensor(list(itertools.product((0.0, 1.0), repeat=3))).double()
    answers = layer(low + corners * (high - low))
    ours = sides(layer(ends_of(low, high)))
    torch.testing.assert_close(ours[0][0], answers.amin(0))
    torch.testing.assert_close(ours[1][0], answers.amax(0))


def test_gradients_flow_through_both_ends():
    layer = nn.Linear(3, 1).double()
    low, high = sides(layer(ends_of(INPUTS[0, 0, :2, :3] - 0.1, INPUTS[0, 0, :2, :3] + 0.1)))
    gradient = torch.autograd.grad((high - low).sum(), layer.weight)[0]
    torch.testing.assert_close(gradient, 2 * 0.2 * layer.weight.sign())


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: x - 1,
        lambda x: -x,
        lambda x: x * 2,
        lambda x: x @ x.new_ones(3, 3),
        lambda x: torch.add(x, x, alpha=-1),
        functional.gelu,
        lambda x: functional.softmax(x, 1),
        lambda x: functional.linear(torch.ones(3, 3), x),
        lambda x: functional.dropout(x, 0.5, True),
        lambda x: functional.batch_norm(x, None, None, training=True),
        lambda x: x.T,
        lambda x: x.sort(),
        lambda x: functional.max_pool1d(x, 2, return_indices=True),
        lambda x: x.max(),
    ],
)
def test_what_does_not_hold_for_intervals_is_refused(operation):
    with pytest.raises(BadInput, match="intervals go through"):
        operation(ends_of(torch.zeros(2, 3), torch.ones(2, 3)))


def test_questions_have_plain_answers():
    ends = ends_of(torch.zeros(2, 3), torch.ones(2, 3))
    assert isinstance(ends, Ends)
    assert (ends.shape, ends.dim(), len(ends), ends.size(1), ends.dtype) == ((2, 3), 2, 2, 3, torch.float32)
    with pytest.raises(BadInput, match="no intervals, but a Tensor"):
        sides(torch.zeros(2))
