"""Cascades against definitions by loop, the enumeration of all outcomes and a model whose risks are known."""

import itertools
import math
from dataclasses import replace
from math import factorial, prod

import numpy as np
import pytest
from scipy.stats import binom

from prudent.cascades import SHARES, Thresholds, certify_cascade, choose_thresholds, margins
from prudent.errors import BadInput, SplitMisuse
from prudent.intervals import clopper_pearson
from prudent.types import Predictions
from tests.conftest import predictions


def pair(gaps, differs, split: str = "certification", **fingerprints) -> tuple[Predictions, Predictions]:
    """A small network with these margins, and a dense one that differs where it is said."""
    gaps, differs = np.asarray(gaps, dtype=np.float32), np.asarray(differs, dtype=bool)
    small = np.stack([gaps, np.zeros_like(gaps)], axis=1)
    dense = np.where(differs[:, None], [0.0, 1.0], [1.0, 0.0]).astype(np.float32)
    data = fingerprints.get("data", "")
    return (
        Predictions(logits=small, split=split, data=data, model=fingerprints.get("small", "")),
        Predictions(logits=dense, split=split, data=data, model=fingerprints.get("dense", "")),
    )


def draw(rng, n: int, split: str) -> tuple[Predictions, Predictions]:
    """Exponential margins g; the networks differ with probability exp(-g) / 2, among margins >= t exp(-t) / 4."""
    gaps = rng.exponential(size=n)
    return pair(gaps, rng.random(n) < np.exp(-gaps) / 2, split)


@pytest.mark.parametrize("members", [None, 3])
def test_margins_by_their_definition(members):
    answers = predictions(40, 5, members=members)
    for i, p in enumerate(answers.probabilities):
        second, first = sorted(p)[-2:]
        assert margins(answers)[i] == pytest.approx(math.log(first / second), rel=1e-9, abs=1e-12)


def test_margins_do_not_saturate():
    logits = np.array([[0.0, 100.0], [0.0, 200.0], [3.0, 3.0]], dtype=np.float32)
    assert margins(Predictions(logits=logits, split="test")).tolist() == [100.0, 200.0, 0.0]
    with pytest.raises(BadInput, match="between two classes"):
        margins(Predictions(logits=logits[:, :1], split="test"))


def test_thresholds_serve_the_shares():
    rng = np.random.default_rng(0)
    small, dense = pair(rng.random(200), np.zeros(200, dtype=bool), "validation")
    found = choose_thresholds(small, dense, alpha=0.1, shares=(1.0, 0.5, 0.25, 0.111))
    assert len(found.values) == 1, "more served examples without any difference only help"
    small, dense = draw(rng, 200, "validation")
    gaps = margins(small)
    chosen = choose_thresholds(small, dense, alpha=0.1, examples=400).values
    expected = [sorted(gaps, reverse=True)[10 * i - 1] for i in range(1, 21)]
    assert list(chosen) == expected[-len(chosen) :]
    assert [int((gaps >= t).sum()) for t in chosen] == [10 * i for i in range(21 - len(chosen), 21)]


@pytest.mark.parametrize("scale", [1, 10])
def test_testing_starts_where_success_is_most_likely(scale):
    starts = set()
    for seed in range(20):
        small, dense = draw(np.random.default_rng(seed), 100, "validation")
        chosen = choose_thresholds(small, dense, alpha=0.2, examples=100 * scale)
        gaps, differs = margins(small), small.decisions != dense.decisions
        tails = []
        for s in SHARES:
            served = gaps >= sorted(gaps, reverse=True)[round(100 * s) - 1]
            # whole multiples of the counts: the continued tail is the binomial one
            tails.append(binom.cdf(scale * (served & differs).sum(), scale * served.sum(), 0.2))
        assert len(chosen.values) == len(SHARES) - int(np.argmin(tails))
        starts.add(len(chosen.values))
    assert len(starts) > 1


def test_equal_margins_make_one_threshold():
    small, dense = pair(np.full(50, 2.0), np.zeros(50, dtype=bool), "validation")
    assert choose_thresholds(small, dense, alpha=0.1).values == (2.0,)
    small, dense = pair(np.full(50, 2.0), np.ones(50, dtype=bool), "validation")
    assert choose_thresholds(small, dense, alpha=0.1).values == (2.0,)


