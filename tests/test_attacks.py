"""Attacks: closed forms on linear networks, finite differences, and what an attack must never do."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from prudent.attacks import fgsm, margins_of, pgd
from prudent.errors import BadInput
from tests.conftest import chain

INPUTS = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
LABELS = torch.arange(12) % 3


def linear(classes=2, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes)).double()


def test_margins_by_loop():
    logits = torch.randn(20, 5, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(20) % 5
    for i, row in enumerate(logits.tolist()):
        others = [value for j, value in enumerate(row) if j != labels[i]]
        assert math.isclose(margins_of(logits, labels)[i], max(others) - row[labels[i]], rel_tol=1e-6, abs_tol=1e-6)


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
def test_on_two_linear_classes_both_reach_the_optimum(norm, dual):
    # the margin (w1 - w0) x + b rises by at most radius * |w1 - w0| in the dual norm, and one step reaches that
    model, labels = linear(), LABELS % 2
    difference = model[1].weight[1] - model[1].weight[0]
    clean = margins_of(model(INPUTS.double()), labels)
    best = clean + 0.3 * difference.abs().pow(dual).sum() ** (1 / dual)
    found = fgsm(model, INPUTS.double(), labels, radius=0.3, norm=norm, box=None)
    torch.testing.assert_close(found.margins, best.detach())
    # PGD steps past the edge and is put back to it
    found = pgd(model, INPUTS.double(), labels, radius=0.3, norm=norm, box=None, steps=60, step=0.2)
    torch.testing.assert_close(found.margins, best.detach(), rtol=1e-3, atol=1e-6)


def test_in_the_box_the_optimum_of_a_linear_network_is_each_value_at_its_own_limit():
    model, labels = linear(), torch.zeros(12, dtype=torch.int64)
    weight = (model[1].weight[1] - model[1].weight[0]).detach().reshape(1, 1, 8, 8)
    limit = torch.where(weight > 0, (INPUTS + 0.3).clamp(max=1), (INPUTS - 0.3).clamp(min=0)).double()
    found = fgsm(model, INPUTS.double(), labels, radius=0.3)
    torch.testing.assert_close(found.inputs, limit)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fgsm_steps_along_the_gradient_of_finite_differences(norm):
    model = chain().double().eval()
    inputs, labels = INPUTS[:3].double(), LABELS[:3]
    gradient = torch.zeros_like(inputs)
    for place in range(64):
        bump = torch.zeros(64, dtype=torch.float64)
        bump[place] = 1e-6
        up, down = (model(inputs + sign * bump.reshape(1, 8, 8)) for sign in (1, -1))
        rise = cross_entropy(up, labels, reduction="none") - cross_entropy(down, labels, reduction="none")
        gradient.view(3, 64)[:, place] = rise.detach() / 2e-6
    if norm == "linf":
        expected = inputs + 0.01 * torch.where(gradient.abs() < 1e-8, 0.0, gradient.sign())
    else:
        expected = inputs + 0.01 * gradient / gradient.flatten(1).norm(dim=1).reshape(3, 1, 1, 1)
    torch.testing.assert_close(fgsm(model, inputs, labels, radius=0.01, norm=norm).inputs, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("box", [(0.0, 1.0), None])
def test_attacks_stay_in_ball_and_box_and_report_the_margin_there(norm, box):
    model = chain(norm=True).eval()
    for radius in (0.05, 2.0):
        for found in (
            fgsm(model, INPUTS, LABELS, radius=radius, norm=norm, box=box),
            pgd(model, INPUTS, LABELS, radius=radius, norm=norm, box=box, steps=5, restarts=2),
        ):
            change = (found.inputs - INPUTS).flatten(1)
            size = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
            assert float(size.max()) <= radius * (1 + 1e-5)
            assert float(size.max()) > 0.3 * min(radius, 1)
            if box:
                assert found.inputs.min() >= 0
                assert found.inputs.max() <= 1
            with torch.no_grad():
                torch.testing.assert_close(found.margins, margins_of(model(found.inputs), LABELS), rtol=0, atol=1e-4)


def test_more_steps_or_restarts_never_find_less():
    model = chain(norm=True).eval()
    for norm, radius in (("linf", 0.1), ("l2", 0.8)):
        clean = margins_of(model(INPUTS), LABELS).detach()
        sampled = pgd(model, INPUTS, LABELS, radius=radius, norm=norm, steps=0, restarts=3).margins
        stepped = pgd(model, INPUTS, LABELS, radius=radius, norm=norm, steps=8, restarts=3).margins
        again = pgd(model, INPUTS, LABELS, radius=radius, norm=norm, steps=8, restarts=5).margins
        assert (sampled >= clean - 1e-6).all()
        assert (stepped >= sampled).all()
        assert (again >= stepped).all()
        assert stepped.mean() > sampled.mean() + 0.005


def test_random_points_are_uniform_in_the_ball():
    # a network whose margin grows with the distance to 0.5 keeps the random point itself
    class Far(nn.Module):
        def forward(self, x):
            distance = (x - 0.5).flatten(1).square().sum(1) + 1
            return torch.stack([distance * 0, distance], dim=1)

    inputs, labels = torch.full((3000, 3), 0.5), torch.zeros(3000, dtype=torch.int64)
    reach = (pgd(Far(), inputs, labels, radius=0.4, norm="l2", steps=0).inputs - 0.5).norm(dim=1) / 0.4
    # P(reach <= r) = r^3
    share = (reach[:, None] <= torch.tensor([0.5, 0.8])).double().mean(0)
    assert abs(share[0] - 0.125) < 0.03
    assert abs(share[1] - 0.512) < 0.04
    cube = (pgd(Far(), inputs, labels, radius=0.4, norm="linf", steps=0).inputs - 0.5) / 0.4
    assert abs(float(cube.square().mean()) - 1 / 3) < 0.02


def test_seeds_and_batches():
    model = chain().eval()
    whole = pgd(model, INPUTS, LABELS, steps=2, seed=1)
    assert torch.equal(whole.inputs, pgd(model, INPUTS, LABELS, steps=2, seed=1).inputs)
    assert not torch.equal(whole.inputs, pgd(model, INPUTS, LABELS, steps=2, seed=2).inputs)
    part = torch.tensor([7, 2])
    alone = pgd(model, INPUTS[part], LABELS[part], steps=0, seed=1, ids=part)
    torch.testing.assert_close(alone.inputs, pgd(model, INPUTS, LABELS, steps=0, seed=1).inputs[part])


def test_the_network_and_the_inputs_are_untouched():
    model = chain(norm=True).train()
    model[0].weight.requires_grad_(requires_grad=False)
    model[3].weight.grad = torch.ones_like(model[3].weight)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    inputs = INPUTS.clone().requires_grad_()
    state = torch.get_rng_state()
    for attack in (fgsm, pgd):
        found = attack(model, inputs, LABELS)
        assert not found.inputs.requires_grad
        with torch.no_grad():
            assert not attack(model, inputs, LABELS).margins.requires_grad
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert inputs.grad is None
    assert (model[3].weight.grad == 1).all()
    assert model[7 + 1].weight.grad is None
    assert not model[0].weight.requires_grad
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_refused(unchecked):
    model = chain()
    for attack in (fgsm, pgd):
        with pytest.raises(BadInput, match="'linf' or 'l2'"):
            attack(model, INPUTS, LABELS, norm="l1")
        for radius in (-0.1, math.inf, math.nan):
            with pytest.raises(BadInput, match="radius"):
                attack(model, INPUTS, LABELS, radius=radius)
        with pytest.raises(BadInput, match="give box=None"):
            attack(model, INPUTS * 2, LABELS)
        with pytest.raises(BadInput, match="give box=None"):
            attack(model, INPUTS * math.nan, LABELS)
        with pytest.raises(BadInput, match="floating point"):
            attack(model, INPUTS.long(), LABELS)
        with pytest.raises(BadInput, match="12 inputs need as many integer labels"):
            attack(model, INPUTS, LABELS[:3])
        with pytest.raises(BadInput, match="does not run"):
            attack(model, INPUTS[:, :, :5], LABELS)
    for wrong in ({"steps": -1}, {"restarts": 0}, {"step": 0.0}):
        with pytest.raises(BadInput, match="steps >= 0"):
            pgd(model, INPUTS, LABELS, **wrong)
    with pytest.raises(BadInput, match="as many ids"):
        pgd(model, INPUTS, LABELS, ids=torch.arange(3))
