"""APGD: the algorithm by a plain loop of one example, exact on linear networks, in the ball, beside PGD and foolbox."""

import importlib.util
import math

import pytest
import torch
from torch import nn

from prudent.attacks import margins_of, pgd
from prudent.auto_pgd import apgd, checkpoints
from prudent.draws import draws_of
from prudent.errors import BadInput, UnknownName
from prudent.outside_attacks import foolbox_attack
from prudent.training import train
from tests.conftest import assert_untouched, batches, chain, images, snapshot

INPUTS, LABELS = images(40, seed=3)
INPUTS = INPUTS.clamp(0, 1)
FITTED = train(chain(), batches(100), epochs=6, lr=0.01)


def test_checkpoints_by_hand():
    # shares 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99
    assert checkpoints(100) == (22, 41, 57, 70, 80, 87, 93, 99)
    assert checkpoints(50) == (11, 21, 29, 35, 40, 44, 47, 50)
    assert checkpoints(1) == (1,)


def plain(model, x0, y, start, *, radius, steps, dlr):
    """Algorithm 1 for one example, in L-infinity and [0, 1]: the best loss and all points."""

    def look(x):
        x = x.clone().requires_grad_()
        z = model(x[None])[0]
        if dlr:
            ranked = z.sort(descending=True).values
            other = max(z[j] for j in range(len(z)) if j != y)
            value = -(z[y] - other) / (ranked[0] - ranked[2] + 1e-12)
        else:
            value = z.logsumexp(0) - z[y]
        return float(value.detach()), torch.autograd.grad(value, x)[0]

    def project(x):
        return torch.minimum(torch.maximum(x, x0 - radius), x0 + radius).clamp(0, 1)

    points, size = [start], 2 * radius
    value, gradient = look(start)
    values, top, at = [value], value, start
    x, before, last, kept = start, start, 0, (size, value)
    for k in range(1, steps + 1):
        z = project(x + size * gradient.sign())
        new = z if k == 1 else project(x + 0.75 * (z - x) + 0.25 * (x - before))
        before, x = x, new
        value, gradient = look(x)
        values.append(value)
        points.append(x)
        if value > top:
            top, at = value, x
        if k in checkpoints(steps):
            rises = sum(values[i] > values[i - 1] for i in range(last + 1, k + 1))
            stuck = rises < 0.75 * (k - last) or kept == (size, top)
            kept, last = (size, top), k
            if stuck:
                size, x = size / 2, at
                value, gradient = look(x)
                values[-1] = value
    return top, points


