from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import binom

from prudent.bounds import BOUNDS
from prudent.bounds.hoeffding_bentkus import hoeffding_bentkus
from prudent.certification import certify
from prudent.errors import BadInput, UnknownName
from prudent.planning import examples_needed, least_examples, most_losses, needed
from tests.conftest import vectors
from tests.test_certification import table


@pytest.mark.parametrize(
    "v", vectors("risk_control", "min_n") + vectors("risk_control", "max_errors"), ids=lambda v: v["name"]
)
def test_against_reference(v):
    i = v["inputs"]
    if "k" in v["expected"]:
        assert most_losses(i["n"], alpha=i["alpha"], delta=i["delta"]) == v["expected"]["k"]
        return
    n, k = v["expected"]["n"], i["errors"]
    assert (most_losses(n, alpha=i["alpha"], delta=i["delta"]) or 0) >= k
    fewer = most_losses(n - 1, alpha=i["alpha"], delta=i["delta"])
    assert fewer is None or fewer < k


@pytest.mark.parametrize("n", [1, 10, 58, 59, 100, 450])
@pytest.mark.parametrize(("alpha", "delta"), [(0.05, 0.05), (0.2, 0.01), (0.5, 0.3)])
def test_most_losses_by_trying_all(n, alpha, delta):
    passing = [k for k in range(n + 1) if binom.cdf(k, n, alpha) <= delta]
    assert most_losses(n, alpha=alpha, delta=delta) == (max(passing) if passing else None)


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.03])
def test_examples_needed_gives_the_wanted_power(rate):
    n = examples_needed(rate, alpha=0.05, delta=0.05, power=0.8)
    k = most_losses(n, alpha=0.05, delta=0.05)
    assert binom.cdf(k, n, rate) >= 0.8
    # and a clearly smaller number does not
    less = int(n * 0.8)
    k = most_losses(less, alpha=0.05, delta=0.05)
    assert k is None or binom.cdf(k, less, rate) < 0.9


def test_examples_needed_knows_when_nothing_helps():
    assert examples_needed(0.05, alpha=0.05, delta=0.05) is None
    assert examples_needed(0.0499999, alpha=0.05, delta=0.05) is None  # more than 1e9
    assert examples_needed(0.0, alpha=0.05, delta=0.05) == 59


def test_needed_in_words():
    assert needed(certify(table([0, 1], 450), alpha=0.05, delta=0.05)) == ""
    text = needed(certify(table([1, 20], 450), alpha=0.05, delta=0.05))
    assert "loses 20 of 450; at most 14 may be lost" in text
    assert "examples would pass 8 times in 10" in text
    hopeless = needed(certify(table([40], 450), alpha=0.05, delta=0.05))
    assert "no number of examples will certify it" in hopeless
    few = needed(certify(table([0], 20), alpha=0.05, delta=0.05))
    assert "at least 59 are needed" in few


def test_counts_for_another_bound_are_that_bounds():
    for n, alpha, delta in ((450, 0.05, 0.05), (100, 0.1, 0.1), (30, 0.05, 0.05)):
        passing = [k for k in range(n + 1) if hoeffding_bentkus(np.repeat([1.0, 0.0], [k, n - k]), alpha) <= delta]
        found = most_losses(n, alpha=alpha, delta=delta, bound="hoeffding_bentkus")
        assert found == (max(passing) if passing else None)
    text = needed(certify(table([13], 450), alpha=0.05, delta=0.05, bound="hoeffding_bentkus"))
    assert "loses 13 of 450; at most 12 may be lost" in text


@pytest.mark.parametrize(("alpha", "delta"), [(0.01, 0.99), (0.05, 0.05), (0.5, 0.5), (0.1, 0.001), (0.9, 0.1)])
def test_the_least_number_of_examples(alpha, delta):
    n = least_examples(alpha=alpha, delta=delta)

    def enough(m):
        return (1 - Fraction(str(alpha))) ** m <= Fraction(str(delta))

    assert enough(n)
    assert n == 1 or not enough(n - 1)


BY_COUNT = sorted(set(BOUNDS) - {"betting", "group_sequential"})


def p_of(bound, k, n, alpha):
    return BOUNDS[bound](np.repeat([1.0, 0.0], [k, n - k]), alpha)


@pytest.mark.parametrize("bound", BY_COUNT)
def test_every_bound_that_counts_is_planned_with(bound):
    for n, alpha, delta in ((450, 0.05, 0.05), (100, 0.1, 0.1), (30, 0.05, 0.05), (1000, 0.1, 0.01)):
        passing = [k for k in range(n // 4) if p_of(bound, k, n, alpha) <= delta]
        assert most_losses(n, alpha=alpha, delta=delta, bound=bound) == (max(passing) if passing else None)
    for alpha, delta in ((0.05, 0.05), (0.2, 0.01), (0.5, 0.3)):
        least = least_examples(alpha=alpha, delta=delta, bound=bound)
        assert p_of(bound, 0, least, alpha) <= delta
        assert least == 1 or p_of(bound, 0, least - 1, alpha) > delta


@pytest.mark.parametrize("bound", BY_COUNT)
def test_examples_needed_by_every_bound(bound):
    n = examples_needed(0.02, alpha=0.05, delta=0.05, bound=bound)
    k = most_losses(n, alpha=0.05, delta=0.05, bound=bound)
    assert binom.cdf(k, n, 0.02) >= 0.8
    less = int(n * 0.85)
    k = most_losses(less, alpha=0.05, delta=0.05, bound=bound)
    assert k is None or binom.cdf(k, less, 0.02) < 0.8
    assert n >= examples_needed(0.02, alpha=0.05, delta=0.05)
    assert examples_needed(0.05, alpha=0.05, delta=0.05, bound=bound) is None


def test_known_numbers_of_examples():
    # without a loss: exp(-2 n alpha^2) <= delta, and where Ville's threshold is crossed by the beta mixture
    assert least_examples(alpha=0.05, delta=0.05, bound="hoeffding") == 600
    assert least_examples(alpha=0.05, delta=0.05, bound="beta_mixture") == 88
    assert least_examples(alpha=0.01, delta=0.1, bound="hoeffding_bentkus") == 230
    assert least_examples(alpha=1e-5, delta=0.05, bound="hoeffding") is None
    text = needed(certify(table([0], 100), alpha=0.05, delta=0.05, bound="hoeffding"))
    assert "at all: at least 600 are needed" in text
    text = needed(certify(table([0], 100), alpha=1e-5, delta=0.05, bound="hoeffding"))
    assert "more than 1,000,000,000 are needed" in text


def test_what_depends_on_the_order_is_not_planned_by_counts():
    for plan in (most_losses, lambda n, **given: least_examples(**given), examples_needed):
        with pytest.raises(BadInput, match="order of losses"):
            plan(0.01 if plan is examples_needed else 100, alpha=0.1, delta=0.1, bound="betting")
    text = needed(certify(table([45], 100), alpha=0.05, delta=0.05, bound="betting"))
    assert text == "More examples, or a candidate with a lower risk, are needed."


def test_refusals():
    with pytest.raises(BadInput):
        most_losses(10, alpha=0, delta=0.1)
    with pytest.raises(UnknownName):
        examples_needed(0.01, alpha=0.05, delta=0.1, bound="binomail")
