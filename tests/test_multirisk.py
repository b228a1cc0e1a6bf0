"""The intersection-union test against reference vectors and the enumeration of all outcomes."""

import numpy as np
import pytest
from scipy.stats import binom

from prudent.bounds.binomial import binomial
from prudent.errors import BadInput
from prudent.multirisk import join_risks
from prudent.procedures.fixed_sequence import fixed_sequence
from tests.conftest import VECTORS
from tests.joint_losses import chances, joint_distributions


def test_reference_of_two_risks():
    v = VECTORS["fwer_multirisk_max"]
    joined = join_risks(np.array(v["inputs"]["p_by_risk"]))
    assert joined.p_values.tolist() == v["expected"]["p"]
    certified = fixed_sequence(joined.p_values, delta=v["inputs"]["delta"])
    assert np.flatnonzero(certified).tolist() == v["expected"]["rejected"]
    assert joined.binding.tolist() == [1, 0, 0]


def test_reference_of_the_worst_group():
    v = VECTORS["worst_group_iut"]
    i = v["inputs"]
    p = [binomial(np.repeat([1.0, 0.0], [k, n - k]), i["alpha"]) for k, n in zip(i["k"], i["n"], strict=True)]
    assert p == pytest.approx(v["expected"]["p_groups"], rel=1e-10)
    joined = join_risks(np.array(p)[:, None])
    assert joined.p_values[0] == pytest.approx(v["expected"]["p_worst"], rel=1e-10)
    assert joined.binding[0] == 0


def test_undefined_p_values_count_as_one_and_bind():
    joined = join_risks(np.array([[0.1, 0.9, np.nan, 1.0], [np.nan, 0.2, np.nan, np.nan]]))
    assert joined.p_values.tolist() == [1.0, 0.9, 1.0, 1.0]
    assert joined.binding.tolist() == [1, 0, 0, 0]


def test_definition_by_loop():
    rng = np.random.default_rng(0)
    p = np.round(rng.random((3, 200)), 1)
    joined = join_risks(p)
    for j in range(200):
        worst = max(range(3), key=lambda r: p[r, j])
        assert joined.p_values[j] == p[worst, j]
        assert joined.binding[j] == worst


@pytest.mark.parametrize(("n", "alpha", "delta"), [(6, 0.5, 0.11), (6, 0.5, 0.35), (5, 0.4, 0.34)])
def test_valid_by_enumeration_of_three_risks_on_the_same_examples(n, alpha, delta):
    tail = binom.cdf(np.arange(n + 1), n, alpha)
    k = np.indices((n + 1,) * 3).reshape(3, -1)
    passes = (join_risks(tail[k]).p_values <= delta).reshape((n + 1,) * 3)
    assert passes[0, 0, 0]
    wrong = []
    for cells in joint_distributions(alpha):
        lost = cells @ np.array(list(np.ndindex(2, 2, 2)))
        chance = float(chances(cells, n)[passes].sum())
        if (lost >= alpha - 1e-12).any():
            assert chance <= delta * (1 + 1e-9)
            wrong.append(chance)
    assert max(wrong) > 0.5 * delta, "no correction for the number of risks is needed, and none is made"


@pytest.mark.parametrize(
    "p",
    [np.zeros(3), np.zeros((0, 3)), np.zeros((3, 0)), np.array([[1.1]]), np.array([[-0.1]]), np.array([["a"]])],
)
@pytest.mark.usefixtures("unchecked")
def test_refuses(p):
    with pytest.raises(BadInput):
        join_risks(p)