def test_certificate_by_its_definition():
    rng = np.random.default_rng(1)
    thresholds = Thresholds(values=(3.0, 2.0, 1.0, 0.5, 0.25, 0.0))
    seen = set()
    for _ in range(30):
        small, dense = draw(rng, 150, "certification")
        found = certify_cascade(thresholds, small, dense, alpha=0.15, delta=0.3)
        selected, walking = None, True
        for j, t in enumerate(thresholds.values):
            served = [i for i in range(150) if small.logits[i, 0] >= t]
            k = sum(int(small.decisions[i] != dense.decisions[i]) for i in served)
            assert (found.served[j], found.disagreements[j]) == (len(served), k)
            p = sum(math.comb(len(served), x) * 0.15**x * 0.85 ** (len(served) - x) for x in range(k + 1))
            assert found.p_values[j] == pytest.approx(p, rel=1e-9) if served else math.isnan(found.p_values[j])
            walking = walking and bool(served) and p <= 0.3
            selected = j if walking else selected
        assert found.selected == selected
        seen.add(selected)
    assert len(seen) > 2


def test_nothing_served_certifies_nothing():
    small, dense = pair([1.0] * 100, np.zeros(100, dtype=bool))
    found = certify_cascade(Thresholds(values=(5.0, 0.5)), small, dense, alpha=0.1, delta=0.1)
    assert found.served == (0, 100)
    assert math.isnan(found.p_values[0])
    assert found.selected is None, "the walk stops at the first threshold, though the second would pass"
    assert found.share_served.value == 0
    assert found.cost(small=10, dense=100).value == 100
    assert found.sentence().startswith("Nothing certified: with 100 examples, for none of 2 thresholds")


@pytest.mark.parametrize(("n", "alpha", "delta"), [(6, 0.5, 0.3), (6, 0.6, 0.2), (7, 0.5, 0.5)])
def test_wrong_certificates_have_chance_at_most_delta_by_enumeration(n, alpha, delta):
    # three margins, differing or not: six kinds of examples, all outcomes of n of them
    gaps, differs = np.repeat([2.0, 1.0, 0.0], 2), np.tile([False, True], 3)
    thresholds = Thresholds(values=(2.0, 1.0, 0.0))
    outcomes = [c for c in itertools.product(range(n + 1), repeat=6) if sum(c) == n]
    selected = []
    for counts in outcomes:
        kinds = np.repeat(np.arange(6), counts)
        found = certify_cascade(thresholds, *pair(gaps[kinds], differs[kinds]), alpha=alpha, delta=delta)
        selected.append(-1 if found.selected is None else found.selected)
    ways = np.array([factorial(n) / prod(map(factorial, c)) for c in outcomes])
    rng = np.random.default_rng(2)
    shares = [np.array([0.33, 0.33, 0.34]), np.array([0.1, 0.2, 0.7]), np.array([0.2, 0.3, 0.5])]
    shares += [rng.dirichlet(np.full(3, spread)) for spread in (0.3, 1.0, 10.0) for _ in range(4)]
    rates = [r for r in itertools.product((0.0, alpha, min(1.0, 1.4 * alpha)), repeat=3) if max(r) > 0]
    largest = 0.0
    for share, rate in itertools.product(shares, rates):
        weights = np.column_stack([share * (1 - np.array(rate)), share * rate]).ravel()
        chance = ways * np.prod(weights ** np.array(outcomes), axis=1)
        assert chance.sum() == pytest.approx(1)
        risk = np.cumsum(share * rate) / np.cumsum(share)
        wrong = chance[[s >= 0 and risk[s] >= alpha - 1e-12 for s in selected]].sum()
        assert wrong <= delta * (1 + 1e-9), (share, rate)
        largest = max(largest, wrong)
    assert largest > 0.2 * delta


def test_both_steps_together_are_valid_and_serve_most_of_what_could_be():
    rng = np.random.default_rng(3)
    alpha, delta, runs = 0.1, 0.1, 300
    wrong, share = 0, []
    for _ in range(runs):
        thresholds = choose_thresholds(*draw(rng, 500, "validation"), alpha=alpha, examples=1000)
        found = certify_cascade(thresholds, *draw(rng, 1000, "certification"), alpha=alpha, delta=delta)
        t = math.inf if found.selected is None else found.thresholds[found.selected]
        wrong += math.exp(-t) / 4 > alpha
        share.append(math.exp(-t))
    assert wrong / runs <= delta + 3 * math.sqrt(delta * (1 - delta) / runs)
    # 40 % can be served at a risk of 10 %; 30 % of 1000 have 22.5 differing on average, and 22 may differ
    assert 0.25 < np.mean(share) < 0.4


