"""Prune potential and excess error against trying everything, least squares, and every resample of three seeds."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prudent.errors import BadInput
from prudent.potential import TaskErrors, excess_error, prune_potential, prune_potentials

SPARSITIES = (0.2, 0.5, 0.8, 0.9)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 100), min_size=4, max_size=4), st.integers(0, 100), st.integers(-20, 20))
def test_potential_by_trying_all(wrong, dense, hundredths):
    able = [s for k, s in zip(wrong, SPARSITIES, strict=True) if Fraction(k - dense, 100) <= Fraction(hundredths, 100)]
    found = prune_potential(wrong, SPARSITIES, dense_wrong=dense, n=100, delta=hundredths / 100)
    assert found == max(able, default=0.0)


def test_exactly_delta_is_tolerated():
    # in floating point 0.305 - 0.3 > 0.005, and 0.29 * 100 < 29
    assert 0.305 - 0.3 > 0.005
    assert prune_potential([305], [0.9], dense_wrong=300, n=1000) == 0.9
    assert prune_potential([306], [0.9], dense_wrong=300, n=1000) == 0.0
    assert prune_potential([29], [0.9], dense_wrong=0, n=100, delta=0.29) == 0.9


def test_a_failure_on_the_way_does_not_end_it():
    assert prune_potential([5, 90, 5, 90], SPARSITIES, dense_wrong=5, n=100) == 0.8


def tasks():
    dense = np.array([100, 110, 105])
    nominal = dense[:, None] + np.array([[0, 1, 4, 90], [0, -1, 6, 90], [0, 2, 5, 5]])
    foggy = dense[:, None] + np.array([[2, 9, 40, 90], [50, 4, 60, 90], [1, 9, 5, 90]])
    return {
        "nominal": TaskErrors(wrong=nominal, dense=dense, n=1000),
        "fog": TaskErrors(wrong=foggy, dense=dense, n=1000),
    }


def test_potentials_over_seeds():
    found = prune_potentials(tasks(), SPARSITIES)
    nominal, fog = [0.8, 0.5, 0.9], [0.2, 0.5, 0.8]
    assert found.by_task["nominal"].value == pytest.approx(np.mean(nominal))
    assert found.by_task["fog"].value == pytest.approx(np.mean(fog))
    assert (found.by_task["nominal"].lo, found.by_task["nominal"].hi) == (0.5, 0.9)
    assert found.mean.value == pytest.approx(np.mean([nominal, fog]))
    assert found.lowest.value == pytest.approx(np.mean([0.2, 0.5, 0.8]))
    assert {m.better for m in (found.mean, found.lowest, *found.by_task.values())} == {"higher"}


def test_intervals_of_potentials_of_five_seeds_stay_shares():
    wrong = np.array([[10, 10, 10, 10], [10, 10, 10, 10], [10, 10, 10, 10], [90, 90, 90, 90], [90, 90, 90, 90]])
    found = prune_potentials({"nominal": TaskErrors(wrong=wrong, dense=np.full(5, 10), n=1000)}, SPARSITIES)
    for metric in (found.mean, found.lowest, found.by_task["nominal"]):
        assert metric.value == pytest.approx(0.6 * SPARSITIES[-1])
        assert (metric.lo, metric.hi) == (0, 1)


def test_slope_is_least_squares_and_the_interval_every_resample():
    nominal, shifted = tasks()["nominal"], tasks()["fog"]
    shifted = TaskErrors(wrong=shifted.wrong * 2, dense=shifted.dense + 20, n=4000)
    found = excess_error(nominal, shifted, SPARSITIES, resamples=200_000)
    x = np.array(SPARSITIES)
    for i in range(3):
        for j in range(4):
            pruned = shifted.wrong[i, j] / 4000 - nominal.wrong[i, j] / 1000
            dense = shifted.dense[i] / 4000 - nominal.dense[i] / 1000
            assert found.excess[i, j] == pytest.approx(pruned - dense, abs=1e-15)
        (expected,), *_ = np.linalg.lstsq(x[:, None], found.excess[i], rcond=None)
        assert found.slopes[i] == pytest.approx(expected, abs=1e-14)
    together, *_ = np.linalg.lstsq(np.tile(x, 3)[:, None], found.excess.ravel(), rcond=None)
    assert found.slope.value == pytest.approx(together[0], abs=1e-14)
    # of 27 equally likely resamples the outermost have 1/27 each, so 5 % are outside them on neither side
    every = [found.slopes[list(draw)].mean() for draw in product(range(3), repeat=3)]
    assert found.slope.lo == pytest.approx(min(every), abs=1e-12)
    assert found.slope.hi == pytest.approx(max(every), abs=1e-12)
    half = excess_error(nominal, shifted, SPARSITIES, level=0.5, resamples=200_000).slope
    assert half.lo == pytest.approx(np.quantile(every, 0.25, method="inverted_cdf"), abs=1e-12)
    assert half.hi == pytest.approx(np.quantile(every, 0.75, method="inverted_cdf"), abs=1e-12)


def test_the_interval_finds_a_known_slope():
    # excess 0.1 x sparsity + noise of each seed: the interval holds the truth in most of 100 worlds, not in all
    rng = np.random.default_rng(0)
    hits = 0
    for world in range(100):
        noise = rng.normal(0, 0.02, (12, 1))
        rate = 0.3 + (0.1 + noise) * np.array(SPARSITIES)
        dense = np.full(12, 100_000)
        nominal = TaskErrors(wrong=np.tile(dense[:, None], 4), dense=dense, n=1_000_000)
        shifted = TaskErrors(wrong=(rate * 1e6).astype(np.int64), dense=np.full(12, 300_000), n=1_000_000)
        slope = excess_error(nominal, shifted, SPARSITIES, resamples=500, seed=world).slope
        hits += slope.lo <= 0.1 <= slope.hi
    assert 80 <= hits < 100


def test_the_same_seed_the_same_interval():
    nominal, shifted = tasks()["nominal"], tasks()["fog"]
    a, b, c = (excess_error(nominal, shifted, SPARSITIES, resamples=9, seed=s).slope for s in (1, 1, 2))
    assert a == b
    assert (a.lo, a.hi) != (c.lo, c.hi)


def test_refusals():
    nominal, shifted = tasks()["nominal"], tasks()["fog"]
    with pytest.raises(BadInput, match="as many counts"):
        prune_potential([1], SPARSITIES, dense_wrong=1, n=10)
    with pytest.raises(BadInput, match=r"0 \.\. n"):
        prune_potential([11], [0.5], dense_wrong=1, n=10)
    with pytest.raises(BadInput, match="sparsities lie in"):
        prune_potential([1], [1.0], dense_wrong=1, n=10)
    with pytest.raises(BadInput, match="difference of error rates"):
        prune_potential([1], [0.5], dense_wrong=1, n=10, delta=1.5)
    with pytest.raises(BadInput, match="at least one task"):
        prune_potentials({}, SPARSITIES)
    with pytest.raises(BadInput, match="fog: errors of 3 seeds at 4 sparsities"):
        fewer = TaskErrors(wrong=shifted.wrong[:2], dense=shifted.dense[:2], n=1000)
        prune_potentials({"nominal": nominal, "fog": fewer}, SPARSITIES)
    alone = TaskErrors(wrong=nominal.wrong[:1], dense=nominal.dense[:1], n=1000)
    with pytest.raises(BadInput, match="at least two; got 1"):
        excess_error(alone, alone, SPARSITIES)
    with pytest.raises(BadInput, match="at 4 sparsities are needed"):
        excess_error(nominal, alone, SPARSITIES)
    with pytest.raises(BadInput, match=r"0 \.\. n"):
        excess_error(nominal, TaskErrors(wrong=shifted.wrong, dense=shifted.dense, n=20), SPARSITIES)
    with pytest.raises(BadInput, match="a sparsity above 0"):
        excess_error(nominal, shifted, (0.0, 0.0, 0.0, 0.0))
    with pytest.raises(BadInput, match="level in"):
        excess_error(nominal, shifted, SPARSITIES, level=1.0)
