"""Every bound, one after the other: valid p-values by exact enumeration, and useful ones."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from prudent.bounds import BOUNDS
from prudent.certification import certify, check
from prudent.errors import BadInput
from prudent.inversion import upper_bound, upper_bounds
from prudent.types import Losses

NAMES = list(BOUNDS)
ORDERED = [name for name in NAMES if BOUNDS.constant(name, "ORDERED")]
COUNTED = [name for name in NAMES if name not in ORDERED]
LEVELS = (0.01, 0.05, 0.1, 0.3, 0.7)
SPREADS = [
    ((0.0, 1.0), (0.9, 0.1)),
    ((0.05, 1.0), (0.9, 0.1)),
    ((0.3, 1.0), (0.98, 0.02)),  # Bentkus without its factor e is invalid here, and valid on 0/1 losses
    ((0.0, 0.5, 1.0), (0.7, 0.2, 0.1)),
    ((0.1, 0.3), (0.5, 0.5)),
    ((0.0, 0.99), (0.5, 0.5)),  # sums just below whole numbers: so is floor in place of ceil
]


def binary(k: int, n: int) -> np.ndarray:
    return np.r_[np.ones(k), np.zeros(n - k)]


def test_both_kinds_are_there():
    assert ORDERED == ["betting", "group_sequential"]
    assert len(COUNTED) >= 8


@pytest.mark.parametrize("name", COUNTED)
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


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.parametrize(("values", "weights"), SPREADS)
@pytest.mark.parametrize("n", [6, 10, 20])
def test_valid_on_other_losses_or_refused(name, values, weights, n):
    risk = float(np.dot(values, weights))
    outcomes = [c for c in itertools.product(range(n + 1), repeat=len(values)) if sum(c) == n]
    chance = [multinomial(counts, weights) for counts in outcomes]
    p_values = [p_or_one(name, np.repeat(values, counts), risk, values) for counts in outcomes]
    assert sum(chance) == pytest.approx(1)
    for level in {*LEVELS, *p_values}:
        wrong = sum(c for c, p in zip(chance, p_values, strict=True) if p <= level)
        assert wrong <= level * (1 + 1e-9)


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.parametrize("n", [2, 5, 9, 20])
def test_valid_on_a_whole_and_nth_parts(name, n):
    # 1/n or 1: the sum lies just above a whole number, and floor in place of ceil shows
    values, weights = (1 / n, 1.0), (0.9, 0.1)
    risk = float(np.dot(values, weights))
    p_values = np.array([p_or_one(name, np.repeat(values, [n - k, k]), risk, values) for k in range(n + 1)])
    chance = binom.pmf(np.arange(n + 1), n, weights[1])
    for level in (*LEVELS, *p_values):
        assert chance[p_values <= level].sum() <= level * (1 + 1e-9)


@pytest.mark.parametrize("name", ORDERED)
@pytest.mark.parametrize(("values", "weights"), [((0.0, 1.0), (0.7, 0.3)), ((0.0, 1.0), (0.98, 0.02)), *SPREADS])
def test_valid_where_the_order_counts_by_enumeration_of_all_sequences(name, values, weights):
    risk = float(np.dot(values, weights))
    which = np.array(list(itertools.product(range(len(values)), repeat=9 if len(values) == 2 else 6)))
    chance = np.array(weights)[which].prod(axis=1)
    p_values = np.array([p_or_one(name, np.array(values)[row], risk, values) for row in which])
    assert chance.sum() == pytest.approx(1)
    for level in (*LEVELS, *np.unique(p_values)[:40]):
        assert chance[p_values <= level].sum() <= level * (1 + 1e-9)


def p_or_one(name, losses, risk, values) -> float:
    try:
        return BOUNDS[name](losses, risk)
    except BadInput:
        assert set(values) != {0.0, 1.0}, "0/1 losses must not be refused"
        return 1.0  # a refusal certifies nothing


def multinomial(counts, weights) -> float:
    from scipy.stats import multinomial as distribution

    return float(distribution.pmf(counts, sum(counts), weights))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("risk", "n"), [(0.1, 200), (0.05, 1000)])
def test_valid_by_simulation_at_the_boundary(name, risk, n):
    draws, rng = 500, np.random.default_rng(n)
    samples = (rng.random((draws, n)) < risk).astype(float)
    if name in COUNTED:
        counts = samples.sum(axis=1).astype(int)
        known = {k: BOUNDS[name](binary(k, n), risk) for k in np.unique(counts)}
        p_values = np.array([known[k] for k in counts])
    else:
        p_values = np.array([BOUNDS[name](sample, risk) for sample in samples])
    for level in (0.05, 0.1, 0.3):
        error = np.sqrt(level * (1 - level) / draws)
        assert np.mean(p_values <= level) <= level + 4 * error


@pytest.mark.parametrize("name", NAMES)
def test_has_power(name):
    # Hoeffding's, the weakest, has 1e-9 for the first of them
    assert BOUNDS[name](binary(0, 4000), 0.05) < 1e-8
    assert BOUNDS[name](binary(20, 2000), 0.1) < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_a_risk_above_alpha_is_no_evidence(name):
    """Whatever the order: two-sided bets are valid at alpha itself, and certify what lies far above it."""
    rng = np.random.default_rng(4)
    for k in (30, 45, 60):
        assert BOUNDS[name](rng.permutation(binary(k, 60)), 0.2) > 0.2


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_more_is_never_better_evidence(name):
    if name in COUNTED:
        by_count = [BOUNDS[name](binary(k, 200), 0.1) for k in range(201)]
        assert all(a <= b + 1e-15 for a, b in itertools.pairwise(by_count))
    # by itself, each example's larger loss, in its place
    losses = np.random.default_rng(0).choice([0.0, 1.0], 60, p=[0.95, 0.05])
    for at in range(0, 60, 7):
        more = losses.copy()
        more[at] = 1.0
        assert BOUNDS[name](more, 0.3) >= BOUNDS[name](losses, 0.3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["binary", "fractions"])
def test_never_rises_with_alpha(name, kind):
    losses = binary(10, 200) if kind == "binary" else np.random.default_rng(1).beta(0.3, 2, 200)
    by_alpha = [p_or_one(name, losses, float(a), losses) for a in np.linspace(0.003, 0.997, 200)]
    assert all(a >= b - 1e-15 for a, b in itertools.pairwise(by_alpha))


@pytest.mark.parametrize("name", NAMES)
def test_order_of_examples_and_ends(name):
    losses = binary(7, 100)
    again = BOUNDS[name](losses.copy(), 0.1)
    assert BOUNDS[name](losses, 0.1) == again
    if name in COUNTED:
        assert BOUNDS[name](losses[::-1].copy(), 0.1) == again
    assert BOUNDS[name](np.ones(20), 0.5) == 1.0
    assert 0 < BOUNDS[name](np.zeros(1), 0.5) <= 1


@pytest.mark.parametrize("name", NAMES)
def test_a_million_examples(name):
    few, none, all_lost = binary(1000, 10**6), np.zeros(10**6), np.ones(10**6)
    assert 0 <= BOUNDS[name](none, 0.05) <= BOUNDS[name](few, 0.05) < 1e-30
    assert BOUNDS[name](all_lost, 0.05) == 1.0


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
@pytest.mark.parametrize("delta", [0.01, 0.3])
def test_the_upper_bound_agrees_with_the_p_value(name, delta):
    for losses in (binary(0, 40), binary(7, 100), binary(99, 100), binary(100, 100), np.zeros(1)):
        limit = upper_bound(losses, delta=delta, bound=name)
        assert 0 < limit <= 1
        assert limit == 1 or BOUNDS[name](losses, limit + 1e-9) <= delta
        assert BOUNDS[name](losses, limit - 1e-9) > delta


@pytest.mark.parametrize("name", NAMES)
def test_the_upper_bound_of_fractions_agrees_too_or_is_refused(name):
    table = np.random.default_rng(2).beta(0.3, 2, (80, 3))
    try:
        BOUNDS[name](table[:, 0], 0.5)
    except BadInput:
        with pytest.raises(BadInput):
            upper_bounds(table, delta=0.1, bound=name)
        return
    limits = upper_bounds(table, delta=0.1, bound=name)
    for losses, limit in zip(table.T, limits, strict=True):
        assert BOUNDS[name](losses, min(limit + 1e-9, 1 - 1e-12)) <= 0.1 < BOUNDS[name](losses, limit - 1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_certifies_and_can_be_verified(name):
    values = np.stack([binary(k, 900) for k in (0, 2, 500)], axis=1)
    values = values[np.random.default_rng(0).permutation(900)]
    losses = Losses(
        values=values, names=("a", "b", "c"), sparsities=(0.5, 0.7, 0.9), loss="error", split="certification"
    )
    certificate = certify(losses, alpha=0.1, delta=0.05, bound=name)
    assert (certificate.bound, certificate.selected) == (name, 1)
    check(certificate, losses)
    limits = upper_bounds(values, delta=0.05, bound=name)
    assert list(limits <= 0.1) == [True, True, False]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_file_says_of_counts_is_its_p_value(name):
    module = BOUNDS.module(name)
    for formula in ("of_sum", "of_count"):
        if not hasattr(module, formula):
            continue
        for k in (0, 1, 3, 29, 30):
            assert float(getattr(module, formula)(float(k), 30, 0.3)) == BOUNDS[name](binary(k, 30), 0.3)


@pytest.mark.parametrize("name", NAMES)
def test_names_its_source(name):
    what, source = BOUNDS.summary(name)
    assert what.endswith(".")
    assert "arXiv" in source
