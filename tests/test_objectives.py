"""Objectives of training: their definitions by a plain loop, their schedules by hand, and what they are for."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import prudent
from prudent.attacks import pgd
from prudent.batches import Batches
from prudent.enclosures import enclose, proved_margins
from prudent.errors import BadInput
from prudent.network import fingerprint
from prudent.objectives import OBJECTIVES
from prudent.objectives.interval import interval, progress
from prudent.objectives.stability import stability
from prudent.passes import Pass
from prudent.scores.nrs import nrs
from prudent.training import train
from tests.conftest import assert_untouched, batches, chain, images, normalised, snapshot

RADIUS = 0.05


def bright(n=60, seed=0):
    inputs, labels = images(n, seed=seed)
    return Batches(inputs=inputs.clamp(0, 1), labels=labels, size=20, split="train")


def passing(model, data, *, index=9, total=10):
    inputs, labels = next(iter(data))
    return Pass(index=index, total=total, model=model, inputs=inputs, labels=labels, logits=model(inputs))


def test_progress_by_hand():
    steps = [progress(i, 60_000, 2_000 / 60_000, 10_000 / 60_000) for i in (0, 1999, 2000, 7000, 12_000, 59_999)]
    assert steps == pytest.approx([0, 0, 0, 0.5, 1, 1], abs=1e-9)
    assert [progress(i, 10, 0.0, 0.0) for i in (0, 5)] == [1.0, 1.0]
    assert [progress(i, 10, 0.5, 0.0) for i in (4, 5)] == [0.0, 1.0]


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("index", [1, 4, 9])
def test_interval_is_its_definition(norm, index):
    model, data = chain(norm=norm).eval(), bright()
    now = passing(model, data, index=index)
    ours = interval(radius=RADIUS, kappa=0.25, warm_up=0.2, ramp=0.4)(now)
    reached = {1: 0.0, 4: 0.5, 9: 1.0}[index]
    own, share = reached * RADIUS, 1 - reached * 0.75
    low, high = (now.inputs - own).clamp(0, 1), (now.inputs + own).clamp(0, 1)
    before, last = enclose(model[:-1], low, high), model[-1]
    losses = []
    for i, y in enumerate(now.labels.tolist()):
        worst = []
        for j in range(3):
            ahead = (last.weight[j] - last.weight[y]).double().tolist()
            ends = zip(before.low[i].tolist(), before.high[i].tolist(), strict=True)
            shift = float((last.bias[j] - last.bias[y]).detach())
            worst.append(shift + sum(w * (b if w > 0 else a) for w, (a, b) in zip(ahead, ends, strict=True)))
        losses.append(math.log(sum(math.exp(w) for w in worst)))
    expected = share * float(cross_entropy(now.logits, now.labels).detach()) + (1 - share) * sum(losses) / len(losses)
    assert math.isclose(float(ours.detach()), expected, rel_tol=1e-4)


def test_interval_gradients_by_finite_differences():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    data = Batches(inputs=torch.rand(6, 4, dtype=torch.float64), labels=torch.tensor([0, 1, 2, 0, 1, 2]))

    def loss():
        return interval(radius=0.1, kappa=0.3, warm_up=0, ramp=0)(passing(model, data))

    gradient = torch.autograd.grad(loss(), model[0].weight)[0]
    for at in ((0, 0), (3, 2), (4, 1)):
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                model[0].weight[at] += sign * 1e-6
                ends.append(float(loss()))
                model[0].weight[at] -= sign * 1e-6
        assert math.isclose(float(gradient[at]), (ends[0] - ends[1]) / 2e-6, rel_tol=1e-4, abs_tol=1e-8)


def test_interval_training_proves_more_and_the_order_holds_before_and_after_pruning():
    data, test, radius = bright(150), bright(100, seed=5), 0.1
    plain = train(chain(), data, epochs=12, lr=0.005)
    proving = train(chain(), data, epochs=12, lr=0.005, objective=interval(radius=radius, warm_up=0.1, ramp=0.4))
    shares = {}
    for name, model in (("plain", plain), ("proving", proving)):
        pruned = prudent.prune(model, sparsity=0.5)
        for own in (model, pruned.model):
            shown = (own, test.inputs, test.labels)
            clean = pgd(*shown, radius=0.0, steps=0).margins
            sampled = pgd(*shown, radius=radius, steps=0, restarts=3).margins
            attacked = pgd(*shown, radius=radius, steps=10, restarts=3).margins
            proved = -proved_margins(*shown, radius=radius)
            assert (clean <= sampled + 1e-5).all()
            assert (sampled <= attacked).all()
            assert (attacked <= proved + 1e-5).all()
            shares[name, own is model] = float((proved <= 0).double().mean())
    assert shares["proving", True] > shares["plain", True] + 0.3, shares


def test_stability_is_its_definition():
    model = normalised().eval()
    now = passing(model, bright())
    scores = nrs(model, [now.inputs], radius=0.02)
    expected = cross_entropy(now.logits, now.labels) - 0.3 * torch.cat(list(scores.values())).mean()
    torch.testing.assert_close(stability(radius=0.02, strength=0.3)(now), expected)


def unstable(model, inputs, radius):
    return sum(enclose(model.eval(), inputs - radius, inputs + radius).unstable)


def test_stability_training_leaves_fewer_relus_that_switch():
    data = bright(100)
    plain = train(normalised(), data, epochs=6, lr=0.01)
    stable = train(normalised(), data, epochs=6, lr=0.01, objective=stability(radius=0.02, strength=1.0))
    assert unstable(stable, data.inputs, 0.02) < 0.8 * unstable(plain, data.inputs, 0.02)


@pytest.mark.parametrize("objective", [interval(radius=RADIUS), stability(radius=RADIUS)])
def test_training_leaves_the_network_alone_and_repeats_itself(objective):
    model = normalised()
    model[1].eval()
    before = snapshot(model)
    first, second = (train(model, bright(), epochs=2, lr=0.01, objective=objective) for _ in range(2))
    assert_untouched(model, before)
    assert [m.training for m in first.modules()] == before["modes"]
    assert fingerprint(first) == fingerprint(second) != fingerprint(train(model, bright(), epochs=2, lr=0.01))


def test_the_plain_objective_given_is_the_default():
    seen = []

    def plain(now):
        seen.append((now.index, now.total))
        return cross_entropy(now.logits, now.labels)

    given = train(chain(), batches(), epochs=2, lr=0.01, objective=plain)
    assert fingerprint(given) == fingerprint(train(chain(), batches(), epochs=2, lr=0.01))
    assert seen == [(i, 8) for i in range(8)]


def test_masks_hold():
    pruned = prudent.prune(normalised(), sparsity=0.5)
    trained = train(pruned.model, bright(), epochs=1, lr=0.01, mask=pruned.mask, objective=interval(radius=RADIUS))
    assert all((trained.get_parameter(name)[~kept] == 0).all() for name, kept in pruned.mask.kept.items())


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_every_objective_has_a_source_and_refuses_a_radius_of_nothing(name):
    what, source = OBJECTIVES.summary(name)
    assert what.endswith(".")
    assert "arXiv" in source
    for radius in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(BadInput, match="radius.* above 0"):
            OBJECTIVES[name](radius=radius)


def test_refusals():
    for change in ({"kappa": 1.1}, {"warm_up": -0.1}, {"ramp": 2.0}):
        with pytest.raises(BadInput, match=f"{next(iter(change))} of objective 'interval' is in"):
            interval(radius=0.1, **change)
    with pytest.raises(BadInput, match="strength of objective 'stability' is above 0"):
        stability(strength=0.0)
    with pytest.raises(BadInput, match="needs batch normalisations"):
        train(chain(), batches(), epochs=1, lr=0.01, objective=stability())
    with pytest.raises(BadInput, match="inputs lie in the box"):
        train(chain(), batches(), epochs=1, lr=0.01, objective=interval(radius=0.1))
    odd = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.GELU(), nn.Linear(3, 3))
    with pytest.raises(BadInput, match="layers in a row"):
        train(odd, bright(), epochs=1, lr=0.01, objective=interval(radius=0.1))
