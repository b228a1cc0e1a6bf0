"""Intervals: scalar arithmetic by loop, corners of boxes, samples inside, and the order of what is found and proved."""

import itertools
import math

import pytest
import torch
from torch import nn

from prudent.attacks import pgd
from prudent.enclosures import enclose, layers_of, proved_margins
from prudent.errors import BadInput
from tests.conftest import chain

INPUTS = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_two_layers_by_scalars():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    low, high = torch.tensor([[-0.2, 0.1, 0.5]]), torch.tensor([[0.3, 0.4, 0.5]])
    ends = list(zip(low[0].tolist(), high[0].tolist(), strict=True))
    for i, layer in enumerate((model[0], model[2])):
        answers = []
        for weights, bias in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True):
            products = [sorted((w * a, w * b)) for w, (a, b) in zip(weights, ends, strict=True)]
            answers.append((bias + sum(p[0] for p in products), bias + sum(p[1] for p in products)))
        if i == 0:
            unstable = sum(a < 0 < b for a, b in answers) / 4
            answers = [(max(a, 0), max(b, 0)) for a, b in answers]
        ends = answers
    ours = enclose(model, low, high)
    for j, (a, b) in enumerate(ends):
        assert math.isclose(ours.low[0, j], a, abs_tol=1e-7)
        assert math.isclose(ours.high[0, j], b, abs_tol=1e-7)
    assert ours.unstable == (unstable,)


def normalisation():
    torch.manual_seed(2)
    layer = nn.BatchNorm2d(1)
    layer.running_mean.normal_()
    layer.running_var.uniform_(0.5, 2)
    with torch.no_grad():
        layer.weight.fill_(-1.5)
        layer.bias.normal_()
    return layer


CORNERS = torch.tensor(list(itertools.product((0.0, 1.0), repeat=9)), dtype=torch.float64).reshape(-1, 1, 3, 3)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(1, 2, 2, stride=2, padding=1),
        nn.Conv2d(1, 3, 2, dilation=2, bias=False),
        normalisation(),
        nn.BatchNorm2d(1, affine=False),
        nn.AvgPool2d(2),
        nn.MaxPool2d(2, stride=1),
        nn.AdaptiveAvgPool2d(2),
        nn.ReLU(),
        nn.Sequential(nn.Flatten(), nn.Linear(9, 3)),
        nn.Sequential(nn.Dropout(), nn.Flatten(), nn.Linear(9, 3, bias=False)),
    ],
    ids=repr,
)
def test_one_layer_is_enclosed_exactly(layer):
    model = nn.Sequential(layer).double().eval()
    low = torch.rand(1, 1, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) - 0.5
    high = low + torch.rand(1, 1, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        answers = model(low + CORNERS * (high - low))
    ours = enclose(model, low, high)
    torch.testing.assert_close(ours.low[0], answers.amin(0))
    torch.testing.assert_close(ours.high[0], answers.amax(0))


@pytest.mark.parametrize("box", [None, (0.0, 1.0)])
def test_the_margin_of_a_linear_network_is_exact(box):
    torch.manual_seed(5)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 3)).double()
    inputs, radius = torch.rand(4, 1, 3, 3, dtype=torch.float64), 0.3
    labels = torch.tensor([1, 0, 2, 1])
    ours = proved_margins(model, inputs, labels, radius=radius, box=box)
    for i in range(4):
        around = inputs[i] + radius * (2 * CORNERS - 1)
        answers = model(around.clamp(0, 1) if box else around).detach()
        others = [j for j in range(3) if j != labels[i]]
        torch.testing.assert_close(ours[i], (answers[:, [int(labels[i])]] - answers[:, others]).amin())


CONV1D = nn.Sequential(
    nn.Flatten(1, 2), nn.Conv1d(8, 4, 3, dilation=2, groups=2), nn.BatchNorm1d(4), nn.ReLU(), nn.MaxPool1d(2),
    nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Identity(), nn.Linear(4, 3),
).eval()  # fmt: skip


@pytest.mark.parametrize("model", [chain(), chain(norm=True), CONV1D], ids=["plain", "norm", "one dimension"])
@pytest.mark.parametrize("radius", [0.0, 0.02, 0.2])
def test_samples_are_inside_and_training_mode_is_left(model, radius):
    model.train()
    low, high = (INPUTS - radius).double(), (INPUTS + radius).double()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ours = enclose(model, low, high)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _ in range(50):
            mix = torch.rand(low.shape, generator=generator, dtype=torch.float64).round()
            answers = model(low + mix * (high - low))
            assert (answers >= ours.low - 1e-9).all()
            assert (answers <= ours.high + 1e-9).all()
    if radius == 0:
        torch.testing.assert_close(ours.low, answers)
        torch.testing.assert_close(ours.high, answers)
        assert set(ours.unstable) == {0.0}
    else:
        assert max(ours.unstable) > 0
    model.float()


