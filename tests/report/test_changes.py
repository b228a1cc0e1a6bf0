"""Changes in units of the dense seeds' spread, against NumPy, SciPy's distributions and simulation."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from prudent.report.changes import change_of, changes, compare, luck, spread_error, worst
from prudent.report.measures import MEASURE, MEASURES, has, summary

ERROR, AUROC, SURE = MEASURE["error"], MEASURE["auroc_max_prob"], MEASURE["confidence"]


@pytest.mark.parametrize("seeds", [2, 3, 5, 10, 30])
def test_luck_is_students_prediction_limit(seeds):
    assert luck(seeds) == pytest.approx(scipy.stats.t.ppf(0.975, seeds - 1) * math.sqrt(2 / seeds), rel=1e-12)


@pytest.mark.parametrize("seeds", [3, 10])
def test_luck_alone_passes_it_in_one_of_twenty(seeds):
    rng = np.random.default_rng(seeds)
    dense, other = rng.normal(size=(2, 200_000, seeds))
    effect = (other.mean(axis=1) - dense.mean(axis=1)) / dense.std(axis=1, ddof=1)
    assert np.mean(np.abs(effect) > luck(seeds)) == pytest.approx(0.05, abs=0.002)


def test_one_seed_is_never_clear():
    assert luck(1) == math.inf
    change = compare(ERROR, [0.1], [0.9])
    assert change.effect is None
    assert not change.clear
    assert change.verdict == ""


def test_with_two_seeds_a_large_change_is_undecided_and_a_small_one_is_not():
    dense = [0.17, 0.23]
    assert compare(ERROR, dense, [0.4, 0.4]).undecided
    assert not compare(ERROR, dense, [0.21, 0.22]).undecided
    clear = compare(ERROR, [0.2, 0.201], [0.9, 0.9])
    assert (clear.undecided, clear.verdict) == (False, "worse")
    assert not compare(ERROR, [0.17, 0.2, 0.23], [0.28, 0.28, 0.28]).undecided


@pytest.mark.parametrize("seeds", [3, 10])
def test_spread_error_holds_the_true_ratio_in_19_of_20(seeds):
    low, high = spread_error(seeds)
    ratios = 1 / np.random.default_rng(seeds).normal(size=(100_000, seeds)).std(axis=1, ddof=1)
    assert np.mean((ratios >= low) & (ratios <= high)) == pytest.approx(0.95, abs=0.003)


@pytest.mark.parametrize(
    ("measure", "pruned", "verdict", "worse", "better"),
    [
        (ERROR, [0.30, 0.31, 0.32], "worse", 3, 0),
        (ERROR, [0.01, 0.01, 0.02], "better", 0, 3),
        (ERROR, [0.10, 0.12, 0.15], "", 1, 0),
        (AUROC, [0.01, 0.01, 0.02], "worse", 3, 0),
        (AUROC, [0.50, 0.51, 0.52], "better", 0, 3),
        (SURE, [0.50, 0.51, 0.52], "more", 3, 0),
        (SURE, [0.01, 0.01, 0.02], "less", 0, 3),
    ],
)
def test_direction_and_seeds(measure, pruned, verdict, worse, better):
    dense = [0.10, 0.12, 0.14]
    change = compare(measure, dense, pruned)
    expected = (np.mean(pruned) - np.mean(dense)) / np.std(dense, ddof=1)
    assert abs(change.effect) == pytest.approx(abs(expected), rel=1e-12)
    assert (change.verdict, change.worse, change.better) == (verdict, worse, better)


def test_no_spread_no_effect():
    assert compare(ERROR, [0.1, 0.1, 0.1], [0.2, 0.2, 0.2]).effect is None


def test_every_change_of_a_run_against_its_results(run):
    networks = {(n["seed"], n["method"], n["requested"]): n for n in run.results["networks"]}
    for method, i in run.candidates():
        for change in changes(run, method, i):
            place, _, name = change.measure.key.rpartition(".")
            table = "mc_metrics" if place else "metrics"
            sign = -1 if change.measure.better == "higher" else 1
            dense = np.array([networks[s, "", 0.0][table][name]["value"] for s in (0, 1, 2)])
            pruned = np.array([networks[s, method.name, method.sparsities[i]][table][name]["value"] for s in (0, 1, 2)])
            effect = sign * (pruned.mean() - dense.mean()) / dense.std(ddof=1)
            assert change.effect == pytest.approx(effect, rel=1e-9)
            assert change.worse == int(np.sum(sign * (pruned - dense) > 0))
            assert change.better == int(np.sum(sign * (pruned - dense) < 0))
            stated = networks[0, "", 0.0][table][name]["better"]
            assert change.measure.better == stated, change.measure.key


def test_changes_are_ranked_and_leave_out_what_has_no_spread(run):
    found = changes(run, *run.start)
    sizes = [abs(c.effect) for c in found]
    assert sizes == sorted(sizes, reverse=True)
    listed = {c.measure.key for c in found}
    assert {"error", "ece", "auroc_max_prob", "mc.mutual_information"} <= listed
    assert all(has(run, key) for key in listed)


def test_the_worst_change_is_the_largest_of_those_with_a_direction(run):
    judged = [c for c in changes(run, *run.start) if c.measure.better != "neither" and c.effect > 0]
    looked_at = sum(c.measure.better != "neither" for c in changes(run, *run.start))
    assert worst(run, *run.start) == replace(judged[0], looked_at=looked_at)


def test_the_largest_of_many_must_be_larger_to_be_clear():
    """Were pruning without effect, the largest of m changes would pass its own limit in no more than 1 of 20 cases."""
    rng = np.random.default_rng(0)
    seeds, measures, cases = 3, 8, 20_000
    dense, pruned = rng.normal(size=(2, cases, measures, seeds))
    effects = (pruned.mean(-1) - dense.mean(-1)) / dense.std(-1, ddof=1)
    largest = effects.max(axis=1)
    assert (largest > luck(seeds, measures)).mean() < 0.05 / 2 + 0.01
    assert (largest > luck(seeds)).mean() > 0.1, "without it far too many"


def test_one_seed_ranks_nothing(single):
    assert changes(single, *single.start) == []
    assert worst(single, *single.start) is None


def test_measures_know_their_direction_and_words():
    assert len({m.key for m in MEASURES}) == len({m.name for m in MEASURES}) == len(MEASURES)


@pytest.mark.parametrize(
    ("key", "value", "shown", "bare"),
    [
        ("error", 0.0225, "2.3\u202f%", "2.3"),
        ("ece", 0.01449, "1.4 points", "1.4"),
        ("auroc_max_prob", 0.9493, "0.949", "0.949"),
    ],
)
def test_values_in_words(key, value, shown, bare):
    assert MEASURE[key].show(value) == shown
    assert MEASURE[key].bare(value) == bare


def test_large_test_splits_get_another_digit():
    assert MEASURE["error"].show(0.01836, finely=True) == "1.84\u202f%"


def test_intervals_are_ranges_then_students(run, plain):
    assert summary([0.1, 0.2, 0.3]).interval == "range of 3 seeds"
    wide = summary([0.0, 0.0, 0.0, 0.0, 0.05])
    assert "t interval" in wide.interval
    assert wide.lo == 0.0  # a share never lies below 0
    assert change_of(plain, *plain.start, ERROR).seeds == 6
