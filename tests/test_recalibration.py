"""Temperatures inside and around a mean of members, and what they do, against definitions written out."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax

from prudent.errors import BadInput, SplitMisuse
from prudent.recalibration import recalibrate
from prudent.temperature import fit_temperature
from prudent.types import Predictions
from tests.conftest import predictions


def sampled(n, *, members=5, seed=0, split="validation", sharpness=2.5):
    """Members around common logits, whose labels are drawn from the mean of their softmax, then made too sure."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(1, n, 3)) * 1.5 + rng.normal(size=(members, n, 3))
    mean = softmax(logits, axis=-1).mean(0)
    labels = (rng.random((n, 1)) > mean.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    return Predictions(logits=(logits * sharpness).astype(np.float32), labels=labels, split=split)


def mean_at(p, t, where):
    z = p.logits.astype(np.float64)
    if where == "inside":
        return softmax(z / t, axis=-1).mean(axis=0)
    return softmax(np.log(softmax(z, axis=-1).mean(axis=0)) / t, axis=-1)


def by_definition(p, t, where, bins=15):
    """NLL, ECE and UCE example by example."""
    mean, n = mean_at(p, t, where), p.n
    nll = -np.log(mean[np.arange(n), p.labels]).mean()
    totals = {"ece": {}, "uce": {}}
    for row, y in zip(mean, p.labels, strict=True):
        right = row.argmax() == y
        entropy = -(row * np.log(row)).sum() / np.log(len(row))
        for name, bin_of, said, seen in (
            ("ece", min(int(row.max() * bins), bins - 1), row.max(), right),
            ("uce", max(int(np.ceil(entropy * bins)) - 1, 0), entropy, not right),
        ):
            totals[name].setdefault(bin_of, []).append((said, seen))
    errors = [sum(abs(sum(a - b for a, b in pairs)) for pairs in totals[name].values()) / n for name in ("ece", "uce")]
    return nll, *errors


@pytest.mark.parametrize("where", ["inside", "around"])
def test_numbers_against_the_definitions(where):
    validation, test = sampled(900), sampled(500, seed=1, split="test")
    found = recalibrate(validation, test, where=where)
    best = minimize_scalar(
        lambda t: by_definition(validation, np.exp(t), where)[0], bounds=(-2, 3), method="bounded",
        options={"xatol": 1e-9},
    )  # fmt: skip
    assert found.temperature == pytest.approx(np.exp(best.x), rel=1e-4)
    before, after = by_definition(test, 1.0, where), by_definition(test, found.temperature, where)
    assert (found.nll_before, found.ece_before, found.uce_before) == pytest.approx(before, abs=1e-6)
    assert (found.nll_after, found.ece_after, found.uce_after) == pytest.approx(after, abs=1e-6)


def test_a_network_that_is_too_sure_becomes_honest():
    found = recalibrate(sampled(4000), sampled(4000, seed=1, split="test"))
    assert found.temperature == pytest.approx(2.5, rel=0.1)
    assert found.nll_after < found.nll_before
    assert found.ece_after < 0.3 * found.ece_before


def test_without_members_both_are_plain_temperature_scaling():
    p, test = sampled(600, members=1), sampled(300, members=1, seed=1, split="test")
    single = [Predictions(logits=q.logits[0], labels=q.labels, split=q.split) for q in (p, test)]
    inside, around = (recalibrate(*single, where=w) for w in ("inside", "around"))
    assert inside.temperature == around.temperature == fit_temperature(single[0])
    assert recalibrate(p, test, where="around").temperature == pytest.approx(inside.temperature, rel=1e-5)


def test_the_reference_around_the_mean(oracle):
    v = oracle("temperature_scaling_mc_dropout")
    z = np.array(v["inputs"]["logits_sample_input_class"], np.float32)
    p, test = (Predictions(logits=z, labels=np.array(v["inputs"]["y"]), split=s) for s in ("validation", "test"))
    inside, around = (recalibrate(p, test, where=w) for w in ("inside", "around"))
    assert inside.temperature == pytest.approx(v["expected"]["T_inside_mean"], abs=v["tolerance"])
    assert around.temperature == pytest.approx(v["expected"]["T_on_log_mean_prob"], abs=v["tolerance"])
    assert inside.nll_after == pytest.approx(v["expected"]["nll_inside"], abs=1e-7)
    assert around.nll_after == pytest.approx(v["expected"]["nll_log_mean_prob"], abs=1e-7)
    assert around.nll_before == pytest.approx(v["expected"]["nll_inside_T1"], abs=1e-7)
    logits = z.astype(np.float64).mean(axis=0)
    at = logits / v["expected"]["T_on_mean_logits"]
    nll = (logsumexp(at, axis=1) - at[np.arange(8), v["inputs"]["y"]]).mean()
    assert nll == pytest.approx(v["expected"]["nll_mean_logits"], abs=1e-9)


def test_refusals(unchecked):
    good = sampled(50)
    with pytest.raises(SplitMisuse, match="these are from 'test'"):
        recalibrate(sampled(50, split="test"), good)
    with pytest.raises(SplitMisuse, match="reported on test examples; these are from 'certification'"):
        recalibrate(good, sampled(50, split="certification"))
    with pytest.raises(SplitMisuse, match="reported on test examples; these are from 'ood'"):
        recalibrate(good, sampled(50, split="ood"))
    with pytest.raises(BadInput, match="as many members or none"):
        recalibrate(good, sampled(50, members=4, split="test"))
    with pytest.raises(SplitMisuse, match="other examples than those that its temperature is fitted to"):
        recalibrate(good, sampled(50))
    half = replace(sampled(50, seed=2), data="a"), replace(sampled(50, seed=3), data="a")
    with pytest.raises(SplitMisuse, match="other examples than those that its temperature is fitted to"):
        recalibrate(*half)
    with pytest.raises(BadInput, match="of one network, under dropout with the same samples, rate and seed"):
        recalibrate(replace(good, model="a"), replace(sampled(50, seed=1, split="test"), model="b"))
    with pytest.raises(BadInput, match="as many members or none"):
        recalibrate(good, predictions(50, 3))
    with pytest.raises(BadInput, match="'inside' the mean over members or 'around' it; got 'outside'"):
        recalibrate(good, sampled(50, split="test"), where="outside")
