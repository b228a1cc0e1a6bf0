from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import binom

from prudent.bounds.hoeffding_bentkus import hoeffding_bentkus
from prudent.certification import certify
from prudent.errors import BadInput
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


def test_refusals():
    with pytest.raises(BadInput):
        most_losses(10, alpha=0, delta=0.1)
