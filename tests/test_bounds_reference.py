"""Bounds against reference vectors computed with mpmath, and at the ends of the float range."""

import numpy as np
import pytest

from prudent.bounds.binomial import binomial
from prudent.bounds.hoeffding_bentkus import hoeffding_bentkus
from prudent.errors import BadInput
from tests.conftest import vectors

PVALUES = [v for v in vectors("pvalues") if "hb" in v["expected"]]


def losses_with_sum(total: float | str, n: int) -> np.ndarray:
    total = float(total)
    values = np.zeros(n)
    values[: int(total)] = 1
    if total != int(total):
        values[int(total)] = total - int(total)
    return values


@pytest.mark.parametrize("v", PVALUES, ids=lambda v: v["name"])
def test_hoeffding_bentkus(v):
    i = v["inputs"]
    got = hoeffding_bentkus(losses_with_sum(i["loss_sum"], i["n"]), i["alpha"])
    assert got == pytest.approx(v["expected"]["hb"], rel=1e-9)


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
    assert hoeffding_bentkus(tenths, 0.2) == pytest.approx(hoeffding_bentkus(losses_with_sum(3, 100), 0.2), rel=1e-12)


def test_large_samples_against_a_sum_with_60_digits():
    import mpmath

    n, alpha = 100_000, 0.05
    with mpmath.workdps(60):
        a = mpmath.mpf(alpha)
        for k in (4600, 4900, 5000, 5100):
            term = mpmath.binomial(n, k) * a**k * (1 - a) ** (n - k)
            exact = mpmath.mpf(0)
            for j in range(k, -1, -1):
                exact += term
                term *= j / (n - j + mpmath.mpf(1)) * (1 - a) / a
            assert binomial(losses_with_sum(k, n), alpha) == pytest.approx(float(exact), rel=1e-8)


def test_underflow_is_zero_not_nan():
    assert hoeffding_bentkus(np.zeros(100_000), 0.05) == 0.0
    assert binomial(np.zeros(100_000), 0.05) == 0.0


def test_binomial_refuses_fractions():
    with pytest.raises(BadInput, match="use hoeffding_bentkus"):
        binomial(np.array([0.0, 0.5]), 0.1)