def test_pruned_weights_tighten():
    model = chain()
    loose = enclose(model, INPUTS - 0.05, INPUTS + 0.05)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter[parameter.abs() < parameter.abs().median()] = 0
    tight = enclose(model, INPUTS - 0.05, INPUTS + 0.05)
    assert (tight.high - tight.low).mean() < (loose.high - loose.low).mean()


@pytest.mark.parametrize("norm", [False, True])
def test_sampled_below_attacked_below_not_proved(norm):
    model = chain(norm=norm).eval()
    labels = model(INPUTS).argmax(1)
    labels[::4] = (labels[::4] + 1) % 3  # some examples are wrong to begin with
    seen = set()
    for radius in (0.0, 0.001, 0.004, 0.01, 0.03, 0.1, 0.3):
        clean = pgd(model, INPUTS, labels, radius=0.0, steps=0).margins
        sampled = pgd(model, INPUTS, labels, radius=radius, steps=0, restarts=4).margins
        attacked = pgd(model, INPUTS, labels, radius=radius, steps=10, restarts=4).margins
        proved = -proved_margins(model, INPUTS, labels, radius=radius)
        assert (clean <= sampled + 1e-5).all()
        assert (sampled <= attacked).all()
        assert (attacked <= proved + 1e-5).all()
        seen.add((int((attacked > 0).sum()), int((proved > 0).sum())))
        intervals = enclose(model, (INPUTS - radius).clamp(0, 1), (INPUTS + radius).clamp(0, 1))
        other = intervals.high.scatter(1, labels[:, None], -math.inf).amax(1)
        apart = intervals.low.gather(1, labels[:, None]).squeeze(1) - other
        assert (-proved >= apart - 1e-9).all(), "merged with the last layer it is at least as tight"
    assert len(seen) >= 2, "the radii are told apart"


def test_layers_of_nested_sequences():
    inner = nn.Sequential(nn.Linear(2, 3), nn.Dropout(), nn.Sequential(nn.ReLU()))
    model = nn.Sequential(inner, nn.Identity(), nn.Linear(3, 2))
    assert layers_of(model) == (inner[0], inner[2][0], model[2])


def test_what_is_refused():
    for bad in (
        nn.Sequential(nn.Linear(4, 3), nn.Sigmoid()),
        nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")),
        nn.Sequential(nn.BatchNorm1d(4, track_running_stats=False)),
        nn.Sequential(nn.Sequential(nn.LSTM(4, 3))),
        nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)),
    ):
        with pytest.raises(BadInput, match="layers in a row"):
            enclose(bad, torch.zeros(1, 4), torch.ones(1, 4))
    hooked = nn.Sequential(nn.Linear(4, 3))
    hooked[0].register_forward_hook(lambda module, args, output: output * 2)
    with pytest.raises(BadInput, match="without hooks; 0 is Linear"):
        enclose(hooked, torch.zeros(1, 4), torch.ones(1, 4))
    model = nn.Sequential(nn.Linear(4, 3))
    with pytest.raises(BadInput, match="low <= high"):
        enclose(model, torch.ones(1, 4), torch.zeros(1, 4))
    with pytest.raises(BadInput, match="low <= high"):
        enclose(model, torch.zeros(2, 4), torch.ones(1, 4))
    with pytest.raises(BadInput, match="Linear does not run on inputs of shape"):
        enclose(model, torch.zeros(1, 5), torch.ones(1, 5))
    for radius in (-1.0, math.inf, math.nan):
        with pytest.raises(BadInput, match="radius"):
            proved_margins(model, torch.zeros(1, 4), torch.tensor([0]), radius=radius)
    with pytest.raises(BadInput, match="as many integer labels"):
        proved_margins(model, torch.zeros(1, 4), torch.tensor([0, 1]), radius=0.1)
    for value in (2.0, math.nan):
        with pytest.raises(BadInput, match="box=None"):
            proved_margins(model, torch.full((1, 4), value), torch.tensor([0]), radius=0.1)
    with pytest.raises(BadInput, match="end in a linear layer; this ends in ReLU"):
        proved_margins(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.zeros(1, 4), torch.tensor([0]), radius=0.1)
