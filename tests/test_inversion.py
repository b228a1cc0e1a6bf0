"""Upper confidence bounds: reference vectors, closed forms, a scan from the safe end, and exact coverage."""

import functools
import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom

from prudent.bounds import BOUNDS
from prudent.bounds.betting import betting, order
from prudent.bounds.fixed_bet import fixed_bet
from prudent.bounds.hoeffding import hoeffding
from prudent.errors import BadInput, UnknownName
from prudent.inversion import upper_bound, upper_bounds
from tests.conftest import VECTORS, vectors
from tests.test_bounds_reference import losses_with_sum
from tests.test_eprocesses import STREAMS

BY_COUNT = sorted(set(BOUNDS) - {"betting"})


@pytest.mark.parametrize("v", vectors("bounds", "clopper"), ids=lambda v: v["name"])
def test_clopper_pearson(v):
    i = v["inputs"]
    losses = losses_with_sum(i["k"], i["n"])
    assert upper_bound(losses, delta=i["delta"]) == pytest.approx(v["expected"]["upper"], abs=v["tolerance"])


@pytest.mark.parametrize("bound", ["hoeffding_bentkus", "kl_hoeffding", "hoeffding"])
@pytest.mark.parametrize("v", vectors("bounds", "ucb_inversion"), ids=lambda v: v["name"])
def test_inversions_against_reference(v, bound):
    i = v["inputs"]
    got = upper_bound(losses_with_sum(i["loss_sum"], i["n"]), delta=i["delta"], bound=bound)
    name = {"hoeffding_bentkus": "hb_ucb"}.get(bound, f"{bound}_ucb")
    assert got == pytest.approx(v["expected"][name], abs=v["tolerance"])


def test_empirical_bernstein_against_reference():
    v = VECTORS["empirical_bernstein_maurer_pontil"]
    got = upper_bound(np.array(v["inputs"]["losses"]), delta=v["inputs"]["delta"], bound="empirical_bernstein")
    assert got == pytest.approx(v["expected"]["ucb"], abs=v["tolerance"])


@pytest.mark.parametrize("name", STREAMS)
def test_betting_against_reference(name):
    v = VECTORS[name]
    delta, losses = v["inputs"]["delta"], np.empty_like(STREAMS[name])
    losses[order(len(losses), 0)] = STREAMS[name]
    got = upper_bound(losses, delta=delta, bound=functools.partial(betting, delta=delta))
    assert got == pytest.approx(v["expected"]["ucb"], abs=v["tolerance"])
    if delta == 0.05:  # what the bound is tuned for unless told otherwise
        assert upper_bound(losses, delta=delta, bound="betting") == pytest.approx(v["expected"]["ucb"], abs=1e-8)


def test_without_losses_by_closed_forms():
    none = np.zeros(200)
    exact = 1 - 0.05 ** (1 / 200)
    for bound in ("binomial", "kl_hoeffding", "hoeffding_bentkus", "hockey_stick"):
        assert upper_bound(none, delta=0.05, bound=bound) == pytest.approx(exact, abs=1e-12)
    assert upper_bound(none, delta=0.05, bound="fixed_bet") == pytest.approx((20 ** (1 / 200) - 1) / 0.5, abs=1e-12)


@pytest.mark.parametrize("name", list(BOUNDS))
def test_by_a_scan_from_the_safe_end(name):
    # down from 1 while rejected: right whether or not the p-value falls with alpha
    losses = losses_with_sum(5, 60)
    grid = np.arange(1, 300) / 300
    rejected = [BOUNDS[name](losses, float(a)) <= 0.1 for a in grid]
    last = max((i for i, r in enumerate(rejected) if not r), default=-1)
    limit = upper_bound(losses, delta=0.1, bound=name)
    assert grid[last] <= limit <= (grid[last + 1] if last + 1 < len(grid) else 1.0)


@pytest.mark.parametrize("name", BY_COUNT)
@pytest.mark.parametrize("n", [1, 30, 80])
@pytest.mark.parametrize("delta", [0.02, 0.1, 0.4])
def test_coverage_by_enumeration_of_all_outcomes(name, n, delta):
    table = np.stack([losses_with_sum(k, n) for k in range(n + 1)], axis=1)
    limits = upper_bounds(table, delta=delta, bound=name)
    # the worst risks lie just above a limit
    for risk in (*(limits[limits < 1] + 1e-9), 0.01, 0.3, 0.9):
        below = binom.pmf(np.arange(n + 1), n, risk)[limits < risk].sum()
        assert below <= delta * (1 + 1e-6)
    assert all(a <= b for a, b in itertools.pairwise(limits))
    assert limits[-1] == 1


@pytest.mark.parametrize("name", list(BOUNDS))
def test_errs_upwards_and_each_candidate_by_itself(name):
    table = np.stack([losses_with_sum(k, 120) for k in (0, 3, 40, 119)], axis=1)
    limits = upper_bounds(table, delta=0.05, bound=name)
    for losses, limit in zip(table.T, limits, strict=True):
        assert upper_bound(losses, delta=0.05, bound=name) == limit
        if limit < 1 and not hasattr(BOUNDS.module(name), "upper"):
            assert BOUNDS[name](losses, float(limit)) <= 0.05
        own = upper_bound(losses, delta=0.05, bound=functools.partial(BOUNDS[name]))  # by bisection
        assert own == pytest.approx(limit, abs=1e-9)


def test_options_by_partial():
    losses = np.random.default_rng(0).random(80) ** 3
    bold = upper_bound(losses, delta=0.1, bound=functools.partial(fixed_bet, lam=0.9))
    assert fixed_bet(losses, bold, lam=0.9) <= 0.1 < fixed_bet(losses, bold - 1e-9, lam=0.9)
    seeds = {upper_bound(losses, delta=0.1, bound=functools.partial(betting, seed=s)) for s in range(3)}
    assert len(seeds) == 3


def test_a_million_losses():
    for losses in (np.zeros(10**6), losses_with_sum(50_000, 10**6)):
        rate = float(losses.mean())
        for name in BOUNDS:
            limit = upper_bound(losses, delta=0.05, bound=name)
            # a bet of one half was not made to measure a risk closely
            assert rate < limit < rate + (0.02 if name == "fixed_bet" else 0.0015)


def test_refusals():
    with pytest.raises(UnknownName):
        upper_bound(np.zeros(3), delta=0.1, bound="hofding")
    for delta in (0.0, 1.0, float("nan")):
        with pytest.raises(BadInput, match="delta"):
            upper_bound(np.zeros(3), delta=delta)
    for losses in (np.zeros(0), np.array([np.nan]), np.array([1.1])):
        with pytest.raises(BadInput):
            upper_bound(losses, delta=0.1, bound="kl_hoeffding")
    for name in ("binomial", "beta_mixture"):
        with pytest.raises(BadInput, match="0 and 1 only"):
            upper_bound(np.array([0.5]), delta=0.1, bound=name)
    with pytest.raises(BadInput, match="at least one"):
        upper_bounds(np.zeros((3, 0)), delta=0.1)


def test_a_p_value_that_rises_with_alpha_is_refused():
    def moody(losses: np.ndarray, alpha: float) -> float:
        return 1.0 if 0.7 < alpha < 0.9 else hoeffding(losses, alpha)

    with pytest.raises(BadInput, match="does not rise with alpha"):
        upper_bound(np.zeros(50), delta=0.1, bound=moody)
    assert upper_bound(np.zeros(50), delta=0.1, bound=hoeffding) == pytest.approx(math.sqrt(math.log(10) / 100))
