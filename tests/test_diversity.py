"""Measures of diversity beside their definitions by loops, reference vectors, and scikit-learn."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from prudent.diversity import MEASURES, diversity_of, pairwise
from prudent.errors import BadInput, UnknownName
from prudent.tallies import MOST, check_members, count, packed, tally
from prudent.types import Predictions
from tests.conftest import vectors

KEYS = {
    "cohen_kappa_oracle": "correctness_kappa", "q_statistic": "q_statistic", "correlation": "correlation",
    "disagreement": "disagreement", "double_fault": "double_fault", "kohavi_wolpert": "kohavi_wolpert",
    "entropy_E": "entropy", "interrater_kappa": "fleiss_kappa", "difficulty_theta": "difficulty",
    "generalized_diversity": "generalised", "coincident_failure_diversity": "coincident_failure",
}  # fmt: skip


def pool(members=5, n=200, classes=4, *, seed=0, split="validation", accuracy=0.8):
    """Members that are right about as often, and wrong partly together."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    shared = rng.normal(size=(n, classes))
    found = []
    for _ in range(members):
        logits = shared + rng.normal(size=(n, classes)) + 3 * accuracy * np.eye(classes)[labels]
        found.append(Predictions(logits=logits.astype(np.float32), labels=labels, split=split))
    return found


def from_correct(correct):
    """A tally of members that are right where said, and else decide for class 1."""
    right = np.array(correct, bool)
    return count(np.where(right, 0, 1), np.zeros(right.shape[1], np.int64), classes=2)


