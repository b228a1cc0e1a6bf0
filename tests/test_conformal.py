"""Ranks against reference vectors, exact fractions and the enumeration of all orders."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import binom

from prudent.conformal import conformal_quantile, conformal_rank
from prudent.errors import BadInput
from prudent.intervals import quantile_rank
from tests.conftest import vectors


@pytest.mark.parametrize("v", vectors("risk_control", "conformal_quantile"), ids=lambda v: v["name"])
def test_conformal_reference(v):
    expected = None if v["expected"]["infinite"] else v["expected"]["rank"]
    assert conformal_rank(v["inputs"]["n"], alpha=v["inputs"]["alpha"]) == expected


@pytest.mark.parametrize("v", vectors("bounds", "quantile_upper_rank"), ids=lambda v: v["name"])
def test_quantile_reference(v):
    i = v["inputs"]
    assert quantile_rank(i["n"], quantile=i["beta"], delta=i["delta"]) == v["expected"]["rank"]


def test_conformal_rank_is_exact_and_covers():
    overshot = 0
    for n in range(1, 400):
        for hundredths in (1, 5, 10, 30, 35, 50, 95):
            alpha = Fraction(hundredths, 100)
            rank = conformal_rank(n, alpha=hundredths / 100)
            # a new score is equally likely to take each of n + 1 places, and larger than the r-th in n + 1 - r of them
            fits = [r for r in range(1, n + 1) if Fraction(n + 1 - r, n + 1) <= alpha]
            assert rank == (fits[0] if fits else None)
            overshot += math.ceil((n + 1) * (1 - hundredths / 100)) != math.ceil((n + 1) * (1 - alpha))
    assert overshot > 10, "floats would have been wrong"


def test_conformal_quantile_selects():
    rng = np.random.default_rng(0)
    scores = rng.permutation(np.arange(1.0, 100.0))
    assert conformal_quantile(scores, alpha=0.1) == 90.0
    assert conformal_quantile(scores, alpha=0.01) == 99.0
    assert conformal_quantile(scores, alpha=0.009) == math.inf
    assert conformal_quantile(np.array([3.0, 1.0, 2.0]), alpha=0.5) == 2.0
    assert (np.sort(scores) == np.arange(1.0, 100.0)).all()


def test_conformal_quantile_covers_new_scores():
    rng = np.random.default_rng(1)
    missed = np.mean([rng.normal() > conformal_quantile(rng.normal(size=49), alpha=0.1) for _ in range(4000)])
    assert abs(missed - 0.1) < 4 * math.sqrt(0.09 / 4000)


@pytest.mark.parametrize("delta", [0.01, 0.05, 0.3])
@pytest.mark.parametrize("quantile", [0.05, 0.5, 0.9, 0.99])
def test_quantile_rank_by_its_definition(quantile, delta):
    for n in (1, 2, 7, 20, 58, 59, 300, 500):
        tails = binom.sf(np.arange(n + 1) - 1, n, quantile)  # P(Bin >= r)
        fits = np.flatnonzero(tails <= delta)
        assert quantile_rank(n, quantile=quantile, delta=delta) == (int(fits[0]) if len(fits) else None)


def test_quantile_rank_covers_exactly():
    # the r-th of n uniform numbers is below q if at least r of them are
    n, quantile, delta = 120, 0.95, 0.1
    rank = quantile_rank(n, quantile=quantile, delta=delta)
    rng = np.random.default_rng(2)
    below = np.mean(np.sort(rng.random((4000, n)), axis=1)[:, rank - 1] < quantile)
    exact = binom.sf(rank - 1, n, quantile)
    assert exact <= delta < binom.sf(rank - 2, n, quantile)
    assert abs(below - exact) < 4 * math.sqrt(exact / 4000)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, float("nan")])
def test_refuses_levels(alpha):
    with pytest.raises(BadInput, match="alpha"):
        conformal_rank(10, alpha=alpha)
    with pytest.raises(BadInput, match="quantile"):
        quantile_rank(10, quantile=alpha, delta=0.1)
    with pytest.raises(BadInput, match="delta"):
        quantile_rank(10, quantile=0.5, delta=alpha)


@pytest.mark.parametrize("scores", [np.zeros(0), np.array([np.nan]), np.array([np.inf]), np.zeros((2, 2))])
@pytest.mark.usefixtures("unchecked")
def test_refuses_scores(scores):
    with pytest.raises(BadInput):
        conformal_quantile(scores, alpha=0.1)
