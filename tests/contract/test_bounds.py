"""Every bound, one after the other: valid p-values by exact enumeration, and useful ones."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from prudent.bounds import BOUNDS
from prudent.errors import BadInput

NAMES = list(BOUNDS)
LEVELS = (0.01, 0.05, 0.1, 0.3, 0.7)


def binary(k: int, n: int) -> np.ndarray:
    return np.r_[np.ones(k), np.zeros(n - k)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [1, 50, 300])
@pytest.mark.parametrize("alpha", [0.02, 0.1, 0.5])
def test_valid_on_binary_losses_by_enumeration_of_all_outcomes(name, n, alpha):
    p_values = np.array([BOUNDS[name](binary(k, n), alpha) for k in range(n + 1)])
    for risk in (alpha, min(1.0, 1.5 * alpha), 0.9):
        if risk < alpha:
            continue
        chance = binom.pmf(np.arange(n + 1), n, risk)
        for level in (*LEVELS, *p_values[:: max(1, n // 20)]):
            assert chance[p_values <= level].sum() <= level * (1 + 1e-9), (risk, level)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("values", "weights"),
    [
        ((0.0, 1.0), (0.9, 0.1)),
        ((0.05, 1.0), (0.9, 0.1)),
        ((0.3, 1.0), (0.98, 0.02)),  # Bentkus without its factor e is invalid here, and valid on 0/1 losses
        ((0.0, 0.5, 1.0), (0.7, 0.2, 0.1)),
        ((0.1, 0.3), (0.5, 0.5)),
    ],
)
@pytest.mark.parametrize("n", [6, 10, 20])
def test_valid_on_other_losses_or_refused(name, values, weights, n):
    risk = float(np.dot(values, weights))
    outcomes = [c for c in itertools.product(range(n + 1), repeat=len(values)) if sum(c) == n]
    chance, p_values = [], []
    for counts in outcomes:
        losses = np.repeat(values, counts)
        try:
            p_values.append(BOUNDS[name](losses, risk))
        except BadInput:
            assert set(values) != {0.0, 1.0}, "0/1 losses must not be refused"
            p_values.append(1.0)  # a refusal certifies nothing
        chance.append(multinomial(counts, weights))
    assert sum(chance) == pytest.approx(1)
    for level in {*LEVELS, *p_values}:
        wrong = sum(c for c, p in zip(chance, p_values, strict=True) if p <= level)
        assert wrong <= level * (1 + 1e-9)


def multinomial(counts, weights) -> float:
    from scipy.stats import multinomial as distribution

    return float(distribution.pmf(counts, sum(counts), weights))


@pytest.mark.parametrize("name", NAMES)
def test_has_power(name):
    assert BOUNDS[name](binary(0, 300), 0.05) < 1e-4
    assert BOUNDS[name](binary(3, 1000), 0.05) < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_monotone(name):
    by_count = [BOUNDS[name](binary(k, 200), 0.1) for k in range(201)]
    assert all(a <= b + 1e-15 for a, b in itertools.pairwise(by_count))
    by_alpha = [BOUNDS[name](binary(10, 200), a) for a in np.linspace(0.01, 0.99, 50)]
    assert all(a >= b - 1e-15 for a, b in itertools.pairwise(by_alpha))


@pytest.mark.parametrize("name", NAMES)
def test_order_of_examples_and_ends(name):
    losses = binary(7, 100)
    assert BOUNDS[name](losses, 0.1) == BOUNDS[name](losses[::-1].copy(), 0.1)
    assert BOUNDS[name](np.ones(20), 0.5) == 1.0
    assert 0 < BOUNDS[name](np.zeros(1), 0.5) <= 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("losses", "alpha"),
    [
        (np.zeros(0), 0.1), (np.array([0.0, 1.5]), 0.1), (np.array([0.0, np.nan]), 0.1), (np.array([-0.1]), 0.1),
        (np.zeros(5), 0.0), (np.zeros(5), 1.0), (np.zeros(5), float("nan")),
    ],
)  # fmt: skip
def test_refuses(name, losses, alpha):
    with pytest.raises(BadInput):
        BOUNDS[name](losses, alpha)


@pytest.mark.parametrize("name", NAMES)
def test_names_its_source(name):
    what, source = BOUNDS.summary(name)
    assert what.endswith(".")
    assert "arXiv" in source
