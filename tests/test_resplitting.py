"""Resplits: against certificates made one by one, and how often certificates are wrong over a known population."""

import json
import math
from dataclasses import asdict, replace
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import binom

import prudent.resplitting as module
from prudent.anytime import certify_anytime
from prudent.certification import certify
from prudent.errors import BadInput, UnknownName
from prudent.resplitting import resplit
from prudent.seeds import stream
from prudent.stopping import StoppingRule, stopping_rule
from prudent.types import Losses

COUNTED = ("binomial", "hoeffding", "kl_hoeffding", "hoeffding_bentkus", "hockey_stick", "empirical_bernstein",
           "beta_mixture", "fixed_bet")  # fmt: skip


def pool(*rates, size=600, seed=0):
    """Losses of a few candidates; each is lost on exactly that share of the pool, on nested examples."""
    order = np.random.default_rng(seed).permutation(size)
    values = np.zeros((size, len(rates)))
    for i, rate in enumerate(rates):
        values[order[: round(rate * size)], i] = 1.0
    return Losses(
        values=values, names=tuple(f"c{i}" for i in range(len(rates))),
        sparsities=tuple((i + 1) / (len(rates) + 1) for i in range(len(rates))), loss="error", split="test",
    )  # fmt: skip


def draws(size, n, resplits, *, replacement=False, seed=0):
    """The same draws, as the definition says them."""
    rng = np.random.default_rng(stream("resplits", seed))
    for _ in range(resplits):
        yield rng.integers(size, size=n) if replacement else rng.permutation(size)[:n]


def slow(losses, bound, alpha, delta, n, resplits, **options):
    """One certificate after the other, by `certify` and `certify_anytime` themselves."""
    selected, examples = [], []
    for drawn in draws(losses.n, n, resplits, **options):
        own = replace(losses, values=losses.values[drawn], split="certification")
        if bound == "anytime":
            found = certify_anytime(
                lambda j, s, own=own: own.values[s, j], n=n, sparsities=losses.sparsities, alpha=alpha, delta=delta,
                batch=16,
            )  # fmt: skip
            selected.append(found.certificate.selected)
            examples.append(found.forward_examples)
        else:
            certificate = certify(own, alpha=alpha, delta=delta, bound=bound)
            selected.append(certificate.selected)
            examples.append(n * sum(state != "not tested" for state in certificate.states))
    return selected, examples


@pytest.mark.parametrize("bound", [*COUNTED, "anytime"])
@pytest.mark.parametrize(("alpha", "replacement"), [(0.08, False), (0.2, True)])
def test_every_number_is_that_of_certificates_made_one_by_one(bound, alpha, replacement):
    losses, n, resplits = pool(0.01, 0.03, 0.05, 0.085, 0.15, 0.3), 150, 40
    found = resplit(losses, n=n, alphas=[alpha], delta=0.2, bounds=[bound], resplits=resplits, batch=16,
                    replacement=replacement, seed=3)  # fmt: skip
    selected, examples = slow(losses, bound, alpha, 0.2, n, resplits, replacement=replacement, seed=3)
    row = found.rows[0]
    risks = [Fraction(int(k), losses.n) for k in losses.values.sum(axis=0)]
    wrong = sum(i is not None and risks[i] > Fraction(str(alpha)) for i in selected)
    reached = sorted(0.0 if i is None else losses.sparsities[i] for i in selected)
    assert (row.bound, row.alpha, row.violated) == (bound, alpha, wrong)
    assert row.nothing == sum(i is None for i in selected)
    assert row.mean == pytest.approx(sum(reached) / resplits)
    # the k-th smallest of m is the p-quantile for (k - 1) / m < p <= k / m
    assert (row.low, row.median, row.high) == tuple(reached[math.ceil(p * resplits) - 1] for p in (0.05, 0.5, 0.95))
    assert row.examples == pytest.approx(sum(examples) / resplits)
    assert row.violated_lo <= wrong / resplits <= row.violated_hi


def test_limits_of_the_share_of_wrong_certificates_are_clopper_and_pearsons():
    row = resplit(pool(0.02, 0.11), n=60, alphas=[0.1], delta=0.5, bounds=["binomial"], resplits=200).rows[0]
    assert 0 < row.violated < 200
    assert binom.sf(row.violated - 1, 200, row.violated_lo) == pytest.approx(0.025)
    assert binom.cdf(row.violated, 200, row.violated_hi) == pytest.approx(0.025)


