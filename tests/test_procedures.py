"""Procedures against closed testing, definitions and reference vectors, and against what the refused ones would do."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from prudent.errors import BadInput
from prudent.procedures.bonferroni import bonferroni
from prudent.procedures.fixed_sequence import fixed_sequence
from prudent.procedures.fixed_sequence_starts import fixed_sequence_starts
from prudent.procedures.graphical import graphical
from prudent.procedures.holm import holm
from tests.conftest import VECTORS, vectors
from tests.joint_losses import assert_valid, by_ranges, chances


def given(name: str) -> tuple[np.ndarray, dict, list[int]]:
    v = VECTORS[name]
    p = np.array([np.nan if x is None else x for x in v["inputs"]["p"]])
    return p, v["inputs"], v["expected"]["rejected"]


def some_p_values(m: int, *, seed: int, count: int = 300) -> list[np.ndarray]:
    """Random p-values, half of them on a coarse grid with ties, some undefined."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        p = rng.random(m) ** 4
        if i % 2:
            p = np.round(p, 1) * 0.37  # ties, but never exactly at a threshold
        found.append(np.where(rng.random(m) < 0.1, np.nan, p))
    return found


def closed_testing(p: np.ndarray, delta: float, shares) -> np.ndarray:
    """Reject i if every intersection of nulls that contains it is rejected by weighted Bonferroni.

    `shares(members)` are the weights of the intersection's members.
    """
    m = len(p)
    p = np.where(np.isnan(p), 1.0, p)
    rejected = np.ones(m, dtype=bool)
    for size in range(1, m + 1):
        for members in itertools.combinations(range(m), size):
            w = shares(members)
            if not any(w[i] > 0 and p[i] <= w[i] * delta for i in members):
                rejected[list(members)] = False
    return rejected


def flowing_in(members: tuple[int, ...], weights: np.ndarray, transition: np.ndarray) -> dict[int, float]:
    """Chance that a walker who starts by `weights` and steps by `transition` meets each member first of all members."""
    others = [i for i in range(len(weights)) if i not in members]
    arrived = dict(zip(members, weights[list(members)], strict=True))
    walking = weights[others]
    for _ in range(400):
        for i in members:
            arrived[i] += walking @ transition[others, i]
        walking = walking @ transition[np.ix_(others, others)]
    return arrived


@pytest.mark.parametrize("name", ["fwer_holm", "fwer_holm_nan"])
def test_holm_reference(name):
    p, inputs, expected = given(name)
    assert np.flatnonzero(holm(p, delta=inputs["delta"])).tolist() == expected


def test_starts_reference():
    p, inputs, expected = given("fwer_fixed_sequence_multistart")
    found = fixed_sequence_starts(p, delta=inputs["delta"], starts=inputs["starts"])
    assert np.flatnonzero(found).tolist() == expected


@pytest.mark.parametrize("v", vectors("fwer", "fwer_graphical"), ids=lambda v: v["name"])
def test_graphical_reference(v):
    p, inputs, expected = given(v["name"])
    found = graphical(p, delta=inputs["delta"], weights=inputs["weights"], transition=inputs["transition"])
    assert np.flatnonzero(found).tolist() == expected


@pytest.mark.parametrize("m", [1, 2, 3, 5])
def test_holm_is_closed_testing_with_equal_shares(m):
    rejected = 0
    for p in some_p_values(m, seed=m):
        expected = closed_testing(p, 0.2, lambda members: dict.fromkeys(members, 1 / len(members)))
        assert (holm(p, delta=0.2) == expected).all(), p
        rejected += expected.any() and not expected.all()
    assert m == 1 or rejected > 20


def test_holm_passes_ties_exactly_at_its_thresholds():
    assert holm(np.array([0.05, 0.05, 0.05, 0.1]), delta=0.2).tolist() == [True] * 4
    above = np.nextafter(0.05, 1)
    assert holm(np.array([above, above, above, 0.1]), delta=0.2).tolist() == [False] * 4
    assert holm(np.array([0.2, 0.1, 0.05, 0.06]), delta=0.2).tolist() == [True] * 4


@pytest.mark.parametrize("seed", range(6))
def test_graphical_is_closed_testing_with_the_shares_that_a_random_walk_brings(seed):
    rng = np.random.default_rng(seed)
    m = 4
    transition = rng.random((m, m)) * (rng.random((m, m)) < 0.7)
    np.fill_diagonal(transition, 0)
    transition /= np.maximum(transition.sum(axis=1, keepdims=True) * (1.0 if seed % 2 else 1.3), 1e-9)
    weights = rng.dirichlet(np.ones(m)) * (rng.random(m) < 0.8)
    every = [c for size in range(1, m + 1) for c in itertools.combinations(range(m), size)]
    shares = {members: flowing_in(members, weights, transition) for members in every}
    some = 0
    for p in some_p_values(m, seed=100 + seed, count=150):
        expected = closed_testing(p, 0.3, shares.__getitem__)
        assert (graphical(p, delta=0.3, weights=weights, transition=transition) == expected).all(), p
        some += expected.any() and not expected.all()
    assert some > 10


