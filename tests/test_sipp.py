"""SiPP: the allocation against brute force and scipy, unbiased weights, and the paper's error bound over seeds."""

import itertools

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import nn

import prudent
from prudent.errors import UnknownName
from prudent.masks import count, select
from prudent.network import Reweighted, prunable
from prudent.sampling import relative_error
from prudent.scores.sipp import sipp
from prudent.sensitivities import C, weight_sensitivities
from tests.conftest import assert_untouched, batches, chain, snapshot

MODES = ("deterministic", "randomised", "hybrid")


def small(*sizes, seed=0):
    torch.manual_seed(seed)
    layers = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    return nn.Sequential(*[m for layer in layers for m in (layer, nn.ReLU())][:-1]), [torch.rand(30, sizes[0])]


def bounds_of(model, data):
    """For each filter and sign: factor in the objective, total in the bound, number of weights."""
    found = weight_sensitivities(model, data, over="max", delta=1e-16, examples=None)
    rows = []
    for name, weight in prunable(model).items():
        for sign in (1, -1):
            for s, w in zip(found[name].values.flatten(1), weight.flatten(1), strict=True):
                of_sign = (w * sign > 0) & (s > 0)
                if of_sign.any():
                    total = found[name].log_term * float(s[of_sign].double().sum())
                    rows.append((1 / len(weight), total, int(of_sign.sum()), name, sign))
    return rows


def eps(n, total):
    return float(relative_error(torch.tensor(float(n), dtype=torch.float64), torch.tensor(total, dtype=torch.float64)))


def counts(kept, model):
    """Weights kept for each filter and sign, in the order of `bounds_of`, as far as there are any."""
    return [
        int((k & (w * sign > 0)).sum())
        for name, weight in prunable(model).items()
        for sign in (1, -1)
        for k, w in zip(kept[name].flatten(1), weight.flatten(1), strict=True)
        if (w * sign > 0).any()
    ]


@pytest.mark.parametrize("budget", [7, 8, 10])
def test_allocation_is_the_optimum_in_whole_numbers(budget):
    model, data = small(4, 3)
    rows = bounds_of(model, data)
    sparsity = 1 - budget / 12
    n = counts(select(sipp(model, data, mode="randomised"), sparsity).kept, model)
    assert sum(n) == budget
    assert budget >= len(rows)
    cost = {
        choice: sum(c * eps(x, t) for (c, t, *_), x in zip(rows, choice, strict=True))
        for choice in itertools.product(*[range(1, r[2] + 1) for r in rows])
        if sum(choice) == budget
    }
    assert cost[tuple(n)] == pytest.approx(min(cost.values()))


@pytest.mark.parametrize("budget", [60, *[pytest.param(b, marks=pytest.mark.slow) for b in (110, 150)]])
def test_allocation_is_the_convex_programs(budget):
    model, data = small(12, 10, 6)
    rows = bounds_of(model, data)
    n = counts(select(sipp(model, data, mode="randomised"), 1 - budget / 180).kept, model)
    objective = lambda x: sum(c * eps(v, t) for (c, t, *_), v in zip(rows, x, strict=True))  # noqa: E731
    start = np.array([r[2] for r in rows], dtype=float) * budget / 180
    scale = objective(start)
    best = scipy.optimize.minimize(
        lambda x: objective(x) / scale,
        np.maximum(start, 0.5),
        method="SLSQP",
        bounds=[(0.1, r[2]) for r in rows],
        constraints={"type": "eq", "fun": lambda x: sum(x) - budget},
        options={"maxiter": 300, "ftol": 1e-10},
    )
    assert best.success
    assert np.abs(best.x - n).max() < 1.0  # the nearest whole numbers, or the next ones
    assert best.fun * scale <= objective(n) <= best.fun * scale * 1.1


def test_deterministic_scores_are_the_mean_sensitivities():
    model, data = chain(), batches(20)
    expected = weight_sensitivities(model, data, over="mean", delta=1e-16, examples=None)
    scores = sipp(model, data)
    assert not isinstance(scores, Reweighted)
    assert all(torch.equal(scores[name], expected[name].values) for name in scores)


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_weights_are_right_on_average_and_counts_exact(scope, monkeypatch):
    model, data = small(6, 4, 3)
    found = weight_sensitivities(model, data, over="max", delta=1e-16, examples=8)
    monkeypatch.setattr(
        "prudent.scores.sipp.weight_sensitivities", lambda *_, **__: found
    )  # they are the same each time
    total, squares, seeds = dict.fromkeys(prunable(model), 0.0), dict.fromkeys(prunable(model), 0.0), 600
    sizes = set()
    for seed in range(seeds):
        scores = sipp(model, data, mode="randomised", seed=seed)
        mask = select(scores, 0.4, scope=scope)
        sizes.add(tuple(counts(mask.kept, model)))
        for name, new in scores.weights(mask.kept).items():
            value = (new * mask.kept[name]).double() / model.get_parameter(name).detach()
            total[name], squares[name] = total[name] + value, squares[name] + value**2
    assert len(sizes) == 1  # how many of each filter does not depend on the drawing
    for name in total:
        mean = total[name] / seeds
        spread = ((squares[name] / seeds - mean**2).clamp_min(0) / seeds) ** 0.5
        possible = mean > 0
        assert possible.float().mean() > 0.9
        # rarely drawn weights: their spread is itself estimated badly, hence a floor
        assert ((mean - 1).abs() <= 5 * spread + 0.02)[possible].all()