def test_share_and_cost():
    small, dense = pair(np.r_[np.full(300, 2.0), np.zeros(100)], np.zeros(400, dtype=bool))
    found = certify_cascade(Thresholds(values=(1.0,)), small, dense, alpha=0.05, delta=0.05)
    assert found.share_served.value == 0.75
    lo, hi = clopper_pearson(300, 400)
    assert (found.share_served.lo, found.share_served.hi) == (lo, hi)
    cost = found.cost(small=20, dense=100)
    assert (cost.value, cost.lo, cost.hi) == pytest.approx((45.0, 120 - 100 * hi, 120 - 100 * lo))
    assert found.sentence() == (
        "With 95\u202f% confidence, at most 5\u202f% of the predictions that the small network serves differ from the "
        "dense network; it served 75.0\u202f% of 400 examples."
    )
    with pytest.raises(BadInput, match="multiply-accumulates"):
        found.cost(small=-1, dense=100)
    with pytest.raises(BadInput, match="multiply-accumulates"):
        found.cost(small=1, dense=math.inf)


def test_fingerprints_travel_and_must_fit():
    chosen = choose_thresholds(*pair([1.0] * 30, [False] * 30, "validation", data="v", small="s", dense="d"), alpha=0.1)
    assert (chosen.data, chosen.small, chosen.dense) == ("v", "s", "d")
    small, dense = pair([1.0] * 30, [False] * 30, data="c", small="s", dense="d")
    found = certify_cascade(chosen, small, dense, alpha=0.1, delta=0.1)
    assert (found.data, found.choice_data, found.small, found.dense, found.selected) == ("c", "v", "s", "d", 0)
    with pytest.raises(SplitMisuse, match="other examples"):
        certify_cascade(replace(chosen, data="c"), small, dense, alpha=0.1, delta=0.1)
    with pytest.raises(BadInput, match="another dense network"):
        certify_cascade(replace(chosen, dense="e"), small, dense, alpha=0.1, delta=0.1)
    with pytest.raises(BadInput, match="another small network"):
        certify_cascade(replace(chosen, small="t"), small, dense, alpha=0.1, delta=0.1)


def test_other_splits_are_refused():
    fixed = Thresholds(values=(1.0,))
    for split in ("validation", "test", "train"):
        with pytest.raises(SplitMisuse, match="certified on the certification split"):
            certify_cascade(fixed, *pair([1.0], [False], split), alpha=0.1, delta=0.1)
    for split in ("certification", "test"):
        with pytest.raises(SplitMisuse, match="chosen on the validation split"):
            choose_thresholds(*pair([1.0], [False], split), alpha=0.1)


@pytest.mark.parametrize("values", [(), (1.0, 1.0), (1.0, 2.0), (math.inf, 1.0), (math.nan,)])
def test_thresholds_refused(values):
    with pytest.raises(BadInput, match="thresholds are finite and fall"):
        Thresholds(values=values)


@pytest.mark.parametrize(
    "options", [{"alpha": 0.0}, {"alpha": 1.0}, {"delta": 0.0}, {"delta": 1.0}, {"delta": math.nan}], ids=str
)
def test_certification_refused(options):
    with pytest.raises(BadInput):
        certify_cascade(Thresholds(values=(1.0,)), *pair([1.0], [False]), **{"alpha": 0.1, "delta": 0.1, **options})


@pytest.mark.parametrize(
    "options", [{"alpha": 0.0}, {"shares": ()}, {"shares": (0.0, 0.5)}, {"shares": (1.1,)}, {"examples": 0}], ids=str
)
def test_choice_refused(options):
    with pytest.raises(BadInput):
        choose_thresholds(*pair([1.0], [False], "validation"), **{"alpha": 0.1, **options})
    small, dense = pair([1.0], [False])[0], pair([1.0, 1.0], [False, False])[1]
    with pytest.raises(BadInput, match="number of examples"):
        certify_cascade(Thresholds(values=(1.0,)), small, dense, alpha=0.1, delta=0.1)
