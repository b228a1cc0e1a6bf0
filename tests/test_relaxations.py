"""CROWN: exact for linear networks and one neuron, sound by samples and branch enumeration, never looser than IBP."""

import itertools

import pytest
import torch
from torch import nn

import prudent
import prudent.relaxations
from prudent.attacks import pgd
from prudent.enclosures import enclose, proved_margins
from prudent.errors import BadInput, UnknownName
from prudent.relaxations import enclose_linearly, relaxed_margins
from tests.conftest import assert_untouched, chain, snapshot

INPUTS = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def small(seed=0, widths=(3, 6, 5, 3)):
    torch.manual_seed(seed)
    layers = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).double()


def convolutional(*, pool=None):
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1, stride=2), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 3, groups=1), nn.ReLU(),
        pool or nn.AvgPool2d(2), nn.Flatten(), nn.Dropout(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3),
    )  # fmt: skip
    for values in (model[1].weight.data, model[1].bias.data, model[1].running_mean):
        values.normal_()
    return model


BOX = (torch.tensor([[-0.5, 0.1, 0.0]]).double(), torch.tensor([[0.7, 0.9, 0.4]]).double())


def pieces(model, low, high, *, steps=21):
    """The least and the largest answer on a fine grid of the box, with its corners."""
    ticks = [
        torch.linspace(a, b, steps, dtype=torch.float64) for a, b in zip(low[0].tolist(), high[0].tolist(), strict=True)
    ]
    with torch.no_grad():
        answers = model(torch.cartesian_prod(*ticks))
    return answers.amin(0), answers.amax(0)


def test_one_neuron_by_hand():
    # relu(x) - 2 relu(-x + 1) on [-1, 2]: lower bound with relu(x) >= x (2 > 1) and relu(1 - x) <= 2/3 (2 - x)
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        model[0].bias.copy_(torch.tensor([0.0, 1.0]))
        model[2].weight.copy_(torch.tensor([[1.0, -2.0]]))
        model[2].bias.zero_()
    ours = enclose_linearly(model, torch.tensor([[-1.0]]), torch.tensor([[2.0]]))
    # lower: x - 4/3 (2 - x) = 7/3 x - 8/3 at -1: -5, tighter by intervals: 0 - 4 = -4
    # upper: 2/3 (x + 1) - 2 relu(1 - x), with relu(1 - x) >= 1 - x: 8/3 x - 4/3 at 2: 4; by intervals 2 - 0 = 2
    torch.testing.assert_close(ours.low, torch.tensor([[-4.0]]).double())
    torch.testing.assert_close(ours.high, torch.tensor([[2.0]]).double())
    with torch.no_grad():
        model[2].weight.copy_(torch.tensor([[1.0, 1.0]]))
    ours = enclose_linearly(model, torch.tensor([[-1.0]]), torch.tensor([[2.0]]))
    # upper: 2/3 (x + 1) + 2/3 (2 - x) = 2, where intervals say 4; lower: x + 1 - x = 1, where intervals say 0
    torch.testing.assert_close(ours.low, torch.tensor([[1.0]]).double())
    torch.testing.assert_close(ours.high, torch.tensor([[2.0]]).double())
    assert ours.unstable == (1.0,)


@pytest.mark.parametrize(("widths", "radius"), [((3, 12, 10, 8, 3), 0.15), ((3, 20, 20, 20, 20, 3), 0.4)])
def test_the_bounds_of_an_example_are_its_own_whatever_the_batch(widths, radius):
    for seed in range(4):
        model = small(seed=seed, widths=widths)
        inputs = torch.rand(9, 3, generator=torch.Generator().manual_seed(seed)).double()
        labels = torch.zeros(9, dtype=torch.int64)
        together = relaxed_margins(model, inputs, labels, radius=radius, box=None)
        alone = [relaxed_margins(model, inputs[i : i + 1], labels[:1], radius=radius, box=None) for i in range(9)]
        torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-12)


