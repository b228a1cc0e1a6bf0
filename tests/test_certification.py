"""The certificate as a procedure: what it selects, and how often it is wrong, by enumeration of all outcomes."""

import itertools
from functools import cache

import numpy as np
import pytest
from scipy.stats import binom

from prudent.bounds.binomial import binomial
from prudent.certification import certify, check
from prudent.errors import BadInput, BrokenCertificate, SplitMisuse, UnknownName
from prudent.types import Losses


def table(counts, n, *, split="certification", loss="error") -> Losses:
    values = np.stack([np.r_[np.ones(k), np.zeros(n - k)] for k in counts], axis=1)
    m = len(counts)
    return Losses(
        values=values, names=tuple(f"c{i}" for i in range(m)), sparsities=tuple((i + 1) / (m + 1) for i in range(m)),
        loss=loss, split=split,
    )  # fmt: skip


def test_walks_from_the_densest_and_stops_at_the_first_failure():
    losses = table([1, 2, 40, 0], 450)
    certificate = certify(losses, alpha=0.05, delta=0.05)
    assert certificate.selected == 1, "a later candidate that would pass is not reached"
    assert certificate.counts == (1, 2, 40, 0)
    assert certificate.empirical_risks == pytest.approx([1 / 450, 2 / 450, 40 / 450, 0])
    assert certificate.p_values == pytest.approx([binom.cdf(k, 450, 0.05) for k in (1, 2, 40, 0)], rel=1e-12)
    assert certificate.states == ("passed", "passed", "stopped", "not tested")
    assert (certificate.n, certificate.risk, certificate.bound) == (450, "error", "binomial")


def test_nothing_certified_is_a_result():
    assert certify(table([40, 0], 450), alpha=0.05, delta=0.05).selected is None


def test_all_certified():
    assert certify(table([0, 1, 2], 450), alpha=0.05, delta=0.05).selected == 2


def test_p_value_exactly_at_delta_passes():
    losses = table([14], 450)
    p = float(binomial(losses.values[:, 0], 0.05))
    assert certify(losses, alpha=0.05, delta=p).selected == 0
    assert certify(losses, alpha=0.05, delta=np.nextafter(p, 0)).selected is None


def test_any_function_can_be_the_bound():
    def never(losses, alpha):
        return 1.0

    certificate = certify(table([0], 10), alpha=0.5, delta=0.5, bound=never)
    assert (certificate.bound, certificate.selected) == ("never", None)


def test_a_bound_of_ones_own_cannot_take_the_name_of_another():
    def renamed(losses, alpha):
        return 0.0

    renamed.__name__ = "binomial"
    with pytest.raises(BadInput, match="name of its own: 'binomial'"):
        certify(table([10], 10), alpha=0.5, delta=0.5, bound=renamed)
    assert certify(table([0], 10), alpha=0.5, delta=0.5, bound=binomial).bound == "binomial"


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan"), None, "small"])
def test_what_is_no_p_value_is_refused(value):
    with pytest.raises(BadInput, match=r"a p-value lies in \[0, 1\]"):
        certify(table([0], 10), alpha=0.5, delta=0.5, bound=Answering(value))


class Answering:
    """A bound that always gives the same value, whatever it is."""

    def __init__(self, value) -> None:
        self.value = value

    def __call__(self, losses, alpha):
        return self.value


def test_numpys_floats_are_levels_like_any_other():
    plain = certify(table([1], 450), alpha=0.05, delta=0.05)
    other = certify(table([1], 450), alpha=np.float64(0.05), delta=np.float64(0.05))
    assert (other, other.sentence()) == (plain, plain.sentence())
    assert type(other.alpha) is type(other.delta) is float


@cache
def selected_of(counts, n, alpha, delta) -> int | None:
    return certify(table(counts, n), alpha=alpha, delta=delta).selected