def test_shares_that_go_round_in_a_closed_circle_are_lost():
    circle = [[0, 1, 0], [1, 0, 0], [0.5, 0.5, 0]]
    p = np.array([0.01, 0.01, 0.01])
    found = graphical(p, delta=0.1, weights=[0.5, 0.5, 0], transition=circle)
    assert found.tolist() == [True, True, False]


@pytest.mark.parametrize("m", [1, 2, 5, 9])
def test_known_procedures_are_graphs(m):
    equal, everywhere = np.full(m, 1 / m), (1 - np.eye(m)) / max(1, m - 1)
    for p in some_p_values(m, seed=20 + m, count=200):
        assert (graphical(p, delta=0.2) == fixed_sequence(p, delta=0.2)).all()
        assert (graphical(p, delta=0.2, weights=equal, transition=everywhere) == holm(p, delta=0.2)).all()
        assert (graphical(p, delta=0.2, weights=equal, transition=0 * everywhere) == bonferroni(p, delta=0.2)).all()
        starts = sorted({0, m // 3, m - 1})
        weights = np.isin(np.arange(m), starts) / len(starts)
        assert (graphical(p, delta=0.2, weights=weights) == fixed_sequence_starts(p, delta=0.2, starts=starts)).all()


@pytest.mark.parametrize("m", [1, 4, 11])
def test_fixed_sequence_and_bonferroni_by_their_definitions(m):
    for p in some_p_values(m, seed=40 + m):
        walked = []
        for value in p:
            if not value <= 0.1:  # NaN fails it, too
                break
            walked.append(True)
        assert fixed_sequence(p, delta=0.1).tolist() == walked + [False] * (m - len(walked))
        assert bonferroni(p, delta=0.1).tolist() == [bool(value * m <= 0.1) for value in p]


@pytest.mark.parametrize("starts", [[0], [0, 4], [2, 3, 7], [7, 0, 3]])
def test_starts_by_their_definition(starts):
    # one walk after the other: those that find a candidate rejected pass over it, those that stand together share
    more = 0
    for p in some_p_values(9, seed=len(starts)):
        standing = dict.fromkeys(starts, 1)
        rejected: set[int] = set()
        while True:
            level = {j: 0.2 * held / len(starts) for j, held in standing.items()}
            going = [j for j in standing if j < 9 and p[j] <= level[j]]
            if not going:
                break
            held = standing.pop(going[0])
            rejected.add(going[0])
            after = going[0] + 1
            while after in rejected:
                after += 1
            standing[after] = standing.get(after, 0) + held
        found = fixed_sequence_starts(p, delta=0.2, starts=starts)
        assert set(np.flatnonzero(found)) == rejected
        apart: set[int] = set()
        for start in starts:
            for j in range(start, 9):
                if not p[j] <= 0.2 / len(starts):
                    break
                apart.add(j)
        assert rejected >= apart
        more += rejected > apart
    assert more or len(starts) == 1, "walks that join must sometimes gain something"


def test_walks_that_all_met_hold_exactly_delta():
    for count in range(1, 12):
        p = np.full(count + 1, 1e-9)
        p[-1] = 0.1
        assert fixed_sequence_starts(p, delta=0.1, starts=range(count)).all()
        p[-1] = np.nextafter(0.1, 1)
        assert not fixed_sequence_starts(p, delta=0.1, starts=range(count))[-1]


def test_the_order_of_candidates_matters_only_where_a_graph_or_a_sequence_says_so():
    rng = np.random.default_rng(7)
    transition = rng.random((6, 6)) * (1 - np.eye(6))
    transition /= transition.sum(axis=1, keepdims=True)
    weights = rng.dirichlet(np.ones(6))
    for p in some_p_values(6, seed=8, count=100):
        new = rng.permutation(6)
        assert (holm(p[new], delta=0.3) == holm(p, delta=0.3)[new]).all()
        moved = graphical(p[new], delta=0.3, weights=weights[new], transition=transition[np.ix_(new, new)])
        assert (moved == graphical(p, delta=0.3, weights=weights, transition=transition)[new]).all()


def test_p_values_of_zero_do_not_pass_without_a_share():
    p = np.array([0.9, 0.0, 0.0])
    assert fixed_sequence_starts(p, delta=0.1, starts=[0]).tolist() == [False, False, False]
    assert graphical(p, delta=0.1).tolist() == [False, False, False]


@pytest.mark.parametrize("starts", [[0], [1], [0, 2], [1, 2], [0, 1, 2]])
@pytest.mark.parametrize(("n", "alpha", "delta"), [(6, 0.5, 0.05), (6, 0.5, 0.35), (5, 0.4, 0.34)])
def test_starts_are_valid_by_enumeration(starts, n, alpha, delta):
    assert_valid(lambda p, *, delta: fixed_sequence_starts(p, delta=delta, starts=starts), n, alpha, delta)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("n", "alpha", "delta"), [(6, 0.5, 0.11), (6, 0.5, 0.35)])
def test_graphs_are_valid_by_enumeration(seed, n, alpha, delta):
    rng = np.random.default_rng(seed)
    transition = rng.random((3, 3)) * (1 - np.eye(3))
    transition /= transition.sum(axis=1, keepdims=True)
    weights = rng.dirichlet(np.ones(3))
    assert_valid(lambda p, *, delta: graphical(p, delta=delta, weights=weights, transition=transition), n, alpha, delta)


def test_a_fixed_sequence_certifies_more_than_bonferroni_and_holm_on_a_monotone_path():
    rng = np.random.default_rng(5)
    risks, n, alpha, delta = np.linspace(0.004, 0.05, 24), 1000, 0.05, 0.05
    tail = binom.cdf(np.arange(n + 1), n, alpha)
    last = {"fixed": 0, "starts": 0, "holm": 0, "bonferroni": 0}
    for _ in range(200):
        p = tail[(rng.random((n, 1)) < risks).sum(axis=0)]
        for name, function in zip(last, (fixed_sequence, fixed_sequence_starts, holm, bonferroni), strict=True):
            rejected = function(p, delta=delta)
            last[name] += np.flatnonzero(rejected).max(initial=-1) + 1
    # a candidate of risk 0.034 passes at delta more often than not, one of 0.030 at delta / 24
    fixed, starts, by_holm, by_bonferroni = (total / 200 for total in last.values())
    assert fixed > 16
    assert fixed >= starts
    assert starts > by_bonferroni + 0.2
    assert fixed > by_holm + 1 > by_bonferroni + 1


def test_the_refused_hochberg_would_be_wrong_more_often_than_delta():
    # two candidates that never lose the same example; the p-value doubles from one loss to two
    n, alpha = 4, 0.4625
    tail = binom.cdf(np.arange(n + 1), n, alpha)
    delta = tail[2]
    assert tail[1] <= delta / 2
    chance = chances(by_ranges([(0, alpha), (alpha, 2 * alpha), (0, 0)]), n).sum(axis=2)

    def wrong(any_rejected) -> float:
        return sum(chance[a, b] for a in range(n + 1) for b in range(n + 1) if any_rejected(tail[a], tail[b]))

    assert wrong(lambda p, q: max(p, q) <= delta or min(p, q) <= delta / 2) > 1.3 * delta
    assert wrong(lambda p, q: holm(np.array([p, q]), delta=delta).any()) <= delta


def test_the_refused_benjamini_hochberg_would_be_wrong_more_often_than_delta():
    # 15 candidates of no risk, 5 at the boundary: their p-values are uniform and independent
    rng = np.random.default_rng(6)
    delta, runs, wrong, kept = 0.1, 2000, 0, 0
    for _ in range(runs):
        p = np.r_[np.zeros(15), rng.random(5)]
        ranked = np.sort(p)
        passed = np.flatnonzero(ranked <= delta * np.arange(1, 21) / 20)
        wrong += (p[15:] <= ranked[passed[-1]]).any()
        kept += holm(p, delta=delta)[15:].any()
    assert wrong / runs > 3 * delta
    assert kept / runs <= delta + 3 * np.sqrt(delta * (1 - delta) / runs)


@pytest.mark.parametrize("starts", [[], [0, 0], [3], [-1], [0.5], ["a"], [0, 1, 2, 3], 1], ids=str)
@pytest.mark.usefixtures("unchecked")
def test_starts_refused(starts):
    with pytest.raises(BadInput, match="starts are"):
        fixed_sequence_starts(np.full(3, 0.1), delta=0.1, starts=starts)


@pytest.mark.parametrize(
    "options",
    [
        {"weights": [1.0]}, {"weights": [0.6, 0.6]}, {"weights": [-0.1, 0.5]}, {"weights": [np.nan, 0.5]},
        {"weights": ["a", "b"]}, {"transition": [[0.0, 1.0]]}, {"transition": [[0.0, 1.1], [0.0, 0.0]]},
        {"transition": [[0.5, 0.5], [0.0, 0.0]]}, {"transition": [[0.0, np.nan], [0.0, 0.0]]},
        {"transition": [[0.0, 1.0], [0.0]]}, {"weights": "ab"},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.usefixtures("unchecked")
def test_graphs_refused(options):
    with pytest.raises(BadInput, match="weights|transition"):
        graphical(np.full(2, 0.1), delta=0.1, **options)


def test_shares_that_round_to_more_than_a_whole_are_scaled_down():
    weights = [0.3, 0.7 + 5e-10]
    assert not graphical(np.array([1.0, 0.1 * (0.7 + 3e-10)]), delta=0.1, weights=weights)[1]
    assert graphical(np.array([1.0, 0.07]), delta=0.1, weights=weights)[1]
