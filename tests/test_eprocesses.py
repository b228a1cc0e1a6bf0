"""E-processes against reference vectors, definitions by loop, exact chances of ever crossing, and quadrature."""

import itertools
import math
import warnings

import numpy as np
import pytest
from scipy.integrate import quad

from prudent.bounds.beta_mixture import beta_mixture
from prudent.bounds.betting import betting, order
from prudent.bounds.fixed_bet import fixed_bet
from prudent.eprocesses import (
    first_crossing,
    first_crossings,
    log_beta_mixture,
    log_mean,
    log_wealth_beta_mixture,
    log_wealth_betting,
    log_wealth_fixed_bet,
    p_value,
    rejected,
)
from prudent.errors import BadInput
from tests.conftest import VECTORS, vectors

STREAMS = {
    "wsr_zeros60": np.zeros(60),
    "wsr_quad17": np.array([float((i * i) % 17 in (1, 2)) for i in range(300)]),
    "wsr_uniform7": np.array([((i * 13) % 7) / 6 for i in range(50)]),
}
PROCESSES = {
    "fixed_bet": log_wealth_fixed_bet,
    "betting": log_wealth_betting,
    "beta_mixture": log_wealth_beta_mixture,
}


def wealth_by_loop(losses, alpha, delta, horizon):
    """Bates et al.'s formulas, one example after the other."""
    wealth, spread, path, seen, squares = 1.0, 0.25, [], [], 0.0
    for loss in losses:
        stake = min(1.0, math.sqrt(2 * math.log(1 / delta) / (horizon * spread)))
        wealth *= 1 - stake * (loss - alpha)
        seen.append(loss)
        mean = (0.5 + sum(seen)) / (len(seen) + 1)
        squares += (loss - mean) ** 2
        spread = (0.25 + squares) / (len(seen) + 1)
        path.append(wealth)
    return np.log(path)


@pytest.mark.parametrize("name", STREAMS)
def test_betting_against_reference(name):
    v = VECTORS[name]
    alpha, delta = v["inputs"]["alpha"], v["inputs"]["delta"]
    path = log_wealth_betting(STREAMS[name], alpha, delta=delta)
    assert path[-1] == pytest.approx(v["expected"]["log_e_final"], abs=v["tolerance"])
    assert path.max() == pytest.approx(v["expected"]["log_e_max"], abs=v["tolerance"])
    assert float(p_value(path.max())) == pytest.approx(v["expected"]["p_value"], rel=v["tolerance"])
    assert float(p_value(path[-1])) == pytest.approx(v["expected"]["p_from_final"], rel=v["tolerance"])
    # the bound itself takes the losses in its own order: put them where that order finds them
    shuffled = np.empty_like(STREAMS[name])
    shuffled[order(len(shuffled), 4)] = STREAMS[name]
    assert betting(shuffled, alpha, delta=delta, seed=4) == pytest.approx(v["expected"]["p_value"], rel=1e-8)


@pytest.mark.parametrize("horizon", [None, 7, 500])
def test_betting_by_loop(horizon):
    table = np.random.default_rng(0).beta(0.5, 3, (40, 3))
    got = log_wealth_betting(table, 0.2, delta=0.01, horizon=horizon)
    for column, losses in zip(got.T, table.T, strict=True):
        np.testing.assert_allclose(column, wealth_by_loop(losses, 0.2, 0.01, horizon or 40), atol=1e-12)


@pytest.mark.parametrize("v", vectors("evalues", "betamix"), ids=lambda v: v["name"])
def test_beta_mixture_against_reference(v):
    k, n, alpha = (v["inputs"][x] for x in ("k", "n", "alpha"))
    assert float(log_beta_mixture(k, n, alpha)) == pytest.approx(v["expected"]["log_e"], abs=v["tolerance"])
    p = beta_mixture(np.repeat([1.0, 0.0], [k, n - k]), alpha)
    assert p == pytest.approx(v["expected"]["p_anytime"], rel=v["tolerance"])


@pytest.mark.parametrize(("k", "n", "alpha"), [(0, 1, 0.5), (1, 1, 0.5), (3, 40, 0.2), (35, 40, 0.2), (0, 60, 0.9)])
def test_beta_mixture_by_quadrature(k, n, alpha):
    ratio = quad(lambda t: (t / alpha) ** k * ((1 - t) / (1 - alpha)) ** (n - k) / alpha, 0, alpha, epsabs=0)[0]
    assert float(log_beta_mixture(k, n, alpha)) == pytest.approx(math.log(ratio), abs=1e-9)


