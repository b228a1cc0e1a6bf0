"""Allocations against brute force over everything, and against ALDS's search by turns from random starts."""

import itertools
import math

import pytest
import torch

from prudent.low_rank.allocation import Choice, allocate, frontier
from prudent.low_rank.folding import Factors
from prudent.low_rank.spectra import Curve, curves


def layers_of(seed):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(6, 4, 3, 3), (4, 6, 2, 2), (5, 12)]
    return {
        str(i): torch.randn(s, dtype=torch.float64, generator=generator)
        @ torch.diag(torch.rand(s[-1], dtype=torch.float64, generator=generator) + 0.1)
        for i, s in enumerate(shapes)
    }


def every(weight, plain):
    """(cost, error) of all schemes, groups and ranks, and of the layer as it is."""
    found = [p for c in curves(weight, plain=plain) for p in zip(c.costs.tolist(), c.errors.tolist(), strict=True)]
    return [*found, (weight.numel(), 0.0)]


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_brute_force_finds_nothing_better(plain, seed):
    weights = layers_of(seed)
    fronts = {n: frontier(w.numel(), curves(w, plain=plain)) for n, w in weights.items()}
    # only dropping what costs more than another of no larger error keeps the product small enough to go through
    options = []
    for weight in weights.values():
        points = every(weight, plain)
        options.append([p for p in points if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points)])
    everything = [
        (sum(c for c, _ in ps), sorted((e for _, e in ps), reverse=True)) for ps in itertools.product(*options)
    ]
    total = sum(w.numel() for w in weights.values())
    for keep in (0.35, 0.5, 0.65, 0.8, 0.95):
        limit = int(keep * total)
        got = allocate(fronts, limit)
        assert sum(choice.cost for choice in got.values()) <= limit
        best = min(errors for cost, errors in everything if cost <= limit)
        assert sorted((choice.error for choice in got.values()), reverse=True) == best


def by_turns(weights, limit, seed):
    """ALDS: ranks by a common threshold for given (scheme, groups), then (scheme, groups) for given costs, by turns."""
    generator = torch.Generator().manual_seed(seed)
    found = {name: curves(weight, plain=False) for name, weight in weights.items()}
    now = {name: torch.randint(len(cs), (), generator=generator).item() for name, cs in found.items()}
    best = math.inf
    for _ in range(4):
        fronts = {name: frontier(weights[name].numel(), [found[name][i]]) for name, i in now.items()}
        if sum(front[0].cost for front in fronts.values()) > limit:
            break
        chosen = allocate(fronts, limit)
        best = min(best, max(choice.error for choice in chosen.values()))
        for name, choice in chosen.items():
            fitting = [
                (curve.errors[curve.costs <= choice.cost].min().item(), i)
                for i, curve in enumerate(found[name])
                if (curve.costs <= choice.cost).any()
            ]
            now[name] = min(fitting)[1] if fitting else now[name]
    return best


def test_the_search_by_turns_is_never_better():
    weights = layers_of(9)
    limit = sum(w.numel() for w in weights.values()) * 6 // 10
    fronts = {n: frontier(w.numel(), curves(w, plain=False)) for n, w in weights.items()}
    exact = max(choice.error for choice in allocate(fronts, limit).values())
    others = [by_turns(weights, limit, seed) for seed in range(15)]
    assert exact <= min(others)
    assert max(others) > exact  # and some starts end above


def test_the_frontier_drops_what_is_beaten():
    error = lambda *values: torch.tensor(values, dtype=torch.float64)  # noqa: E731
    one = Curve("encode", 1, torch.tensor([1, 2]), torch.tensor([10, 20]), error(0.5, 0.3))
    two = Curve("encode", 2, torch.tensor([1, 2]), torch.tensor([15, 20]), error(0.5, 0.1))
    assert frontier(30, [one, two]) == [
        Choice(10, 0.5, Factors(scheme="encode", groups=1, rank=1)),
        Choice(20, 0.1, Factors(scheme="encode", groups=2, rank=2)),
        Choice(30, 0.0, None),
    ]
    assert frontier(30, []) == [Choice(30, 0.0, None)]


def test_what_is_left_goes_to_the_next_layer():
    factors = Factors(scheme="encode", groups=1, rank=1)
    fronts = {
        "a": [Choice(1, 0.9, factors), Choice(100, 0.0, None)],
        "b": [Choice(1, 0.5, factors), Choice(2, 0.4, factors), Choice(3, 0.2, factors), Choice(50, 0.0, None)],
    }
    assert {n: c.cost for n, c in allocate(fronts, 4).items()} == {"a": 1, "b": 3}
    assert {n: c.cost for n, c in allocate(fronts, 3).items()} == {"a": 1, "b": 2}
    assert {n: c.cost for n, c in allocate(fronts, 52).items()} == {"a": 1, "b": 50}
    assert {n: c.cost for n, c in allocate(fronts, 101).items()} == {"a": 100, "b": 1}
