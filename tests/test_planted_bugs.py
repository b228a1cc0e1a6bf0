"""Bugs that others' certificates have had, planted on purpose: the checks of the contract must see each of them.

Every check runs twice, on the package as it is, where it passes, and with the bug, where it must fail.
"""

import importlib
import itertools
import math

import numpy as np
import pytest

from prudent.bounds import BOUNDS
from prudent.bounds._sums import log_chernoff, tail
from prudent.procedures._checks import checked
from prudent.procedures.fixed_sequence import fixed_sequence
from tests.contract import test_bounds as contract
from tests.joint_losses import assert_valid

bentkus = importlib.import_module("prudent.bounds.hoeffding_bentkus")
betting = importlib.import_module("prudent.bounds.betting")
binomial = importlib.import_module("prudent.bounds.binomial")


def other_losses(name):
    for (values, weights), n in itertools.product(contract.SPREADS, (6, 10, 20)):
        contract.test_valid_on_other_losses_or_refused(name, values, weights, n)


def whole_procedure(procedure):
    for delta in (0.11, 0.35):
        assert_valid(procedure, 6, 0.5, delta)


def binary_losses(name):
    for alpha in (0.02, 0.1, 0.5):
        contract.test_valid_on_binary_losses_by_enumeration_of_all_outcomes(name, 50, alpha)


def sequences(name):
    for values, weights in (((0.0, 1.0), (0.7, 0.3)), *contract.SPREADS):
        contract.test_valid_where_the_order_counts_by_enumeration_of_all_sequences(name, values, weights)


def hoeffding_bentkus(total, n, alpha, *, factor=math.e, whole=np.ceil):
    """As in the package but for what is planted."""
    sides = np.exp(log_chernoff(total, n, alpha)), factor * tail(whole(total), n, alpha)
    return np.asarray(np.minimum(1.0, np.minimum(*sides)))


def without_e(total, n, alpha):
    return hoeffding_bentkus(total, n, alpha, factor=1.0)


def floor_for_ceil(total, n, alpha):
    return hoeffding_bentkus(total, n, alpha, whole=np.floor)


def one_loss_less(total, n, alpha):
    return tail(np.maximum(np.asarray(total) - 1, 0), n, alpha)


def half_a_p_value(total, n, alpha):
    return tail(total, n, alpha) / 2


def two_sided(losses, alpha, *, delta):
    """Wealth from both sides of alpha, half of the stake on each: risks far above it are evidence, too."""
    one, other = (original(each, level, delta=delta) for each, level in ((losses, alpha), (1 - losses, 1 - alpha)))
    return np.logaddexp(one, other) - math.log(2)


def stakes_of_the_end(losses, alpha, *, delta):
    """Stakes that know all losses, also those that are still to come."""
    spread = max(float(losses.var()), 1e-3)
    stake = min(1.0, math.sqrt(2 * math.log(1 / delta) / (len(losses) * spread)))
    return np.cumsum(np.log1p(stake * np.sign(alpha - losses.mean()) * (alpha - losses) * 0.9))


original = betting.log_wealth_betting

BUGS = [
    (bentkus, "of_sum", without_e, other_losses),
    (bentkus, "of_sum", floor_for_ceil, other_losses),
    (binomial, "of_sum", one_loss_less, binary_losses),
    (binomial, "of_sum", half_a_p_value, binary_losses),
    (betting, "log_wealth_betting", two_sided, contract.test_a_risk_above_alpha_is_no_evidence),
    (betting, "log_wealth_betting", stakes_of_the_end, sequences),
]


@pytest.mark.parametrize(("module", "name", "bug", "check"), BUGS)
def test_a_planted_bug_of_a_bound_is_seen(module, name, bug, check, monkeypatch):
    bound = module.__name__.rpartition(".")[2]
    check(bound)
    before = BOUNDS[bound](np.r_[np.ones(3), np.zeros(57)], 0.2)
    monkeypatch.setattr(module, name, bug)
    assert BOUNDS[bound](np.r_[np.full(3, 0.95), np.zeros(57)] if bound != "binomial" else binary(), 0.2) != before
    with pytest.raises(AssertionError):
        check(bound)


def binary():
    return contract.binary(3, 60)


def test_the_copy_that_bugs_are_planted_in_is_the_bound():
    for k, n, alpha in ((0.0, 9, 0.1), (2.3, 40, 0.2), (30.0, 40, 0.2)):
        assert hoeffding_bentkus(k, n, alpha) == bentkus.of_sum(k, n, alpha)


def doubled(p_values, *, delta):
    return fixed_sequence(p_values, delta=min(2 * delta, 0.999))


def not_stopped(p_values, *, delta):
    return checked(p_values, delta) <= delta


def one_more(p_values, *, delta):
    """Certifies the first that does not pass, too."""
    passed = int(fixed_sequence(p_values, delta=delta).sum())
    return np.arange(len(p_values)) <= passed


def from_the_sparsest(p_values, *, delta):
    """Walks down from the sparsest candidate until one passes, without a correction."""
    passed = np.flatnonzero(checked(p_values, delta) <= delta)
    return np.arange(len(p_values)) <= (passed[-1] if len(passed) else -1)


@pytest.mark.parametrize("bug", [doubled, not_stopped, one_more, from_the_sparsest])
def test_a_planted_bug_of_the_walk_is_seen(bug):
    whole_procedure(fixed_sequence)
    with pytest.raises(AssertionError):
        whole_procedure(bug)