@pytest.mark.parametrize("mode", ["randomised", "hybrid"])
def test_error_bound_of_the_paper_holds_over_seeds(mode):
    """|z' - z| <= eps z for the positive and the negative part of each neuron, with S of this sample itself (C = 1)."""
    torch.manual_seed(0)
    weight, inputs = torch.randn(3, 200, dtype=torch.float64), torch.rand(10, 200, dtype=torch.float64)
    model = nn.Sequential(nn.Linear(200, 3, bias=False).double())
    with torch.no_grad():
        model[0].weight.copy_(weight)
    s = weight_sensitivities(model, [inputs], over="max", delta=0.1, examples=10)["0.weight"].values
    delta, failures, trials, largest = 0.1, 0, 0, 0.0
    for seed in range(200):
        scores = sipp(model, [inputs], mode=mode, seed=seed, examples=10)
        mask = select(scores, 0.7)
        kept = mask.kept["0.weight"]
        new = scores.weights(mask.kept)["0.weight"] * kept
        for sign in (1, -1):
            part = weight * sign > 0
            z, z_new = inputs @ (weight * part).T, inputs @ (new * part).T
            n, total = (kept & part).sum(dim=1), (s * part).sum(dim=1)
            bound = relative_error(n, total * np.log(2 / delta))
            error = ((z_new - z) / z).abs()
            failures, trials = failures + int((error > bound).sum()), trials + error.numel()
            largest = max(largest, float((error / bound).max()))
    assert failures <= delta * trials
    assert largest > 0.2  # not valid by being useless


def test_hybrid_takes_the_smaller_bound():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 2, bias=False))
    inputs = torch.rand(10, 40)
    with torch.no_grad():
        model[0].weight.copy_(torch.rand(2, 40) * 0.01 + 0.5)
        model[0].weight[0, :3] = 1e4  # three weights make nearly all of this neuron
    scores = sipp(model, [inputs], mode="hybrid", sparsity=0.5, seed=1, delta=0.9)
    kept = select(scores, 0.5).kept
    s = weight_sensitivities(model, [inputs], over="max", delta=0.9, examples=None)["0.weight"]
    new = scores.weights(kept)["0.weight"]
    for row in range(2):
        n = int(kept["0.weight"][row].sum())
        lost = C * float(s.values[row].sort(descending=True).values[n:].double().sum())
        fixed = lost <= eps(n, s.log_term * float(s.values[row].double().sum()))
        chosen = set(kept["0.weight"][row].nonzero().flatten().tolist())
        highest = set(s.values[row].topk(n).indices.tolist())
        assert (chosen == highest) == fixed
        assert torch.equal(new[row], model[0].weight[row]) == fixed
        if row == 0:
            assert fixed


def test_without_removal_weights_are_unchanged_and_other_masks_are_not_corrected():
    model, data = chain(), batches()
    scores = sipp(model, data, mode="randomised")
    everything = {name: torch.ones_like(w, dtype=torch.bool) for name, w in prunable(model).items()}
    assert all(torch.equal(v, model.get_parameter(n)) for n, v in scores.weights(everything).items())
    worst = select({name: -score for name, score in scores.items()}, 0.5).kept
    new = scores.weights(worst)
    same = sum(int((new[n] == w).sum()) for n, w in prunable(model).items())
    assert same > 0.9 * sum(w.numel() for w in prunable(model).values())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("granularity", ["weight", "channel"])
def test_every_mode_prunes_exactly_repeats_and_leaves_the_network(mode, granularity):
    model = chain(norm=True)
    model[0].eval()
    before = snapshot(model)
    score = lambda model, batches, *, seed, sparsity: sipp(model, batches, mode=mode, seed=seed, sparsity=sparsity)  # noqa: E731
    runs = [
        prudent.prune(model, sparsity=0.63, score=score, batches=batches(), granularity=granularity, seed=s)
        for s in (4, 4, 5)
    ]
    assert_untouched(model, before)
    assert runs[0].mask.total - runs[0].mask.remaining == count(0.63, runs[0].mask.total)
    first, again, other = (run.model.state_dict() for run in runs)
    assert all(torch.equal(first[k], again[k]) for k in first)
    if granularity == "weight" and mode == "randomised":
        assert any(not torch.equal(first[k], other[k]) for k in first)


def test_unknown_mode(unchecked):
    with pytest.raises(UnknownName, match="Did you mean 'deterministic'"):
        sipp(chain(), batches(), mode="determinstic")