def test_two_linear_layers_before_a_relu_are_as_tight_as_the_one_that_they_make():
    torch.manual_seed(5)
    first, second, last = (nn.Linear(a, b).double() for a, b in ((4, 9), (9, 7), (7, 3)))
    merged = nn.Linear(4, 7).double()
    with torch.no_grad():
        merged.weight.copy_(second.weight @ first.weight)
        merged.bias.copy_(second.weight @ first.bias + second.bias)
    inputs, labels = torch.rand(8, 4).double(), torch.arange(8) % 3
    two = relaxed_margins(nn.Sequential(first, second, nn.ReLU(), last), inputs, labels, radius=0.2)
    one = relaxed_margins(nn.Sequential(merged, nn.ReLU(), last), inputs, labels, radius=0.2)
    torch.testing.assert_close(two, one, rtol=0, atol=1e-9)
    loose = proved_margins(nn.Sequential(first, second, nn.ReLU(), last), inputs, labels, radius=0.2)
    assert (two > loose + 1e-3).any(), "intervals alone are looser"


@pytest.mark.parametrize("inner", ["crown", "interval"])
def test_a_linear_network_is_exact(inner):
    torch.manual_seed(3)
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(32, 5),
        nn.Linear(5, 3),
    ).double().eval()  # fmt: skip
    low, high = (INPUTS - 0.1).double(), (INPUTS + 0.2).double()
    with torch.no_grad():
        shift = model(torch.zeros(1, 1, 8, 8).double())[0]
        rows = model(torch.eye(64).double().reshape(64, 1, 8, 8)) - shift
        flat = [ends.flatten(1) for ends in (low, high)]
        expected = flat[0] @ rows.clamp(min=0) + flat[1] @ rows.clamp(max=0) + shift
    ours = enclose_linearly(model, low, high, inner=inner)
    torch.testing.assert_close(ours.low, expected)
    assert (enclose(model, low, high).low < expected - 1e-3).any(), "intervals alone are not exact"


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("inner", ["crown", "interval"])
def test_tiny_networks_by_brute_force(seed, inner):
    model = small(seed)
    least, largest = pieces(model, *BOX)
    ours, loose = enclose_linearly(model, *BOX, inner=inner), enclose(model, *BOX)
    assert (ours.low[0] <= least + 1e-9).all()
    assert (ours.high[0] >= largest - 1e-9).all()
    assert (ours.low >= loose.low - 1e-9).all()
    assert (ours.high <= loose.high + 1e-9).all()
    assert (ours.high - ours.low).sum() < (loose.high - loose.low).sum() - 1e-6


def test_where_all_relus_are_stable_it_is_exact():
    model = small(2)
    middle = torch.tensor([[0.31, 0.52, 0.23]]).double()
    low, high = middle - 1e-4, middle + 1e-4
    ours = enclose_linearly(model, low, high)
    assert set(ours.unstable) == {0.0}
    least, largest = pieces(model, low, high, steps=2)
    torch.testing.assert_close(ours.low[0], least, rtol=0, atol=1e-12)
    torch.testing.assert_close(ours.high[0], largest, rtol=0, atol=1e-12)


MODELS = {
    "plain": chain(), "norm": chain(norm=True), "average": convolutional(), "max": convolutional(pool=nn.MaxPool2d(2)),
}  # fmt: skip


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("radius", [0.0, 0.02, 0.1])
def test_samples_are_inside_and_nothing_is_changed(name, radius):
    model = MODELS[name]
    before = snapshot(model)
    low, high = (INPUTS - radius).double(), (INPUTS + radius).double()
    ours = enclose_linearly(model, low, high)
    cheap, loose = enclose_linearly(model, low, high, inner="interval"), enclose(model, low, high)
    assert_untouched(model, before)
    for tighter, looser in ((ours, cheap), (cheap, loose)):
        if tighter is cheap:
            assert (tighter.low >= looser.low - 1e-9).all()
            assert (tighter.high <= looser.high + 1e-9).all()
        assert (tighter.high - tighter.low).sum() <= (looser.high - looser.low).sum() + 1e-9
    model.double().eval()
    with torch.no_grad():
        for turn in range(40):
            mix = torch.rand(low.shape, generator=torch.Generator().manual_seed(turn), dtype=torch.float64)
            answers = model(low + (mix.round() if turn % 2 else mix) * (high - low))
            assert (answers >= ours.low - 1e-9).all()
            assert (answers <= ours.high + 1e-9).all()
    model.float().train()
    if radius == 0.02 and name == "average":
        assert (ours.high - ours.low).sum() < 0.9 * (loose.high - loose.low).sum()