@pytest.mark.parametrize("futility", [0.0, 0.05, 0.6])
@pytest.mark.parametrize(("n", "batch"), [(100, 1), (100, 16), (97, 64), (40, 64)])
def test_the_anytime_walk_stops_where_certify_anytime_stops(n, batch, futility):
    losses = pool(0.0, 0.01, 0.04, 0.12, 0.5, size=200)
    found = resplit(losses, n=n, alphas=[0.1, 0.3], delta=0.3, bounds=["anytime"], resplits=15, batch=batch,
                    futility=futility)  # fmt: skip
    for row in found.rows:
        used, reached = [], []
        for drawn in draws(losses.n, n, 15):
            own = losses.values[drawn]
            one = certify_anytime(
                lambda j, s, own=own: own[s, j], n=n, sparsities=losses.sparsities, alpha=row.alpha, delta=0.3,
                batch=batch, futility=futility,
            )  # fmt: skip
            used.append(one.forward_examples)
            at = one.certificate.selected
            reached.append(0.0 if at is None else losses.sparsities[at])
        assert row.examples == pytest.approx(np.mean(used))
        assert row.mean == pytest.approx(np.mean(reached))


def test_frugality_is_the_difference_on_the_same_examples():
    losses, n, resplits = pool(0.01, 0.03, 0.05, 0.07, 0.12, 0.4), 200, 30
    found = resplit(losses, n=n, alphas=[0.1], delta=0.1, bounds=["anytime"], resplits=resplits, batch=16)
    (one,) = found.frugality
    whole, walked = slow(losses, "binomial", 0.1, 0.1, n, resplits)
    early, used = slow(losses, "anytime", 0.1, 0.1, n, resplits)
    behind = [(-1 if a is None else a) - (-1 if b is None else b) for a, b in zip(whole, early, strict=True)]
    assert one.behind == pytest.approx(np.mean(behind))
    assert one.behind_most == max(behind) > 0
    assert one.within_one == pytest.approx(np.mean([b <= 1 for b in behind]))
    assert one.walked == pytest.approx(np.mean(walked))
    assert one.examples == pytest.approx(np.mean(used))
    assert one.examples_high == sorted(used)[math.ceil(0.95 * resplits) - 1]


def test_what_a_walk_that_knew_the_pool_would_reach():
    losses = pool(0.02, 0.05, 0.2, 0.04)
    found = resplit(losses, n=100, alphas=[0.01, 0.05, 0.1, 0.3], delta=0.1, bounds=["binomial"], resplits=2)
    # at 0.05 the second candidate's risk equals alpha, which keeps it; the fourth lies behind a bad one
    assert found.reachable == ((0.01, None), (0.05, 0.4), (0.1, 0.4), (0.3, 0.8))


def wrong(losses, *, delta=0.1, bounds=("binomial", "anytime"), resplits=2000, **options):
    found = resplit(
        losses, n=200, alphas=[0.1], delta=delta, bounds=bounds, resplits=resplits, replacement=True, **options
    )
    return {row.bound: row.violated / resplits for row in found.rows}


# one candidate just within alpha and one just above: the hardest population, on which luck decides
HARD = (0.02, 0.1, 0.105)
# three standard errors of a share of 0.1 among 2,000
SLACK = 3 * (0.1 * 0.9 / 2000) ** 0.5


def test_certificates_over_a_known_population_are_wrong_no_more_often_than_delta():
    share = wrong(pool(0.105, 0.11, 0.2), bounds=(*COUNTED, "anytime"))
    assert all(s <= 0.1 + SLACK for s in share.values()), share
    # the exact chance that 200 draws of a population with risk 0.105 stay at or below the allowed count
    most = max(k for k in range(200) if binom.cdf(k, 200, 0.1) <= 0.1)
    exact = binom.cdf(most, 200, 0.105)
    assert share["binomial"] == pytest.approx(exact, abs=SLACK)
    assert exact > 0.05, "luck must have a chance, else nothing is tested"


def test_draws_without_replacement_are_wrong_less_often():
    losses = pool(0.105, size=400)
    own = {"n": 300, "alphas": [0.1], "delta": 0.1, "bounds": ["binomial"], "resplits": 1500}
    with_, without = (resplit(losses, replacement=r, **own).rows[0].violated for r in (True, False))
    assert without < with_ / 2


