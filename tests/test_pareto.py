"""Pareto testing against reference vectors and definitions, and that its two splits are needed."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from prudent.bounds.binomial import binomial
from prudent.bounds.hoeffding_bentkus import hoeffding_bentkus
from prudent.errors import BadInput, SplitMisuse, UnknownName
from prudent.pareto import certify_pareto, pareto_front
from prudent.types import Losses
from tests.conftest import VECTORS


def of_counts(counts, n: int, split: str, *, loss: str = "error", data: str = "") -> Losses:
    """0/1 losses with these counts."""
    values = (np.arange(n)[:, None] < np.array(counts)).astype(float)
    m = len(counts)
    names, sparsities = tuple(f"c{j}" for j in range(m)), tuple(j / m for j in range(m))
    return Losses(values=values, names=names, sparsities=sparsities, loss=loss, split=split, data=data)


def both(seed: int = 0, *, risks=("error", "flips")) -> tuple[list[Losses], list[Losses]]:
    rng = np.random.default_rng(seed)
    return tuple(
        [of_counts(rng.integers(2, 20, 4), 200, split, loss=loss, data=split * 2) for loss in risks]
        for split in ("validation", "certification")
    )


def test_reference():
    v = VECTORS["pareto_testing"]
    i, expected = v["inputs"], v["expected"]
    n = i["opt_split"]["n"]
    choice = [
        of_counts([round(n * r) for r in i["opt_split"][key]], n, "validation", loss=key) for key in ("risk1", "risk2")
    ]
    counts = np.array(i["test_split"]["loss_counts"]).T
    certification = [
        of_counts(c, i["test_split"]["n"], "certification", loss=key)
        for c, key in zip(counts, ("risk1", "risk2"), strict=True)
    ]
    cost = i["opt_split"]["cost"]
    found = certify_pareto(choice, certification, alphas=i["alpha"], delta=i["delta"], costs=cost)
    assert list(found.order) == expected["order"]
    assert sorted(found.order) == expected["pareto"]
    assert found.choice_p_values == pytest.approx(expected["p_opt"], rel=1e-9)
    assert found.p_values == pytest.approx(expected["p_test"], rel=1e-9)
    assert np.flatnonzero(found.certified).tolist() == expected["rejected"]
    assert found.selected == expected["chosen"]
    for j in found.order:
        each = [hoeffding_bentkus(r.values[:, j], a) for r, a in zip(certification, i["alpha"], strict=True)]
        assert each[found.binding[j]] == max(each)


def test_front_by_its_definition():
    rng = np.random.default_rng(0)
    for _ in range(100):
        values = rng.integers(0, 5, (12, 3)).astype(float)
        expected = []
        for a in values:
            beaten = any(all(b[k] <= a[k] for k in range(3)) and any(b[k] < a[k] for k in range(3)) for b in values)
            expected.append(not beaten)
        assert pareto_front(values).tolist() == expected
    assert pareto_front(np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 2.0]])).tolist() == [True, True, False]
    assert pareto_front(np.array([[1.0, np.inf], [2.0, 1.0]])).tolist() == [True, True]


def test_the_walk_by_its_definition():
    selected = set()
    for seed in range(60):
        choice, certification = both(seed)
        found = certify_pareto(choice, certification, alphas=(0.07, 0.08), delta=0.2, bound="binomial")
        p = {
            split[0].split: [max(binomial(split[r].values[:, j], (0.07, 0.08)[r]) for r in (0, 1)) for j in range(4)]
            for split in (choice, certification)
        }
        points = [(*(r.values[:, j].mean() for r in choice), 1 - j / 4) for j in range(4)]
        front = [j for j in range(4) if not any(q != points[j] and np.less_equal(q, points[j]).all() for q in points)]
        order = sorted(front, key=lambda j: p["validation"][j])
        walked = []
        for j in order:
            if p["certification"][j] > 0.2:
                break
            walked.append(j)
        assert list(found.order) == order
        assert np.flatnonzero(found.certified).tolist() == sorted(walked)
        assert found.selected == (max(walked) if walked else None)  # the sparsest is the cheapest
        selected.add(found.selected)
    assert len(selected) > 3
    assert None in selected


def test_valid_by_simulation_and_only_with_two_splits():
    # ten candidates at the boundary, incomparable since the costs differ; every certificate is wrong
    rng = np.random.default_rng(1)
    n, alpha, delta, runs, m = 120, 0.1, 0.1, 400, 10
    wrong = reused = 0
    for _ in range(runs):
        counts = rng.binomial(n, alpha, (2, m))
        choice, certification = (
            [of_counts(c, n, split)] for c, split in zip(counts, ("validation", "certification"), strict=True)
        )
        again = [of_counts(counts[0], n, "certification")]
        options = {"alphas": (alpha,), "delta": delta, "bound": "binomial"}
        wrong += certify_pareto(choice, certification, **options).selected is not None
        reused += certify_pareto(choice, again, **options).selected is not None
    error = math.sqrt(delta * (1 - delta) / runs)
    # the chance that the one candidate tested first passes by luck
    tail = binom.cdf(np.arange(n + 1), n, alpha)
    exact = tail[np.flatnonzero(tail <= delta).max()]
    assert abs(wrong / runs - exact) < 4 * error
    assert reused / runs > 3 * delta, "one split for both is what is refused by fingerprint"


def test_the_same_examples_are_refused_by_fingerprint():
    choice, certification = both()
    same = [replace(r, data=choice[0].data) for r in certification]
    with pytest.raises(SplitMisuse, match="other examples"):
        certify_pareto(choice, same, alphas=(0.1, 0.1), delta=0.1)
    unknown = [[replace(r, data="") for r in risks] for risks in (choice, certification)]
    assert certify_pareto(*unknown, alphas=(0.1, 0.1), delta=0.1).risks == ("error", "flips")


def test_other_splits_are_refused():
    choice, certification = both()
    for pair in ((certification, certification), (choice, choice), (certification, choice)):
        with pytest.raises(SplitMisuse, match="validation split and tested on the certification"):
            certify_pareto(*pair, alphas=(0.1, 0.1), delta=0.1)
    with pytest.raises(SplitMisuse):
        certify_pareto([replace(r, split="test") for r in choice], certification, alphas=(0.1, 0.1), delta=0.1)


@pytest.mark.parametrize(
    "options",
    [
        {"alphas": (0.1,)}, {"alphas": (0.1, 1.0)}, {"alphas": (0.1, 0.1, 0.1)}, {"alphas": (0.1, np.nan)},
        {"delta": 0.0}, {"delta": 1.0}, {"costs": (1.0, 2.0)}, {"costs": (1.0, 2.0, 3.0, np.nan)},
    ],
    ids=str,
)  # fmt: skip
def test_refuses_options(options):
    choice, certification = both()
    with pytest.raises(BadInput):
        certify_pareto(choice, certification, **{"alphas": (0.1, 0.1), "delta": 0.1, **options})


def test_refuses_what_does_not_belong_together():
    choice, certification = both()
    for pair in (
        (choice, certification[:1]),
        ([], []),
        (choice, certification[::-1]),
        (choice, [replace(r, names=("a", "b", "c", "d")) for r in certification]),
        (choice, [certification[0], replace(certification[1], data="others")]),
        (choice, [certification[0], of_counts([1] * 4, 100, "certification", loss="flips", data="certification" * 2)]),
    ):
        with pytest.raises(BadInput):
            certify_pareto(*pair, alphas=(0.1,) * len(pair[0]), delta=0.1)
    with pytest.raises(UnknownName, match="bound"):
        certify_pareto(choice, certification, alphas=(0.1, 0.1), delta=0.1, bound="bentkus")


def test_a_bound_of_ones_own():
    choice, certification = both()
    found = certify_pareto(choice, certification, alphas=(0.1, 0.1), delta=0.1, bound=lambda losses, alpha: 0.5)
    assert found.p_values == (0.5,) * 4
    assert found.selected is None
    with pytest.raises(BadInput, match="p-value lies in"):
        certify_pareto(choice, certification, alphas=(0.1, 0.1), delta=0.1, bound=lambda losses, alpha: -0.5)


@pytest.mark.parametrize("objectives", [np.zeros((0, 2)), np.zeros((2, 0)), np.zeros(3), np.array([[np.nan]])])
@pytest.mark.usefixtures("unchecked")
def test_front_refuses(objectives):
    with pytest.raises(BadInput):
        pareto_front(objectives)
