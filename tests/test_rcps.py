"""Risk-controlling prediction sets against reference vectors, a definition by loop and fixed sequences."""

import numpy as np
import pytest
from scipy.stats import binom

from prudent.errors import BadInput
from prudent.intervals import upper_limit
from prudent.procedures.fixed_sequence import fixed_sequence
from prudent.rcps import last_controlled
from tests.conftest import VECTORS


def test_reference_scans_from_the_safe_end():
    v = VECTORS["rcps_hoeffding_nonmonotone"]
    i, expected = v["inputs"], v["expected"]
    upper = np.array(i["rhat"]) + np.sqrt(np.log(1 / i["delta"]) / (2 * i["n"]))
    assert upper == pytest.approx(expected["ucb"], abs=1e-12)
    # there the last lambda is the conservative one
    found = last_controlled(upper[::-1].copy(), alpha=i["alpha"])
    assert found is not None
    assert i["lambdas"][::-1][found] == expected["lambda_hat"] != expected["first_crossing_from_left"]


def test_definition_by_loop():
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(500):
        upper = np.round(rng.random(6) * 0.4, 1)
        upper[rng.random(6) < 0.1] = np.nan
        expected = None
        for j, u in enumerate(upper):
            if not u <= 0.2:
                break
            expected = j
        assert last_controlled(upper, alpha=0.2) == expected
        seen.add(expected)
    assert {None, 0, 1, 2} <= seen


def test_equality_is_controlled_and_both_ends_are_said():
    assert last_controlled(np.array([0.2, 0.2]), alpha=0.2) == 1
    assert last_controlled(np.array([0.1, np.nextafter(0.2, 1)]), alpha=0.2) == 0
    assert last_controlled(np.array([1.3, 0.1]), alpha=0.2) is None
    assert last_controlled(np.array([np.nan, 0.1]), alpha=0.2) is None
    assert last_controlled(np.array([0.1, np.inf]), alpha=0.2) == 0


def test_exact_upper_limits_select_what_exact_p_values_certify():
    rng = np.random.default_rng(1)
    n, alpha, delta = 60, 0.2, 0.1
    some = 0
    for _ in range(200):
        counts = np.sort(rng.integers(0, 15, 5)) + rng.integers(0, 3, 5)
        upper = np.array([upper_limit(int(k), n, delta=delta) for k in counts])
        certified = fixed_sequence(binom.cdf(counts, n, alpha), delta=delta)
        expected = int(certified.sum()) - 1 if certified[0] else None
        assert last_controlled(upper, alpha=alpha) == expected
        some += expected is not None
    assert some > 50


def test_valid_by_enumeration_for_risks_that_are_not_monotone():
    # two candidates judged on independent examples: all (n + 1)^2 outcomes
    n, alpha, delta = 40, 0.1, 0.2
    upper = np.array([upper_limit(k, n, delta=delta) for k in range(n + 1)])
    for first, second in ((0.1, 0.02), (0.02, 0.1), (0.1, 0.1), (0.15, 0.3), (0.05, 0.11)):
        chance = np.outer(binom.pmf(np.arange(n + 1), n, first), binom.pmf(np.arange(n + 1), n, second))
        wrong = 0.0
        for a in range(n + 1):
            for b in range(n + 1):
                found = last_controlled(upper[[a, b]], alpha=alpha)
                wrong += chance[a, b] * (found is not None and (first, second)[found] >= alpha)
        assert wrong <= delta


@pytest.mark.parametrize(
    ("upper", "alpha"),
    [
        (np.zeros(0), 0.1), (np.zeros((2, 2)), 0.1), (np.array([-0.1, 0.2]), 0.1), (np.array(["a"]), 0.1),
        (np.array([0.1]), 0.0), (np.array([0.1]), 1.0), (np.array([0.1]), float("nan")),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("unchecked")
def test_refuses(upper, alpha):
    with pytest.raises(BadInput):
        last_controlled(upper, alpha=alpha)
