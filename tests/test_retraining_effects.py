"""Robust retraining in a study: its effect by hand from the counts of wrong answers, and who is compared with whom."""

import csv

import numpy as np
import pytest

from prudent.parsing import parse
from prudent.report.views import beyond
from prudent.retraining_effects import _twins
from prudent.run_folder import read_results
from prudent.studies import study
from tests.report.sample import run_of

STUDY = """
name = "robust"
seeds = [0, 1]
[data]
options = { validation = 40, certification = 150, test = 100 }
[model]
options = { widths = [4, 6, 8], hidden = 16 }
[training]
epochs = 4
batch_size = 64
[retraining]
epochs = 1
[[methods]]
name = "plain"
sparsities = [0.5, 0.9]
[[methods]]
name = "robust"
title = "Robust"
sparsities = [0.5, 0.9]
retraining = { corruptions = ["contrast", "shot_noise"], severities = [1, 2] }
[[methods]]
name = "mislabelled"
sparsities = [0.5, 0.9]
retraining = { label_noise = 0.4 }
[certification]
declared = { method = "plain" }
[evaluation]
latency_turns = 3
suite = "full"
[evaluation.suite_options]
corruptions = ["contrast", "brightness", "impulse_noise"]
severities = [1, 5]
noises = [32.0]
radii = []
tolerated = 0.03
"""

GROUPS = {
    "nominal": ["nominal"],
    "retrained_on": ["contrast-1", "contrast-5"],
    "held_out": ["brightness-1", "brightness-5", "impulse_noise-1", "impulse_noise-5"],
    "noise": ["noise-32.0"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("robust")
    (place / "robust.toml").write_text(STUDY)
    return study(place / "robust.toml", out=place / "runs", executor="inline")


@pytest.fixture(scope="module")
def results(folder):
    return read_results(folder)


def rate(results, seed, method, sparsity, names):
    """Errors among the images of these outputs, from the saved counts."""
    same = (n for n in results["networks"] if (n["seed"], n["method"], n["requested"]) == (seed, method, sparsity))
    counts = next(same)["suite"]["wrong"]
    return sum(counts["of"][name] for name in names) / (counts["n"] * len(names))


def test_who_is_compared_with_whom(results):
    found = {one["method"]: one for one in results["suite"]["retraining"]}
    assert {name: one["beside"] for name, one in found.items()} == {"robust": "plain", "mislabelled": "plain"}
    assert found["robust"]["differs"] == {"corruptions": ["contrast", "shot_noise"], "severities": [1, 2]}
    assert found["mislabelled"]["differs"] == {"label_noise": 0.4}
    assert list(found["robust"]["tasks"]) == list(GROUPS)
    assert found["robust"]["tasks"]["retrained_on"]["names"] == ["contrast"], "shot noise is not in the suite"
    assert list(found["mislabelled"]["tasks"]) == ["nominal", "held_out", "noise"], "it was retrained on none"


def test_errors_potentials_and_paired_changes_by_hand(results):
    tasks = next(one for one in results["suite"]["retraining"] if one["method"] == "robust")["tasks"]
    for group, names in GROUPS.items():
        potentials = {"robust": [], "plain": []}
        for seed in (0, 1):
            dense = rate(results, seed, "", 0.0, names)
            for method, own in potentials.items():
                fine = [s for s in (0.5, 0.9) if rate(results, seed, method, s, names) - dense <= 0.03 + 1e-12]
                own.append(max(fine, default=0.0))
        found = tasks[group]
        assert found["own"]["value"] == pytest.approx(np.mean(potentials["robust"]))
        assert found["other"]["value"] == pytest.approx(np.mean(potentials["plain"]))
        moved = np.subtract(potentials["robust"], potentials["plain"])
        assert (found["change"]["lo"], found["change"]["hi"]) == pytest.approx((moved.min(), moved.max()))
        for error, sparsity in zip(found["errors"], (0.5, 0.9), strict=True):
            assert error["requested"] == sparsity
            own, other = ([rate(results, s, m, sparsity, names) for s in (0, 1)] for m in ("robust", "plain"))
            moved = np.subtract(own, other)
            assert error["own"]["value"] == pytest.approx(np.mean(own))
            assert error["other"]["value"] == pytest.approx(np.mean(other))
            assert (error["change"]["value"], error["change"]["lo"]) == pytest.approx((moved.mean(), moved.min()))
            assert (error["change"]["better"], found["change"]["better"]) == ("lower", "higher")


def test_it_stands_in_the_table_and_on_the_page(folder, results):
    rows = {
        (r["method"], r["sparsity"], r["measure"]): r
        for r in csv.DictReader((folder / "suite.csv").read_text().splitlines())
    }
    tasks = next(one for one in results["suite"]["retraining"] if one["method"] == "robust")["tasks"]
    row = rows["robust", "0.9", "retraining.held_out.error"]
    error = tasks["held_out"]["errors"][1]
    assert float(row["mean"]) == pytest.approx(error["own"]["value"], rel=1e-5)
    assert float(row["change"]) == pytest.approx(error["change"]["value"], rel=1e-5)
    potential = rows["robust", "", "retraining.held_out.potential"]
    assert float(potential["mean"]) == pytest.approx(tasks["held_out"]["own"]["value"])
    by_task = results["suite"]["potentials"]["plain"]["by_task"]
    assert float(rows["plain", "", "potential.contrast"]["mean"]) == pytest.approx(by_task["contrast"]["value"])
    view = beyond.view(run_of(folder))
    first, second = view["retraining"]
    assert (first["title"], first["how"]) == ("Robust", "corruptions = contrast, shot_noise, severities = 1, 2")
    assert [row["task"] for row in first["rows"]] == [
        "images as they are", "corruptions it was retrained on", "corruptions held out", "noise",
    ]  # fmt: skip
    assert [row["task"] for row in second["rows"]] == ["images as they are", "corruptions", "noise"]
    shown = first["rows"][2]["cells"][5]["value"].replace("\N{MINUS SIGN}", "-")
    assert float(shown) == pytest.approx(100 * error["change"]["value"], abs=0.051)
    page = (folder / "report.html").read_text()
    assert "corruptions held out" in page
    assert "retrained with label_noise = 0.4" in page


@pytest.mark.parametrize(
    ("old", "new", "pairs"),
    [
        ("", "", [("robust", "plain"), ("mislabelled", "plain")]),
        ("sparsities = [0.5, 0.9]\nretraining = { label", "sparsities = [0.5]\nretraining = { label",
         [("robust", "plain")]),
        ("{ label_noise = 0.4 }", "{ epochs = 2, label_noise = 0.4 }", [("robust", "plain")]),
        ("{ label_noise = 0.4 }", "{ lr = 0.02 }", [("robust", "plain")]),
        ("batch_size = 64", "batch_size = 64\ncorruptions = ['fog']", []),
        ("{ label_noise = 0.4 }", "{ corruptions = [], label_noise = 0.0 }",
         [("robust", "plain"), ("robust", "mislabelled")]),
    ],
    ids=["all", "other sparsities", "other epochs", "no robust key", "all are robust", "turned off is nominal"],
)  # fmt: skip
def test_twins_differ_in_nothing_else(old, new, pairs):
    methods = parse(STUDY.replace(old, new) if old else STUDY, source="s").methods
    assert [(own.name, other.name) for own, other in _twins(methods)] == pairs
