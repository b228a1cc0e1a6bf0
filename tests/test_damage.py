"""What pruning hurt most: tests against enumeration, and their validity over all outcomes of no harm."""

from itertools import product
from math import comb

import numpy as np
import pytest
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score

from prudent.damage import (
    Look,
    class_looks,
    corruption_looks,
    drawn_p_value,
    hardest,
    hits,
    holm_adjusted,
    paired_p_value,
    stranger_look,
)
from prudent.errors import BadInput
from prudent.procedures.holm import holm


def enumerated(harm):
    """The share of all signs under which the sum is as large."""
    sums = [int(np.dot(signs, np.abs(harm))) for signs in product((-1, 1), repeat=len(harm))]
    return sum(total >= harm.sum() for total in sums) / len(sums)


@pytest.mark.parametrize(
    "harm",
    [[1, -1, 1, 1], [0, 0, 0], [3, -1, 2, -2, 1, 0], [-1, -1, -3], [5, 5, 5, 4, -3, 2, 2, -1, 1], [2, 2, -2, 2, 0], []],
)
def test_the_p_value_is_the_share_of_all_signs(harm):
    harm = np.array(harm, np.int64)
    assert paired_p_value(harm) == pytest.approx(enumerated(harm), rel=1e-12)


def test_harm_of_one_is_mcnemar_exact_one_sided():
    rng = np.random.default_rng(0)
    for _ in range(20):
        harm = rng.integers(-1, 2, 300)
        b, c = int((harm == 1).sum()), int((harm == -1).sum())
        assert paired_p_value(harm) == pytest.approx(binomtest(b, b + c, 0.5, alternative="greater").pvalue, rel=1e-9)


def test_far_tails_are_neither_zero_nor_rounded():
    assert paired_p_value(np.ones(200, np.int64)) == pytest.approx(2.0**-200, rel=1e-9)
    mixed = np.r_[np.ones(60), 2 * np.ones(60)].astype(np.int64)
    assert paired_p_value(mixed) == pytest.approx(2.0**-120, rel=1e-9)
    assert 0 < paired_p_value(np.ones(5000, np.int64)) <= 1e-300
    assert paired_p_value(-mixed) == 1.0


def test_drawn_signs_come_close_and_are_the_same_twice():
    rng = np.random.default_rng(1)
    harm = rng.integers(-4, 6, 14)
    exact = enumerated(harm)
    found = drawn_p_value(harm, seed=3)
    assert found == drawn_p_value(harm, seed=3)
    assert abs(found - exact) < 4 * np.sqrt(exact * (1 - exact) / 9_999) + 1e-4
    assert drawn_p_value(np.full(40, 7, np.int64)) == 1 / 10_000
    assert drawn_p_value(np.zeros(5, np.int64)) == 1.0
    with pytest.raises(BadInput, match="at least one draw of signs"):
        drawn_p_value(harm, draws=0)
    with pytest.raises(BadInput, match="of at least one sample; got sides=0"):
        drawn_p_value(harm, sides=0)


def test_both_are_valid_over_all_outcomes_of_no_harm():
    """Every sign is equally likely then: of the p-values of all of them, at most a share of delta is at most delta."""
    sizes = np.array([1, 1, 2, 3, 3, 5, 7, 7])
    harms = [sizes * np.array(signs) for signs in product((-1, 1), repeat=len(sizes))]
    exact = np.array([paired_p_value(h) for h in harms])
    drawn = np.array([drawn_p_value(h, draws=199, seed=i) for i, h in enumerate(harms)])
    for delta in (0.01, 0.05, 0.1, 0.3, 0.5):
        assert (exact <= delta).mean() <= delta
        # the draws themselves are random: three standard errors of 256 outcomes
        assert (drawn <= delta).mean() <= delta + 3 * np.sqrt(delta * (1 - delta) / len(harms))
    assert (exact <= 0.1).mean() > 0.05, "valid, and not useless"


def test_the_hardest_hit_is_called_so_by_chance_at_most_as_often_as_said():
    """Two classes and a corruption that shares their examples: all signs, every p-value corrected for the three."""
    labels = np.repeat([0, 1], 6)
    called = {0.05: 0, 0.1: 0, 0.3: 0}
    single = 0
    outcomes = list(product((False, True), repeat=12))
    for signs in outcomes:
        pruned = np.array(signs)
        looks = class_looks(pruned, ~pruned, labels, ("a", "b")) + corruption_looks({"fog": [(pruned, ~pruned)]})
        found = hits(looks)
        worst = min(one.adjusted for one in found)
        single += min(one.p_value for one in found) <= 0.11
        for delta in called:
            called[delta] += worst <= delta
    for delta, count in called.items():
        assert 0 < count / len(outcomes) <= delta
    assert single / len(outcomes) > 0.11, "without the correction it would be called too often"


def test_holm_adjusted_is_where_holm_begins_to_reject():
    rng = np.random.default_rng(2)
    for _ in range(30):
        p = rng.random(7) ** 3
        adjusted = holm_adjusted(p)
        for delta in (0.01, 0.05, 0.2, 0.7):
            assert (holm(p, delta=delta) == (adjusted <= delta)).all()
    assert holm_adjusted(np.array([0.01, 0.04, 0.03])).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm_adjusted(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]