def test_a_delta_that_is_doubled_is_caught(monkeypatch):
    true = module.most_losses
    monkeypatch.setattr(module, "most_losses", lambda n, *, delta, **o: true(n, delta=2 * delta, **o))
    assert wrong(pool(0.101, 0.2))["binomial"] > 0.1 + SLACK


def test_a_walk_that_does_not_stop_is_caught(monkeypatch):
    many = pool(0.108, size=1000)
    values = np.random.default_rng(1).permuted(np.repeat(many.values, 25, axis=1), axis=0)
    losses = replace(many, values=values, names=tuple(map(str, range(25))), sparsities=tuple(i / 25 for i in range(25)))
    assert wrong(losses)["binomial"] <= 0.1 + SLACK
    monkeypatch.setattr(
        module, "_leading", lambda passed: np.where(passed.any(-1), passed.shape[-1] - passed[..., ::-1].argmax(-1), 0)
    )
    assert wrong(losses)["binomial"] > 0.1 + SLACK


def test_an_anytime_level_that_is_not_deltas_is_caught(monkeypatch):
    """Without Ville's inequality: certified as soon as the p-value of a fixed number of examples is at most delta."""

    def peeking(n, *, alpha, delta, bound, batch, futility):
        rule = stopping_rule(n, alpha=alpha, delta=delta, bound=bound, batch=batch, futility=futility)
        seen = np.arange(1, n + 1)
        naive = binom.ppf(delta, seen, alpha).astype(int) - 1
        return StoppingRule(certifies=naive, ends=rule.ends, goes_on=rule.ends, batch=batch)

    assert wrong(pool(*HARD))["anytime"] <= 0.1 + SLACK
    monkeypatch.setattr(module, "stopping_rule", peeking)
    assert wrong(pool(0.105, 0.2))["anytime"] > 0.1 + SLACK


def test_it_is_plain_numbers_and_the_same_twice():
    own = {"n": 100, "alphas": [0.05, 0.1], "delta": 0.1, "bounds": ["binomial", "anytime"], "resplits": 25}
    losses = pool(0.01, 0.04, 0.09)
    found = resplit(losses, **own)
    assert found == resplit(losses, **own)
    assert found != resplit(losses, seed=1, **own)
    text = json.dumps(asdict(found), allow_nan=False)
    assert json.loads(text)["rows"][0]["bound"] == "binomial"
    assert (found.n, found.pool, found.candidates, found.resplits) == (100, 600, 3, 25)
    assert [(row.bound, row.alpha) for row in found.rows] == [
        ("binomial", 0.05), ("binomial", 0.1), ("anytime", 0.05), ("anytime", 0.1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 600}, "n = 600 of 600"),
        ({"n": 0}, "n = 0 of 600"),
        ({"n": 601, "replacement": True}, "n = 601 of 600"),
        ({"alphas": []}, "need alphas, each once"),
        ({"alphas": [0.1, 0.1]}, "need alphas, each once"),
        ({"alphas": [1.0]}, r"lie in \(0, 1\)"),
        ({"delta": 0.0}, r"lie in \(0, 1\)"),
        ({"bounds": []}, "need bounds, each once"),
        ({"bounds": ["betting"]}, "depends on the order"),
        ({"resplits": 0}, "at least one resplit"),
        ({"bounds": ["anytime"], "batch": 0}, "batch of 1 or more"),
        ({"bounds": ["anytime"], "futility": 1.0}, r"futility in \[0, 1\)"),
    ],
)
def test_refused_before_work(change, message):
    with pytest.raises(BadInput, match=message):
        resplit(pool(0.1, 0.2), **{"n": 100, "alphas": [0.1], "delta": 0.1, **change})


def test_other_losses_and_names_are_refused():
    losses = pool(0.1, 0.2)
    with pytest.raises(BadInput, match="losses of 0 and 1"):
        resplit(replace(losses, values=losses.values / 2), n=100, alphas=[0.1], delta=0.1)
    with pytest.raises(BadInput, match="about all examples"):
        resplit(replace(losses, counted=losses.values == 0), n=100, alphas=[0.1], delta=0.1)
    with pytest.raises(UnknownName, match="Did you mean 'binomial'"):
        resplit(losses, n=100, alphas=[0.1], delta=0.1, bounds=["binomal"])