@pytest.mark.parametrize("loss", ["cross_entropy", "dlr"])
def test_the_algorithm_by_a_plain_loop(loss):
    model = chain().double().eval()
    inputs, labels, radius = INPUTS[:4].double(), LABELS[:4], 0.1
    ours = apgd(model, inputs, labels, radius=radius, loss=loss, steps=23, seed=5)
    draws = draws_of("random points of a ball, linf", 5, torch.arange(4), inputs)
    starts = (inputs + radius * (2 * draws.uniform(1, 8, 8) - 1)).clamp(0, 1)
    for i in range(4):
        y = int(labels[i])
        _, points = plain(model, inputs[i], y, starts[i], radius=radius, steps=23, dlr=loss == "dlr")
        visited = torch.stack([inputs[i], *points])
        with torch.no_grad():
            margins = margins_of(model(visited), labels[i].expand(len(visited)))
        torch.testing.assert_close(ours.margins[i], margins.max())
        torch.testing.assert_close(ours.inputs[i], visited[int(margins.argmax())])


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("loss", ["cross_entropy", "dlr"])
def test_a_linear_network_is_attacked_exactly(norm, loss):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).double()
    inputs, radius = INPUTS.double() * 0.1, 0.01
    ours = apgd(model, inputs, LABELS, radius=radius, norm=norm, loss=loss, steps=60, box=None)
    weight, clean = model[1].weight.detach(), model(inputs).detach()
    for i, y in enumerate(LABELS.tolist()):
        reach = [
            float(clean[i, j] - clean[i, y] + radius * (weight[j] - weight[y]).norm(p=1 if norm == "linf" else 2))
            for j in range(3) if j != y
        ]  # fmt: skip
        # the loss may climb towards the other class than the one within reach
        assert min(reach) - 1e-3 <= float(ours.margins[i]) <= max(reach) + 1e-9


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("loss", ["cross_entropy", "dlr"])
def test_in_the_ball_and_the_box_and_never_worse_than_the_start(norm, loss):
    radius = 0.2 if norm == "linf" else 1.0
    before = snapshot(FITTED)
    ours = apgd(FITTED, INPUTS, LABELS, radius=radius, norm=norm, loss=loss, steps=15)
    assert_untouched(FITTED, before)
    change = (ours.inputs - INPUTS).flatten(1)
    size = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
    assert float(size.max()) <= radius * (1 + 1e-5)
    assert float(size.max()) > 0.9 * radius
    assert float(ours.inputs.min()) >= 0
    assert float(ours.inputs.max()) <= 1
    start = pgd(FITTED, INPUTS, LABELS, radius=radius, norm=norm, steps=0)
    assert (ours.margins >= start.margins - 1e-6).all()
    with torch.no_grad():
        FITTED.eval()
        torch.testing.assert_close(ours.margins, margins_of(FITTED(ours.inputs), LABELS), rtol=1e-4, atol=1e-4)
        FITTED.train()
    again = apgd(FITTED, INPUTS[7:9], LABELS[7:9], radius=radius, norm=norm, loss=loss, steps=15,
                 ids=torch.tensor([7, 8]))  # fmt: skip
    torch.testing.assert_close(again.margins, ours.margins[7:9], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("radius", [0.1, 0.3])
def test_finds_at_least_what_pgd_finds_on_average(radius):
    for model in (FITTED, chain()):
        ours = apgd(model, INPUTS, LABELS, radius=radius, steps=30)
        theirs = pgd(model, INPUTS, LABELS, radius=radius, steps=30)
        assert float(ours.margins.mean()) >= float(theirs.margins.mean()) - 0.01 * float(theirs.margins.std())


def test_dlr_finds_what_a_saturated_cross_entropy_hides():
    model = chain()
    with torch.no_grad():
        for parameter in FITTED.parameters():
            parameter.requires_grad_(requires_grad=True)
        model.load_state_dict(FITTED.state_dict())
        model[-1].weight *= 1e4
        model[-1].bias *= 1e4
    found = {
        loss: float((apgd(model, INPUTS, LABELS, radius=0.3, loss=loss, steps=15).margins > 0).double().mean())
        for loss in ("cross_entropy", "dlr")
    }
    assert found["dlr"] > found["cross_entropy"] + 0.1, found


def test_refusals(unchecked):
    for change, message in (
        ({"steps": 0}, "steps >= 1"),
        ({"restarts": 0}, "restarts >= 1"),
        ({"radius": -1.0}, "radius"),
        ({"ids": torch.arange(3)}, "as many ids"),
    ):
        with pytest.raises(BadInput, match=message):
            apgd(FITTED, INPUTS, LABELS, **change)
    with pytest.raises(UnknownName, match="dlr"):
        apgd(FITTED, INPUTS, LABELS, loss="dlrr")
    with pytest.raises(BadInput, match="three classes or more; got 2"):
        apgd(nn.Linear(4, 2), torch.rand(3, 4), torch.tensor([0, 1, 0]), loss="dlr")


def test_without_foolbox_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "foolbox", None)
    with pytest.raises(BadInput, match=r"pip install 'prudent\[foolbox\]'"):
        foolbox_attack(FITTED, INPUTS, LABELS)
    with pytest.raises(BadInput, match="starts with the norm"):
        foolbox_attack(FITTED, INPUTS, LABELS, attack="PGD")


needs_foolbox = pytest.mark.skipif(importlib.util.find_spec("foolbox") is None, reason="foolbox is not installed")


@needs_foolbox
@pytest.mark.parametrize(
    ("attack", "radius", "options"),
    [("LinfPGD", 0.1, {"steps": 30}), ("LinfDeepFoolAttack", 0.1, {}), ("L2CarliniWagnerAttack", 0.8, {"steps": 60})],
)
def test_foolbox_finds_about_what_pgd_finds(attack, radius, options):
    norm = "linf" if attack.startswith("Linf") else "l2"
    before = snapshot(FITTED)
    theirs = foolbox_attack(FITTED, INPUTS, LABELS, attack=attack, radius=radius, options=options)
    assert_untouched(FITTED, before)
    again = foolbox_attack(FITTED, INPUTS, LABELS, attack=attack, radius=radius, options=options)
    assert torch.equal(theirs.margins, again.margins)
    ours = pgd(FITTED, INPUTS, LABELS, radius=radius, norm=norm, steps=30)
    clean = pgd(FITTED, INPUTS, LABELS, radius=0.0, steps=0)
    assert (theirs.margins >= clean.margins - 1e-5).all()
    found, known = (float((x.margins > 0).double().mean()) for x in (theirs, ours))
    assert abs(found - known) <= 0.2
    assert math.isfinite(float(theirs.margins.sum()))


@needs_foolbox
def test_foolbox_refusals():
    with pytest.raises(UnknownName, match="LinfPGD"):
        foolbox_attack(FITTED, INPUTS, LABELS, attack="LinfPGDD")
    with pytest.raises(BadInput, match="LinfPGD of foolbox failed: .*stepz"):
        foolbox_attack(FITTED, INPUTS, LABELS, attack="LinfPGD", options={"stepz": 1})