def test_blocks_do_not_show(monkeypatch):
    low, high = INPUTS - 0.05, INPUTS + 0.05
    whole = enclose_linearly(MODELS["average"], low, high)
    monkeypatch.setattr(prudent.relaxations, "PART", 1)
    parts = enclose_linearly(MODELS["average"], low, high)
    torch.testing.assert_close(whole.low, parts.low)
    torch.testing.assert_close(whole.high, parts.high)


@pytest.mark.parametrize("name", ["norm", "average"])
def test_attacked_below_not_proved_and_more_is_proved_than_by_intervals(name):
    model = MODELS[name].eval()
    for own in (model, prudent.prune(model, sparsity=0.5).model):
        labels = own(INPUTS).argmax(1)
        labels[0] = (labels[0] + 1) % 3
        gained = 0
        for radius in (0.0, 0.003, 0.01, 0.03, 0.1):
            sampled = pgd(own, INPUTS, labels, radius=radius, steps=0, restarts=3).margins
            attacked = pgd(own, INPUTS, labels, radius=radius, steps=10, restarts=3).margins
            relaxed = relaxed_margins(own, INPUTS, labels, radius=radius)
            assert (sampled <= attacked).all()
            assert (attacked <= -relaxed + 1e-5).all()
            intervals = proved_margins(own, INPUTS, labels, radius=radius)
            assert (relaxed >= intervals - 1e-9).all()
            assert (relaxed_margins(own, INPUTS, labels, radius=radius, inner="interval") >= intervals - 1e-9).all()
            gained += float((relaxed - intervals).sum())
        assert gained > 0.01


def test_margins_of_a_linear_network_are_exact():
    torch.manual_seed(5)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Linear(4, 3)).double()
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    ours = relaxed_margins(model, INPUTS.double(), labels, radius=0.1, box=None)
    whole = model[2].weight @ model[1].weight
    logits = model(INPUTS.double()).detach()
    for i, y in enumerate(labels.tolist()):
        margins = [
            float(logits[i, y] - logits[i, j] - 0.1 * (whole[y] - whole[j]).detach().abs().sum())
            for j in range(3) if j != y
        ]  # fmt: skip
        assert float(ours[i]) == pytest.approx(min(margins))


def test_refusals(unchecked):
    model = small()
    with pytest.raises(BadInput, match="low <= high"):
        enclose_linearly(model, BOX[1], BOX[0])
    with pytest.raises(UnknownName, match="crown"):
        enclose_linearly(model, *BOX, inner="crwn")
    with pytest.raises(BadInput, match="layers in a row"):
        enclose_linearly(nn.Sequential(nn.Linear(3, 2), nn.Tanh()), *BOX)
    with pytest.raises(BadInput, match="Linear does not run"):
        enclose_linearly(model, torch.zeros(1, 4), torch.ones(1, 4))
    with pytest.raises(BadInput, match="as many integer labels"):
        relaxed_margins(model, BOX[0].clamp(0, 1), torch.tensor([0, 1]), radius=0.1)
    with pytest.raises(BadInput, match="margins need logits"):
        relaxed_margins(nn.Sequential(nn.Conv2d(1, 1, 1)), INPUTS, torch.zeros(6, dtype=torch.int64), radius=0.1)