def by_definition(name, decided, labels):
    """The textbook, in fractions, example by example; None where it divides by 0."""
    right = [[int(d == y) for d, y in zip(row, labels, strict=True)] for row in decided]
    size, n = len(right), len(labels)
    if size < 2 or n == 0:
        return None
    hits = [sum(row[i] for row in right) for i in range(n)]

    def pair(a, b):
        table = {key: sum(1 for x, y in zip(right[a], right[b], strict=True) if (x, y) == key)
                 for key in ((1, 1), (1, 0), (0, 1), (0, 0))}  # fmt: skip
        n11, n10, n01, n00 = table[1, 1], table[1, 0], table[0, 1], table[0, 0]
        if name == "kappa":
            observed = Fraction(sum(x == y for x, y in zip(decided[a], decided[b], strict=True)), n)
            chance = sum(
                Fraction(sum(x == c for x in decided[a]), n) * Fraction(sum(x == c for x in decided[b]), n)
                for c in range(10)
            )
            return None if chance == 1 else (observed - chance) / (1 - chance)
        if name == "correctness_kappa":
            observed = Fraction(n11 + n00, n)
            chance = Fraction((n11 + n10) * (n11 + n01) + (n00 + n01) * (n00 + n10), n * n)
            return None if chance == 1 else (observed - chance) / (1 - chance)
        if name == "q_statistic":
            below = n11 * n00 + n01 * n10
            return Fraction(n11 * n00 - n01 * n10, below) if below else None
        if name == "correlation":
            below = (n11 + n10) * (n01 + n00) * (n11 + n01) * (n10 + n00)
            return (n11 * n00 - n01 * n10) / below**0.5 if below else None
        return Fraction(n10 + n01 if name == "disagreement" else n00, n)

    if name in ("kappa", "correctness_kappa", "q_statistic", "correlation", "disagreement", "double_fault"):
        values = [v for a, b in combinations(range(size), 2) if (v := pair(a, b)) is not None]
        return sum(values) / len(values) if values else None
    mean = Fraction(sum(hits), n * size)
    if name == "fleiss_kappa":
        inside = Fraction(sum(k * (size - k) for k in hits), size)
        return None if mean in (0, 1) else 1 - inside / (n * (size - 1) * mean * (1 - mean))
    if name == "entropy":
        return sum(Fraction(min(k, size - k), size - -(-size // 2)) for k in hits) / n
    if name == "kohavi_wolpert":
        return Fraction(sum(k * (size - k) for k in hits), n * size**2)
    if name == "difficulty":
        return sum((Fraction(k, size) - mean) ** 2 for k in hits) / n
    share = [Fraction(sum(size - k == i for k in hits), n) for i in range(size + 1)]
    if name == "generalised":
        one = sum(Fraction(i, size) * p for i, p in enumerate(share))
        two = sum(Fraction(i * (i - 1), size * (size - 1)) * p for i, p in enumerate(share))
        return 1 - two / one if one else None
    assert name == "coincident_failure"
    if share[0] == 1:
        return 0
    return sum(Fraction(size - i, size - 1) * p for i, p in enumerate(share) if i) / (1 - share[0])


def same(own, expected):
    return np.isnan(own) if expected is None else own == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.parametrize("vector", vectors("diversity"), ids=lambda v: v["name"])
def test_reference_vectors(vector):
    counts = from_correct(vector["inputs"]["correct"])
    everyone = np.ones((1, counts.members), bool)
    for key, expected in vector["expected"].items():
        assert same(diversity_of(counts, everyone, KEYS[key])[0], expected), key


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_team_against_the_definition(name, seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 70))
    labels = rng.integers(0, 3, n)
    decided = np.where(rng.random((5, n)) < [[0.9], [0.7], [0.5], [1.0], [0.0]], labels, (labels + 1) % 3)
    counts = count(decided, labels, classes=3)
    teams = np.array([[code >> i & 1 for i in range(5)] for code in range(1, 32)], bool)
    for own, team in zip(diversity_of(counts, teams, name), teams, strict=True):
        assert same(own, by_definition(name, decided[team].tolist(), labels.tolist())), team


@pytest.mark.parametrize("name", MEASURES)
def test_the_direction_is_as_said(name):
    # three members that fail on examples of their own, and three that fail together
    apart = np.ones((3, 30), bool)
    apart[0, :3] = apart[1, 3:6] = apart[2, 6:9] = False
    together = np.ones((3, 30), bool)
    together[:, :3] = False
    everyone = np.ones((1, 3), bool)
    diverse, alike = (diversity_of(from_correct(c), everyone, name)[0] for c in (apart, together))
    assert bool(diverse > alike) is MEASURES[name].higher
    assert diverse != alike
    assert np.isfinite([diverse, alike]).all()


def test_kappa_is_scikit_learns():
    members = pool()
    values = pairwise(tally(members), "kappa")
    for i, j in combinations(range(5), 2):
        expected = cohen_kappa_score(members[i].decisions, members[j].decisions)
        assert values[i, j] == values[j, i] == pytest.approx(expected, abs=1e-12)
    assert np.isnan(np.diag(values)).all()


def test_identities():
    counts = tally(pool(6, 301))
    teams = np.random.default_rng(1).random((40, 6)) < 0.6
    teams = teams[teams.sum(1) > 1]
    size = teams.sum(1)
    apart = diversity_of(counts, teams, "disagreement")
    np.testing.assert_allclose(diversity_of(counts, teams, "kohavi_wolpert"), (size - 1) / (2 * size) * apart)
    hits = teams @ np.diag(counts.right) / (size * counts.n)
    np.testing.assert_allclose(
        diversity_of(counts, teams, "fleiss_kappa"), 1 - apart / (2 * hits * (1 - hits)), atol=1e-12
    )


def test_a_tally_of_some_examples_is_that_of_those_alone():
    members = pool()
    chosen = np.random.default_rng(3).random(200) < 0.3
    cut = [Predictions(logits=m.logits[chosen], labels=m.labels[chosen], split="validation") for m in members]
    a, b = tally(members, examples=chosen), tally(cut)
    for field in ("n", "right", "same", "chosen", "patterns", "weights"):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
    none = tally(members, examples=np.zeros(200, bool))
    for name in MEASURES:
        assert np.isnan(diversity_of(none, np.ones((1, 5), bool), name)).all()


@pytest.mark.parametrize("n", [1, 7, 8, 9, 63, 64, 65, 200])
def test_packed_bits_are_counted_as_the_flags(n):
    flags = np.random.default_rng(n).random((3, n)) < 0.5
    assert (np.bitwise_count(packed(flags)).sum(axis=1) == flags.sum(axis=1)).all()


def test_sixty_four_members_use_every_bit():
    counts = tally(pool(MOST, 40))
    everyone = np.ones((1, MOST), bool)
    rights = np.stack([m.decisions == m.labels for m in pool(MOST, 40)]).sum(axis=0)
    half = np.minimum(rights, MOST - rights).mean() / (MOST // 2)
    assert diversity_of(counts, everyone, "entropy")[0] == pytest.approx(half)


def test_refusals(unchecked):
    a, b = pool(2)
    with pytest.raises(BadInput, match="at least one member"):
        check_members([])
    with pytest.raises(BadInput, match="a list with"):
        tally(a)
    with pytest.raises(BadInput, match="at most 64 members; got 65"):
        tally([a] * 65)
    unlabelled = Predictions(logits=b.logits, split="validation")
    with pytest.raises(BadInput, match="member 1 has no labels"):
        tally([a, unlabelled])
    renumbered = Predictions(logits=b.logits[:, [1, 2, 3, 0]], labels=(b.labels + 3) % 4, split="validation")
    with pytest.raises(BadInput, match="same order of classes; the labels of member 1"):
        tally([a, renumbered])
    moved = Predictions(logits=b.logits, labels=np.roll(b.labels, 1), split="validation")
    with pytest.raises(BadInput, match="same order; their labels differ"):
        tally([a, moved])
    with pytest.raises(BadInput, match="same split"):
        tally([a, Predictions(logits=b.logits, labels=b.labels, split="test")])
    here, there = (Predictions(logits=b.logits, labels=b.labels, split="validation", data=d) for d in ("x", "y"))
    with pytest.raises(BadInput, match="same examples; got data x and y"):
        tally([here, there])
    counts = tally([a, b])
    with pytest.raises(BadInput, match="at least one of 2 members"):
        diversity_of(counts, np.array([[True, False], [False, False]]), "kappa")
    with pytest.raises(BadInput, match="teams of shape"):
        diversity_of(counts, np.ones((1, 3), bool), "kappa")
    with pytest.raises(UnknownName, match="Did you mean 'kappa'"):
        diversity_of(counts, np.ones((1, 2), bool), "kapa")
    with pytest.raises(BadInput, match="one flag for each of 200 examples"):
        tally([a, b], examples=np.ones(3, bool))