@pytest.mark.parametrize(
    ("k", "n", "alpha"),
    [(49_000, 10**6, 0.05), (30_000, 10**6, 0.05), (60_000, 10**6, 0.05), (900, 1000, 0.01)],
)
def test_beta_mixture_of_a_million_by_summing_in_logarithms(k, n, alpha):
    # the mean over a fine grid of rates near where the integrand has its mass
    rate = np.clip(k / n, 1e-12, alpha)
    width = 60 * math.sqrt(max(rate * (1 - rate), 1e-9) / n) + 60 / n
    t, step = np.linspace(max(rate - width, 0), min(alpha, rate + width), 2_000_001, retstep=True)
    t = np.maximum(t, 1e-300)
    logs = k * np.log(t / alpha) + (n - k) * (np.log1p(-t) - math.log1p(-alpha)) - math.log(alpha)
    top = logs.max()
    trapezes = np.exp(logs - top)
    trapezes[[0, -1]] /= 2
    expected = top + math.log(trapezes.sum() * step)
    assert float(log_beta_mixture(k, n, alpha)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("alpha", [0.001, 0.5, 0.999])
def test_beta_mixture_of_losses_only(alpha):
    # int_0^alpha (t / alpha)^n dt / alpha
    for n in (1, 100, 10**6):
        assert float(log_beta_mixture(n, n, alpha)) == pytest.approx(-math.log(n + 1), abs=1e-9)


def test_fixed_bet_against_reference():
    v = VECTORS["fixed_bet_evalue"]
    losses = np.array(v["inputs"]["losses"], dtype=float)
    alpha, lam = v["inputs"]["alpha"], v["inputs"]["lam"]
    assert math.exp(log_wealth_fixed_bet(losses, alpha, lam=lam)[-1]) == pytest.approx(v["expected"]["e"], rel=1e-12)
    assert fixed_bet(losses, alpha, lam=lam) == pytest.approx(1 / v["expected"]["e"], rel=1e-12)


@pytest.mark.parametrize("v", vectors("evalues", "anytime"), ids=lambda v: v["name"])
def test_when_one_may_stop(v):
    every = 40 if "every40" in v["name"] else 10**9
    losses = np.array([float(i % every == every - 1) for i in range(300)])
    path = log_wealth_beta_mixture(losses, v["inputs"]["alpha"])
    stop = first_crossing(path, delta=v["inputs"]["delta"])
    assert stop == v["expected"]["n_stop"]
    assert losses[:stop].sum() == v["expected"]["errors"]
    assert first_crossing(path[: stop - 1], delta=v["inputs"]["delta"]) is None
    both = np.stack([path, path * 0], axis=1)
    assert first_crossings(both, delta=v["inputs"]["delta"]) == (stop, None)


def test_merging_against_reference():
    v = VECTORS["evalue_merge"]
    logs, delta = np.log(v["inputs"]["e"]), v["inputs"]["delta"]
    assert math.exp(log_mean(logs)) == pytest.approx(v["expected"]["mean"], rel=1e-12)
    assert float(p_value(float(log_mean(logs)))) == pytest.approx(v["expected"]["p_from_mean"], rel=1e-12)
    assert list(rejected(logs, delta=delta)) == v["expected"]["reject_bonferroni"]
    assert rejected(np.log([39.9, 40.1, 0.1, 50.0]), delta=delta) == (1, 3)
    # far beyond what a float holds
    assert log_mean(np.array([2000.0, 2000.0])) == pytest.approx(2000)
    np.testing.assert_allclose(log_mean(np.log([[1.0, 2.0], [3.0, 6.0]])), np.log([2.0, 4.0]))


@pytest.mark.parametrize("risk", [0.1, 0.15])
@pytest.mark.parametrize("delta", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("name", ["fixed_bet", "beta_mixture"])
def test_the_exact_chance_of_ever_crossing(name, delta, risk):
    # by dynamic programming over (examples, losses): probability of each count among paths that never crossed
    alpha, n = 0.1, 300
    t, k = np.arange(1.0, n + 1)[:, None], np.arange(n + 1.0)[None, :]
    if name == "fixed_bet":
        logs = k * math.log1p(0.5 * (alpha - 1)) + (t - k) * math.log1p(0.5 * alpha)
    else:
        logs = log_beta_mixture(np.minimum(k, t), t, alpha)
    alive, crossed = np.eye(1, n + 1)[0], 0.0
    for row in range(n):
        alive = alive * (1 - risk) + np.r_[0, alive[:-1]] * risk
        stops = logs[row] >= -math.log(delta)
        crossed += alive[stops].sum()
        alive = np.where(stops, 0, alive)
    assert 0 < crossed <= delta
    if risk == alpha:
        assert crossed > delta / 4  # valid, and not by being useless


@pytest.mark.parametrize(
    ("values", "weights", "n"), [((0.0, 1.0), (0.8, 0.2), 14), ((0.1, 0.4, 1.0), (0.6, 0.3, 0.1), 8)]
)
@pytest.mark.parametrize("name", PROCESSES)
def test_the_mean_wealth_and_the_chance_of_crossing_over_all_sequences(name, values, weights, n):
    if name == "beta_mixture" and len(values) > 2:
        with pytest.raises(BadInput, match="0 and 1 only"):
            log_wealth_beta_mixture(np.array(values), 0.1)
        return
    which = np.array(list(itertools.product(range(len(values)), repeat=n)))
    chance, risk = np.array(weights)[which].prod(axis=1), float(np.dot(values, weights))
    path = PROCESSES[name](np.array(values)[which].T.copy(), risk)
    for after in path:
        assert chance @ np.exp(after) == pytest.approx(1, abs=1e-9)  # a fair game at the boundary
    peaks = path.max(axis=0)
    for delta in (0.05, 0.2, 0.5, *np.exp(-peaks[peaks > 0][:50])):
        assert chance[peaks >= -math.log(delta) - 1e-12].sum() <= delta * (1 + 1e-9)
    # a worse network: an unfair game
    worse = PROCESSES[name](np.array(values)[which].T.copy(), risk / 2)
    assert chance @ np.exp(worse[-1]) < 1


@pytest.mark.parametrize("risk", [0.05, 0.08])
def test_betting_on_long_streams_by_simulation(risk):
    draws, n, alpha, delta = 2000, 600, 0.05, 0.1
    losses = (np.random.default_rng(0).random((n, draws)) < risk).astype(float)
    share = np.mean(log_wealth_betting(losses, alpha, delta=delta).max(axis=0) >= -math.log(delta))
    assert share <= delta + 4 * math.sqrt(delta * (1 - delta) / draws)
    assert share < 0.01 or risk == alpha


def test_betting_is_one_sided():
    # a bet on both sides would be sure that this risk is not 0.1, and reject "risk > 0.1"
    assert betting(np.ones(300), 0.1) == 1.0
    assert betting((np.arange(1000) % 5 == 0).astype(float), 0.1) > 0.3


def test_the_order_is_drawn_from_seed_and_length_alone():
    # certificates are verified with the order that they were made with, so it may never become another one
    assert list(order(10, 0)) == [4, 3, 0, 9, 6, 2, 8, 7, 5, 1]
    assert list(order(10, 1)) == [7, 5, 0, 6, 9, 4, 8, 2, 3, 1]
    _, counts = np.unique([order(3, seed) for seed in range(1200)], axis=0, return_counts=True)
    assert len(counts) == 6
    assert (abs(counts - 200) < 5 * math.sqrt(200)).all()
    assert sorted(order(50, 0)) == list(range(50))
    assert list(order(50, 0)) == list(order(50, 0))
    assert list(order(50, 0)) != list(order(50, 1))
    losses = np.random.default_rng(0).random(50)
    p_values = {betting(losses, 0.7, seed=seed) for seed in range(5)}
    assert len(p_values) == 5


def test_a_million_losses_stay_finite():
    losses = np.zeros(10**6)
    losses[::3] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for process in PROCESSES.values():
            for alpha in (0.01, 0.5):
                path = process(losses, alpha)
                assert np.isfinite(path).all()
                assert (path[-1] > 100) == (alpha == 0.5)


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize(
    ("losses", "alpha"),
    [
        (np.zeros(0), 0.1),
        (np.zeros((3, 0)), 0.1),
        (np.array([1.2]), 0.1),
        (np.array([np.nan]), 0.1),
        (np.zeros(3), 1.0),
    ],
)
def test_refusals(name, losses, alpha):
    with pytest.raises(BadInput):
        PROCESSES[name](losses, alpha)


def test_other_refusals():
    with pytest.raises(BadInput, match="use betting"):
        log_wealth_beta_mixture(np.array([0.5]), 0.1)
    for lam in (0.0, -0.1, 1 / 0.9, 2.0, float("nan")):
        with pytest.raises(BadInput, match="lam is positive"):
            log_wealth_fixed_bet(np.zeros(3), 0.1, lam=lam)
        with pytest.raises(BadInput, match="lam is positive"):
            fixed_bet(np.zeros(3), 0.1, lam=lam)
    with pytest.raises(BadInput, match="horizon"):
        log_wealth_betting(np.zeros(3), 0.1, horizon=0)
    with pytest.raises(BadInput, match="delta"):
        betting(np.zeros(3), 0.1, delta=1.0)
    with pytest.raises(BadInput, match="delta"):
        first_crossing(np.zeros(3), delta=0.0)
    with pytest.raises(BadInput, match="at least one"):
        log_mean(np.zeros((0, 4)))