@pytest.mark.parametrize("risks", [(0.2, 0.3, 0.5), (0.1, 0.2001, 0.9), (0.05, 0.3, 0.1), (0.21, 0.21, 0.21)])
@pytest.mark.parametrize("delta", [0.05, 0.2])
def test_valid_for_independent_candidates_by_enumeration(risks, delta):
    n, alpha = 15, 0.2
    wrong = 0.0
    for counts in itertools.product(range(n + 1), repeat=3):
        selected = selected_of(counts, n, alpha, delta)
        if selected is not None and risks[selected] > alpha:
            wrong += float(np.prod([binom.pmf(k, n, r) for k, r in zip(counts, risks, strict=True)]))
    assert wrong <= delta


@pytest.mark.parametrize("shares", [(0.1, 0.15, 0.3), (0.0, 0.25, 0.2), (0.21, 0.0, 0.0)])
def test_valid_for_candidates_that_lose_together_by_enumeration(shares):
    # each example: lost by all, by the two sparser ones, by the sparsest alone, or by none; nested as masks are
    n, alpha, delta = 12, 0.2, 0.1
    risks = np.cumsum(shares)
    probabilities = [*shares, 1 - sum(shares)]
    wrong = total = 0.0
    for split in itertools.product(range(n + 1), repeat=3):
        if sum(split) > n:
            continue
        chance = multinomial([*split, n - sum(split)], probabilities)
        total += chance
        selected = certify(table(np.cumsum(split), n), alpha=alpha, delta=delta).selected
        if selected is not None and risks[selected] > alpha:
            wrong += chance
    assert total == pytest.approx(1)
    assert wrong <= delta


def multinomial(counts, probabilities) -> float:
    from scipy.stats import multinomial as distribution

    return float(distribution.pmf(counts, sum(counts), probabilities))


def test_a_wrong_walk_would_be_caught():
    # what the enumeration above would find in a procedure that picks the sparsest passing candidate without a walk
    n, alpha, delta, risks = 15, 0.2, 0.05, (0.21, 0.21, 0.21)
    wrong = 0.0
    for counts in itertools.product(range(n + 1), repeat=3):
        passing = [i for i, k in enumerate(counts) if binom.cdf(k, n, alpha) <= delta]
        if passing:
            wrong += float(np.prod([binom.pmf(k, n, r) for k, r in zip(counts, risks, strict=True)]))
    assert wrong > delta


@pytest.mark.parametrize("split", ["test", "validation", "train", "ood"])
def test_other_splits_are_refused(split):
    with pytest.raises(SplitMisuse, match=f"come from '{split}'"):
        certify(table([0], 100, split=split), alpha=0.1, delta=0.1)


@pytest.mark.parametrize(("alpha", "delta"), [(0.0, 0.1), (1.0, 0.1), (0.1, 0.0), (0.1, 1.0), (float("nan"), 0.1)])
def test_levels_outside_the_open_interval_are_refused(alpha, delta):
    with pytest.raises(BadInput, match=r"lies in \(0, 1\)"):
        certify(table([0], 100), alpha=alpha, delta=delta)


def test_unknown_bound():
    with pytest.raises(UnknownName, match="Did you mean 'binomial'"):
        certify(table([0], 100), alpha=0.1, delta=0.1, bound="binomal")


def test_check_finds_every_change():
    import dataclasses

    losses = table([1, 2, 40], 450)
    good = certify(losses, alpha=0.05, delta=0.05)
    check(good, losses)
    for change in (
        {"alpha": 0.04}, {"delta": 0.06}, {"n": 451}, {"selected": 2}, {"selected": None}, {"counts": (1, 2, 4)},
        {"p_values": (0.0, 0.0, 0.0)}, {"p_values": good.p_values[:2]}, {"empirical_risks": (0.0, 0.0, 0.0)},
        {"risk": "disagreement"}, {"sparsities": (0.25, 0.5, 0.99)}, {"names": ("a", "b", "c")}, {"data": "x"},
        {"procedure": "other"}, {"dense": "x"}, {"models": ("a", "b", "c")},
    ):  # fmt: skip
        changed = dataclasses.replace(good, **change)
        if change == {"delta": 0.06}:
            check(changed, losses)  # another claim, and a true one: the file's own hash is what protects delta
            continue
        with pytest.raises(BrokenCertificate, match="its losses give"):
            check(changed, losses)
