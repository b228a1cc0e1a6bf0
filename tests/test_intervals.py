from itertools import product

import numpy as np
import pytest
from scipy.stats import binom, t, ttest_rel

from prudent.errors import BadInput
from prudent.intervals import (
    clopper_pearson,
    lower_limit,
    median_interval,
    over_seeds,
    paired_over_seeds,
    quantile_rank,
    upper_limit,
)
from tests.conftest import vectors


@pytest.mark.parametrize("v", vectors("bounds", "clopper_pearson"), ids=lambda v: v["name"])
def test_against_reference(v):
    k, n, delta = (v["inputs"][name] for name in ("k", "n", "delta"))
    assert upper_limit(k, n, delta=delta) == pytest.approx(v["expected"]["upper"], rel=1e-9)
    assert lower_limit(k, n, delta=delta) == pytest.approx(v["expected"]["lower"], rel=1e-9, abs=1e-15)


def test_two_sided_agrees_with_scipy():
    from scipy.stats import binomtest

    for k, n in ((0, 10), (3, 10), (10, 10), (17, 400)):
        interval = binomtest(k, n).proportion_ci(0.95, method="exact")
        assert clopper_pearson(k, n) == pytest.approx((interval.low, interval.high), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("n", [1, 7, 40])
@pytest.mark.parametrize("delta", [0.01, 0.1, 0.5])
def test_upper_limit_covers_by_exact_enumeration(n, delta):
    from scipy.stats import binom

    for truth in np.linspace(0.001, 0.999, 41):
        missed = sum(binom.pmf(k, n, truth) for k in range(n + 1) if upper_limit(k, n, delta=delta) < truth)
        assert missed <= delta + 1e-12


def test_over_seeds():
    few = over_seeds([0.1, 0.4, 0.2])
    assert (few.value, few.lo, few.hi, few.interval) == (pytest.approx(0.7 / 3), 0.1, 0.4, "range of 3 seeds")
    one = over_seeds([0.5], better="higher")
    assert (one.lo, one.hi, one.interval, one.better) == (None, None, "", "higher")
    values = [1.0, 2.0, 4.0, 4.5, 9.0]
    many = over_seeds(values)
    expected = t.interval(0.95, 4, loc=np.mean(values), scale=np.std(values, ddof=1) / np.sqrt(5))
    assert (many.lo, many.hi) == pytest.approx(expected)
    assert "t interval of the mean over 5 seeds" in many.interval
    with pytest.raises(BadInput, match="at least one seed"):
        over_seeds([])


def test_intervals_of_shares_do_not_leave_them():
    values = [0.9, 1.0, 0.97, 1.0, 0.99]
    free, kept = over_seeds(values, better="higher"), over_seeds(values, better="higher", within=(0, 1))
    assert free.hi > 1
    assert (kept.value, kept.lo, kept.hi, kept.better) == (free.value, free.lo, 1.0, "higher")
    assert kept.interval == free.interval + ", cut off at 1"
    low = over_seeds([0.0, 0.0, 0.01, 0.0, 0.03], within=(0, 1))
    assert (low.lo, low.interval.endswith(", cut off at 0")) == (0.0, True)
    both = over_seeds([0.0, 1.0, 0.0, 1.0, 0.5], within=(0, 1))
    assert (both.lo, both.hi, both.interval.endswith("cut off at 0 and 1")) == (0.0, 1.0, True)
    inside = over_seeds([0.4, 0.5, 0.45, 0.5, 0.41], within=(0, 1))
    assert inside == over_seeds([0.4, 0.5, 0.45, 0.5, 0.41])
    assert over_seeds([1.0, 0.5, 1.0], within=(0, 1)) == over_seeds([1.0, 0.5, 1.0]), "a range ends at values"
    values = [-0.1, 0.1, 0.2, 0.3, 0.9]
    assert over_seeds(values, within=(0, 1)) == over_seeds(values), "0 is no end of what goes below it"
    assert over_seeds([2 - v for v in values], within=(0, 2)) == over_seeds([2 - v for v in values])
    rounded = over_seeds([1 + 1e-12] * 5, within=(0, 1))
    assert rounded.lo <= rounded.value <= rounded.hi


def test_paired_over_seeds():
    dense, pruned = [1.0, 2.0, 4.0, 4.5, 9.0, 3.0], [1.5, 2.4, 4.9, 4.6, 9.7, 3.2]
    found = paired_over_seeds(dense, pruned)
    expected = ttest_rel(pruned, dense).confidence_interval(0.95)
    assert (found.lo, found.hi) == pytest.approx((expected.low, expected.high))
    assert found.value == pytest.approx(np.mean(np.subtract(pruned, dense)))
    assert found.interval.endswith("t interval of the difference over 6 seeds")
    assert found.hi - found.lo < over_seeds(dense).hi - over_seeds(dense).lo, "what seeds share falls out"
    back = paired_over_seeds(pruned, dense, better="higher")
    assert (back.lo, back.hi, back.better) == (pytest.approx(-found.hi), pytest.approx(-found.lo), "higher")
    wider = paired_over_seeds(dense, pruned, looked_at=10)
    assert (wider.lo, wider.hi) == pytest.approx(tuple(ttest_rel(pruned, dense).confidence_interval(0.995)))
    few = paired_over_seeds(dense[:3], pruned[:3])
    assert (few.lo, few.hi, few.interval) == (pytest.approx(0.4), pytest.approx(0.9), "range of 3 seeds")
    assert paired_over_seeds([1.0], [2.0]).lo is None


@pytest.mark.parametrize(
    ("dense", "pruned", "looked_at", "message"),
    [
        ([1.0], [1.0, 2.0], 1, "both networks of each seed; got 1 and 2"),
        ([], [], 1, "got 0 and 0"),
        ([1.0, float("nan")], [1.0, 2.0], 1, "finite"),
        ([1.0] * 5, [1.0] * 5, 0, ">= 1"),
        ([1.0] * 4, [1.0] * 4, 2, "fewer than 5 seeds cannot be corrected for it; got 2 of 4 seeds"),
    ],
)
def test_pairs_that_are_refused(dense, pruned, looked_at, message):
    with pytest.raises(BadInput, match=message):
        paired_over_seeds(dense, pruned, looked_at=looked_at)


@pytest.mark.parametrize(("k", "n", "delta"), [(-1, 5, 0.1), (6, 5, 0.1), (0, 0, 0.1), (1, 5, 0.0), (1, 5, 1.0)])
def test_refusals(k, n, delta):
    with pytest.raises(BadInput):
        upper_limit(k, n, delta=delta)


@pytest.mark.parametrize("n", range(6, 15))
def test_median_interval_holds_the_level_by_enumeration_of_all_outcomes(n):
    # each value lies below the true median or above it with equal chance: 2 ** n outcomes, all equally likely
    inside = dict.fromkeys(range(1, n // 2 + 1), 0)
    for outcome in product((0, 1), repeat=n):
        below = sum(outcome)
        for k in inside:
            inside[k] += k <= below <= n - k
    wide = [k for k, count in inside.items() if count >= 0.95 * 2**n]
    values = [float(v) for v in np.random.default_rng(n).permutation(n)]
    assert median_interval(values) == (max(wide) - 1.0, float(n - max(wide)))


@pytest.mark.parametrize("n", [20, 51, 200, 1001])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
def test_median_interval_is_the_narrowest_that_holds_by_the_binomial_distribution(n, level):
    values = np.random.default_rng(0).normal(size=n)
    lo, hi = median_interval(list(values), level=level)
    ranked = np.sort(values).tolist()
    k = ranked.index(lo) + 1
    assert ranked.index(hi) == n - k
    assert 1 - 2 * binom.cdf(k - 1, n, 0.5) >= level
    assert 2 * k + 1 > n or 1 - 2 * binom.cdf(k, n, 0.5) < level
    if n == 51 and level == 0.95:
        assert (k, n + 1 - k) == (19, 33)  # the tables' ranks


def test_median_interval_refuses_too_few_values():
    with pytest.raises(BadInput, match="at level 0.95 needs 6 values; got 5"):
        median_interval([1.0] * 5)
    with pytest.raises(BadInput, match="needs 8 values; got 7"):
        median_interval([1.0] * 7, level=0.99)
    assert median_interval([3.0] * 6) == (3.0, 3.0)
    # 6 values miss the median with chance 2 / 2 ** 6 on either side together: exactly this level
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], level=1 - 2 / 2**6) == (1.0, 6.0)
    for level in (0, 1, 1.5):
        with pytest.raises(BadInput, match=r"lies in \(0, 1\)"):
            median_interval([1.0] * 9, level=level)


@pytest.mark.parametrize("v", vectors("bounds", "quantile"), ids=lambda v: v["name"])
def test_rank_of_a_quantile_against_reference(v):
    i = v["inputs"]
    assert quantile_rank(i["n"], quantile=i["beta"], delta=i["delta"]) == v["expected"]["rank"]


@pytest.mark.parametrize("quantile", [0.01, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("delta", [0.013, 0.3])
def test_rank_of_a_quantile_by_trying_all(quantile, delta):
    for n in (1, 2, 30, 299, 1000):
        fit = [r for r in range(1, n + 1) if binom.sf(r - 1, n, quantile) <= delta]
        assert quantile_rank(n, quantile=quantile, delta=delta) == (min(fit) if fit else None)


def test_rank_of_a_quantile_by_simulation():
    draws = np.sort(np.random.default_rng(0).exponential(size=(4000, 100)), axis=1)
    rank = quantile_rank(100, quantile=0.9, delta=0.05)
    wrong = np.mean(draws[:, rank - 1] < -np.log(0.1))
    assert 0.01 < wrong <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 4000)


def test_rank_of_a_quantile_refusals():
    for n, quantile, delta in ((0, 0.9, 0.1), (10, 0.0, 0.1), (10, 1.0, 0.1), (10, 0.9, 0.0)):
        with pytest.raises(BadInput):
            quantile_rank(n, quantile=quantile, delta=delta)
