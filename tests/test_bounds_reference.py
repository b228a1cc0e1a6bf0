"""Bounds against reference vectors of mpmath, definitions by loop, each other, and at the ends of the float range."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.optimize import brentq

from prudent.bounds import BOUNDS
from prudent.bounds._sums import log_chernoff, log_pmf
from prudent.bounds.binomial import binomial
from prudent.bounds.empirical_bernstein import empirical_bernstein
from prudent.bounds.fixed_bet import fixed_bet
from prudent.bounds.hockey_stick import hockey_stick
from prudent.bounds.hoeffding import hoeffding
from prudent.bounds.hoeffding_bentkus import hoeffding_bentkus
from prudent.bounds.kl_hoeffding import kl_hoeffding
from prudent.errors import BadInput
from prudent.planning import most_losses
from tests.conftest import VECTORS, vectors

PVALUES = [v for v in vectors("pvalues") if "hb" in v["expected"]]


def losses_with_sum(total: float | str, n: int) -> np.ndarray:
    total = float(total)
    values = np.zeros(n)
    values[: int(total)] = 1
    if total != int(total):
        values[int(total)] = total - int(total)
    return values


@pytest.mark.parametrize(
    ("bound", "key"),
    [(hoeffding_bentkus, "hb"), (kl_hoeffding, "hoeffding_kl"), (hoeffding, "hoeffding_plain")],
    ids=["hoeffding_bentkus", "kl_hoeffding", "hoeffding"],
)
@pytest.mark.parametrize("v", PVALUES, ids=lambda v: v["name"])
def test_bounds_by_the_sum(v, bound, key):
    i = v["inputs"]
    got = bound(losses_with_sum(i["loss_sum"], i["n"]), i["alpha"])
    assert got == pytest.approx(v["expected"][key], rel=1e-9)


@pytest.mark.parametrize(
    "v", [v for v in PVALUES if float(v["inputs"]["loss_sum"]).is_integer()], ids=lambda v: v["name"]
)
def test_binomial(v):
    i = v["inputs"]
    got = binomial(losses_with_sum(i["loss_sum"], i["n"]), i["alpha"])
    assert got == pytest.approx(v["expected"]["binomial_exact_if_binary"], rel=1e-9)


def test_integer_sums_are_not_rounded_up():
    # 0.1 is not exact: a naive sum of 30 of them is above 3, and its ceiling 4
    assert sum([0.1] * 30) > 3
    tenths = np.r_[np.full(30, 0.1), np.zeros(70)]
    for bound in (hoeffding_bentkus, hockey_stick, kl_hoeffding, hoeffding):
        assert bound(tenths, 0.2) == pytest.approx(bound(losses_with_sum(3, 100), 0.2), rel=1e-12)


def exact_cdf(k: int, n: int, alpha: float, digits: int = 60) -> float:
    import mpmath

    with mpmath.workdps(digits):
        a = mpmath.mpf(alpha)
        term = mpmath.binomial(n, k) * a**k * (1 - a) ** (n - k)
        exact = mpmath.mpf(0)
        for j in range(k, -1, -1):
            exact += term
            if term < exact * mpmath.mpf(10) ** -25:
                break
            term *= j / (n - j + mpmath.mpf(1)) * (1 - a) / a
        return float(exact)


@pytest.mark.parametrize(("n", "ks"), [(100_000, (4600, 4900, 5000, 5100)), (1_000_000, (49_000, 49_700, 50_100))])
def test_large_samples_against_a_sum_with_60_digits(n, ks):
    for k in ks:
        assert binomial(losses_with_sum(k, n), 0.05) == pytest.approx(exact_cdf(k, n, 0.05), rel=1e-8)


@pytest.mark.parametrize("n", [1, 2, 15, 40, 3000, 10**6])
@pytest.mark.parametrize("alpha", [1e-4, 0.05, 0.5, 0.97])
def test_logarithms_of_binomial_probabilities(n, alpha):
    import mpmath

    for k in sorted({0, 1, n // 3, n // 2, n - 1, n} | {min(n, round(n * alpha))}):
        with mpmath.workdps(40):
            a = mpmath.mpf(alpha)
            exact = mpmath.log(mpmath.binomial(n, k)) + k * mpmath.log(a) + (n - k) * mpmath.log(1 - a)
        assert float(log_pmf(k, n, alpha)) == pytest.approx(float(exact), rel=1e-12, abs=1e-9)


def hockey_stick_exactly(total: Fraction, n: int, alpha: Fraction) -> Fraction:
    """Its definition in fractions: every s, every outcome."""
    chance = [math.comb(n, j) * alpha**j * (1 - alpha) ** (n - j) for j in range(n + 1)]
    ratios = [sum((s - j) * chance[j] for j in range(s)) / (s - total) for s in range(math.floor(total) + 1, n + 1)]
    return min([Fraction(1), *ratios])


@pytest.mark.parametrize("n", [1, 7, 30])
@pytest.mark.parametrize("alpha", [Fraction(1, 20), Fraction(3, 10), Fraction(9, 10)])
def test_hockey_stick_by_its_definition_in_fractions(n, alpha):
    for quarters in range(0, 4 * n + 1, max(1, n // 5)):
        total = Fraction(quarters, 4)
        got = hockey_stick(losses_with_sum(float(total), n), float(alpha))
        assert got == pytest.approx(float(hockey_stick_exactly(total, n, alpha)), rel=1e-10)


@pytest.mark.parametrize(("n", "total", "alpha"), [(5000, 450, 0.1), (10**6, 49_500, 0.05), (10**6, 45_000, 0.05)])
def test_hockey_stick_of_many_by_a_positive_sum(n, total, alpha):
    # E(s - B)_+ = sum over j < s of P(B <= j): no differences; the probabilities from 60 digits downwards
    best = 1.0
    steps = max(1, int(math.sqrt(n * alpha) / 12))
    for s in range(total + 1, total + 40 * steps, steps):
        reach = min(s, int(60 * math.sqrt(n * alpha)))
        j = np.arange(s - reach, s)
        ratios = np.log(j[1:] / (n - j[1:] + 1.0)) + math.log((1 - alpha) / alpha)
        logs = np.r_[0.0, np.cumsum(ratios[::-1])]  # of P(B = j) from j = s - 1 down
        share = np.exp(logs + float(log_pmf(s - 1, n, alpha)))
        best = min(best, float((np.arange(1, reach + 1) * share).sum()) / (s - total))
    got = hockey_stick(losses_with_sum(total, n), alpha)
    assert got <= best * (1 + 1e-7)
    assert got == pytest.approx(best, rel=5e-3)  # the sum was not tried at every s


@pytest.mark.parametrize("n", [2, 20, 300])
def test_empirical_bernstein_by_a_root_search(n):
    losses = np.random.default_rng(n).beta(0.2, 6, n)
    for alpha in (0.1, 0.3, 0.9):
        mean, variance = losses.mean(), losses.var(ddof=1)

        def excess(level, mean=mean, variance=variance, alpha=alpha):
            return mean + math.sqrt(2 * variance * level / n) + 7 * level / (3 * (n - 1)) - alpha

        level = brentq(excess, 0, 1e6, xtol=1e-14) if mean < alpha else 0
        assert empirical_bernstein(losses, alpha) == pytest.approx(min(1, 2 * math.exp(-level)), rel=1e-9)


def test_fixed_bet_by_its_definition():
    losses = np.random.default_rng(0).random(30)
    for alpha, lam in ((0.6, 0.5), (0.8, 2.0)):
        wealth = math.prod(1 + lam * (alpha - loss) for loss in losses)
        assert fixed_bet(losses, alpha, lam=lam) == pytest.approx(min(1, 1 / wealth), rel=1e-12)
    # the stake that is best for half of alpha is the default's, about
    p_values = [fixed_bet(losses_with_sum(25, 1000), 0.05, lam=lam) for lam in (0.25, 0.5, 1.0)]
    assert p_values[1] == min(p_values)


ORDERINGS = [
    ("binomial", "hockey_stick"), ("hockey_stick", "hoeffding_bentkus"), ("hoeffding_bentkus", "kl_hoeffding"),
    ("kl_hoeffding", "hoeffding"), ("binomial", "beta_mixture"), ("binomial", "fixed_bet"),
    ("binomial", "empirical_bernstein"),
]  # fmt: skip


@pytest.mark.parametrize(("smaller", "larger"), ORDERINGS)
@pytest.mark.parametrize(("n", "alpha"), [(1, 0.3), (40, 0.1), (200, 0.02), (200, 0.6)])
def test_which_is_never_above_which(smaller, larger, n, alpha):
    for k in range(n + 1):
        losses = losses_with_sum(k, n)
        assert BOUNDS[smaller](losses, alpha) <= BOUNDS[larger](losses, alpha) * (1 + 1e-9) + 1e-300


@pytest.mark.parametrize(("smaller", "larger"), ORDERINGS[1:4])
def test_which_is_never_above_which_on_fractions(smaller, larger):
    rng = np.random.default_rng(0)
    for _ in range(60):
        losses, alpha = rng.beta(0.5, 5, rng.integers(1, 80)), float(rng.uniform(0.02, 0.6))
        assert BOUNDS[smaller](losses, alpha) <= BOUNDS[larger](losses, alpha) * (1 + 1e-9) + 1e-300


@pytest.mark.parametrize(
    ("n", "alpha", "delta", "expected"),
    [
        # the most losses that certify, computed elsewhere
        (500, 0.1, 0.1, {"binomial": 40, "hoeffding_bentkus": 37, "kl_hoeffding": 36, "hoeffding": 26}),
        (1000, 0.05, 0.05, {"binomial": 38, "hoeffding_bentkus": 35, "kl_hoeffding": 34, "hoeffding": 11}),
        (5000, 0.1, 0.1, {"binomial": 472, "hoeffding_bentkus": 461, "kl_hoeffding": 455, "hoeffding": 424}),
        (10000, 0.05, 0.05, {"binomial": 463, "hoeffding_bentkus": 454, "kl_hoeffding": 447, "hoeffding": 377}),
        (1000, 0.05, 0.1, {"binomial": 40, "hoeffding_bentkus": 37, "hockey_stick": 38}),
        (1000, 0.1, 0.1, {"binomial": 87, "hoeffding_bentkus": 82, "hockey_stick": 83}),
        (5000, 0.05, 0.1, {"binomial": 229, "hoeffding_bentkus": 222, "hockey_stick": 223}),
    ],
)
def test_power_against_reference(n, alpha, delta, expected):
    assert {bound: most_losses(n, alpha=alpha, delta=delta, bound=bound) for bound in expected} == expected


def test_hockey_stick_against_reference():
    for k, n, alpha, hb, hockey, exact in (
        (40, 1000, 0.05, 0.219, 0.172, 0.081),
        (80, 1000, 0.1, 0.0479, 0.0391, 0.0176),
        (35, 500, 0.1, 0.0335, 0.0254, 0.0123),
    ):
        losses = losses_with_sum(k, n)
        assert hoeffding_bentkus(losses, alpha) == pytest.approx(hb, rel=5e-3)
        assert hockey_stick(losses, alpha) == pytest.approx(hockey, rel=5e-3)
        assert binomial(losses, alpha) == pytest.approx(exact, rel=7e-3)


def test_empirical_bernstein_wins_where_losses_vary_little():
    losses = np.tile([0.19, 0.21], 1000)
    assert empirical_bernstein(losses, 0.25) < 1e-10 < hockey_stick(losses, 0.25)


def test_betting_certifies_more_than_half_of_what_the_best_does():
    # 35 of 1000 by the median order, computed elsewhere
    orders = np.random.default_rng(0)
    passed = {}
    for k in (32, 38):
        losses = losses_with_sum(k, 1000)
        p_values = [BOUNDS["betting"](orders.permutation(losses), 0.05) for _ in range(101)]
        passed[k] = np.mean(np.array(p_values) <= 0.05)
    assert passed[32] > 0.8
    assert passed[38] < 0.5


def test_underflow_is_zero_not_nan():
    v = VECTORS["hb_underflow_log"]
    n, alpha = v["inputs"]["n"], v["inputs"]["alpha"]
    assert float(log_chernoff(0.0, n, alpha)) == pytest.approx(v["expected"]["log_hoeffding_kl"], abs=v["tolerance"])
    for name in BOUNDS:
        assert 0 <= BOUNDS[name](np.zeros(100_000), 0.05) < 1e-50
    for bound in (hoeffding_bentkus, binomial, hockey_stick, kl_hoeffding):
        assert bound(np.zeros(100_000), 0.05) == 0.0


def test_without_losses_no_p_value_is_below_the_chance_of_that():
    for n, alpha in itertools.product((1, 20, 300), (0.01, 0.2)):
        exact = (1 - alpha) ** n
        for name in BOUNDS:
            assert BOUNDS[name](np.zeros(n), alpha) >= exact * (1 - 1e-12)
        for name in ("binomial", "kl_hoeffding", "hoeffding_bentkus", "hockey_stick"):
            assert BOUNDS[name](np.zeros(n), alpha) == pytest.approx(exact, rel=1e-12)


def test_binomial_refuses_fractions():
    with pytest.raises(BadInput, match="use hoeffding_bentkus"):
        binomial(np.array([0.0, 0.5]), 0.1)


def test_hoeffding_bentkus_beside_mapie():
    mapie = pytest.importorskip("mapie.risk_control.methods", reason="MAPIE is not installed")
    for n, alpha in ((64, 0.1), (1024, 0.05), (4096, 0.02)):  # powers of two: its n * (k / n) is exact there
        ks = np.arange(1, n, max(1, n // 40))
        theirs = mapie.compute_hoeffding_bentkus_p_value(ks / n, n, alpha)[:, 0]
        ours = [hoeffding_bentkus(losses_with_sum(k, n), alpha) for k in ks]
        np.testing.assert_allclose(ours, np.minimum(theirs, 1), rtol=1e-8, atol=1e-300)
    # where it is not, one loss more is counted, and power is lost
    assert mapie.compute_hoeffding_bentkus_p_value(np.array([0.07]), 100, 0.1)[0, 0] > 1.02 * hoeffding_bentkus(
        losses_with_sum(7, 100), 0.1
    )


def test_betting_is_valid_where_mapies_is_not():
    """All 4,096 sequences: MAPIE adds the peaks of two halves, which exceeds delta; one stream of bets does not."""
    pytest.importorskip("mapie.risk_control.methods", reason="MAPIE is not installed")
    from benchmarks.mapie import exact_chance, mapie_excludes, own_excludes

    assert exact_chance(12, 0.3, 0.2, mapie_excludes) > 0.21
    assert exact_chance(12, 0.3, 0.2, own_excludes) <= 0.2