def test_looks_by_hand():
    pruned, dense = np.array([1, 1, 0, 0, 1], bool), np.array([0, 1, 0, 1, 0], bool)
    labels = np.array([0, 0, 2, 2, 2])
    a, c = class_looks(pruned, dense, labels, ("a", "b", "c"))
    assert (a.name, a.harm.tolist(), a.dense, a.pruned) == ("a", [1, 0], 0.5, 1.0)
    assert (c.name, c.harm.tolist()) == ("c", [0, -1, 1])
    (fog,) = corruption_looks({"fog": [(pruned, dense), (pruned, ~pruned)]})
    assert fog.harm.tolist() == [2, 1, -1, -2, 2]
    assert (fog.dense, fog.pruned) == (4 / 10, 6 / 10)
    found = hits([a, c, fog])
    assert hardest(found, "class").name == "a"
    assert hardest(found, "strangers") is None
    assert hardest(hits([c]), "class") is None, "nothing was hurt"
    assert found[2].p_value == pytest.approx(enumerated(fog.harm))
    assert found[0].n == 2
    with pytest.raises(BadInput, match="at least one class"):
        hits([])


def test_strangers_by_ranks():
    rng = np.random.default_rng(3)
    known = [rng.integers(0, 30, 40).astype(float) for _ in range(2)]
    ood = [rng.integers(5, 35, 25).astype(float) for _ in range(2)]
    look = stranger_look("far", (known[1], ood[1]), (known[0], ood[0]))
    truth = np.r_[np.zeros(40), np.ones(25)]
    values = [roc_auc_score(truth, np.r_[k, o]) for k, o in zip(known, ood, strict=True)]
    assert (look.dense, look.pruned) == (pytest.approx(1 - values[0]), pytest.approx(1 - values[1]))
    by_hand = [sum(2 * (k < o[i]) + (k == o[i]) for k in base) for i in range(25) for base, o in [(known[0], ood[0])]]
    other = [sum(2 * (k < ood[1][i]) + (k == ood[1][i]) for k in known[1]) for i in range(25)]
    assert look.harm[:25].tolist() == [a - b for a, b in zip(by_hand, other, strict=True)]
    above = [[sum(2 * (o > k) + (o == k) for o in ood[j]) for k in known[j]] for j in range(2)]
    assert look.harm[25:].tolist() == [a - b for a, b in zip(*above, strict=True)]
    assert look.harm[:25].sum() == look.harm[25:].sum()
    assert look.harm.sum() / (2 * 2 * 40 * 25) == pytest.approx(values[0] - values[1])
    # only ranks within a network count
    again = stranger_look("far", (np.exp(known[1]), np.exp(ood[1])), (known[0], ood[0]))
    assert (again.harm == look.harm).all()
    assert hits([look])[0].p_value == drawn_p_value(look.harm, sides=2) > drawn_p_value(look.harm)


@pytest.mark.parametrize(("known", "ood"), [(40, 400), (400, 40), (100, 100)])
def test_strangers_are_called_worse_told_apart_by_luck_about_as_often_as_said(known, ood):
    """Two networks that could change places on any example, known or stranger: what one set has in common is luck."""
    rng = np.random.default_rng(4)
    p_values = []
    for _ in range(300):
        alike = rng.normal(size=known), rng.normal(size=ood) + 1
        pruned, dense = (tuple(part + rng.normal(size=part.size) for part in alike) for _ in range(2))
        p_values.append(drawn_p_value(stranger_look("far", pruned, dense).harm, draws=199, sides=2))
    for delta in (0.05, 0.2, 0.5):
        share = np.mean(np.array(p_values) <= delta)
        assert abs(share - delta) <= 4 * np.sqrt(delta * (1 - delta) / 300), (delta, share)


def test_strangers_as_de_long_finds_them():
    rng = np.random.default_rng(5)
    known, ood = rng.normal(size=150), rng.normal(size=90) + 1.5
    dense = known + 0.3 * rng.normal(size=150), ood + 0.3 * rng.normal(size=90)
    pruned = known + 0.5 * rng.normal(size=150), ood + 0.5 * rng.normal(size=90)
    parts = []
    for k, o in (dense, pruned):
        order = (o[:, None] > k) + 0.5 * (o[:, None] == k)
        parts.append((order.mean(), order.mean(axis=1), order.mean(axis=0)))
    lost = parts[0][0] - parts[1][0]
    variance = sum(np.var(parts[0][i] - parts[1][i], ddof=1) / n for i, n in ((1, 90), (2, 150)))
    expected = norm.sf(lost / np.sqrt(variance))
    assert 0.001 < expected < 0.3, "neither extreme, where draws say little"
    assert hits([stranger_look("far", pruned, dense)])[0].p_value == pytest.approx(expected, abs=0.02)


def test_the_size_of_a_family_counts():
    strong = Look(kind="class", name="x", harm=np.ones(9, np.int64), dense=0.0, pruned=1.0)
    nothing = Look(kind="class", name="y", harm=np.array([1, -1]), dense=0.5, pruned=0.5)
    alone, among = hits([strong])[0], hits([strong, *[nothing] * 9])[0]
    assert alone.adjusted == alone.p_value == 2.0**-9
    assert among.adjusted == pytest.approx(10 * 2.0**-9)
    assert paired_p_value(np.array([1, 1, 1, -1])) == pytest.approx((comb(4, 3) + 1) / 16)
