"""The section on what was lost beyond accuracy, against the numbers of its run."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t

from prudent.report import build_report
from prudent.report.checklist import checklist
from prudent.report.glossary import glossary
from prudent.report.reading import Run
from prudent.report.taken import matrix
from prudent.report.views import beyond
from tests.report.sample import Sample, edit, run_of, write_run
from tests.report.suite_sample import KEYS, TASKS, with_suite


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = write_run(tmp_path_factory.mktemp("suite"))
    edit(place, with_suite)
    return place


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return run_of(folder)


@pytest.fixture(scope="module")
def view(run):
    return beyond.view(run)


def words(text) -> str:
    return re.sub(r"<[^>]+>", "", str(text)).replace("\u202f", " ")


def mean(run: Run, method: str, sparsity: float, key: str) -> float:
    same = [n for n in run.results["networks"] if (n["method"], n["requested"]) == (method, sparsity)]
    return sum(n["suite"]["measures"][key] for n in same) / len(same)


def look(view, at: str):
    return next(one for one in view["looks"] if one["at"] == at)


def test_the_checklist_knows_what_the_suite_measured(tmp_path):
    def states(change):
        place = write_run(tmp_path / change.__name__, Sample(ood=False))
        edit(place, change)
        return {point.text.split(" ")[0]: (point.state, point.why) for point in checklist(run_of(place))}

    def without_noise(results):
        with_suite(results)
        for row in results["suite"]["rows"]:
            row["metrics"] = {k: v for k, v in row["metrics"].items() if not k.startswith("noise.")}

    def without_images(results):
        without_noise(results)
        for row in results["suite"]["rows"]:
            row["metrics"] = {k: v for k, v in row["metrics"].items() if not k.startswith("corruption.")}

    assert states(without_images)["Noise"] == ("missing", "The suite could not measure them.")
    whole, part = states(with_suite), states(without_noise)
    assert whole["Noise"] == ("met", "")
    assert whole["Examples"] == ("met", "150 patches and 90 letters")
    assert part["Noise"] == ("partly", "Only corruption.")


def test_a_run_without_a_suite_has_no_such_section(tmp_path):
    plain = run_of(write_run(tmp_path, Sample(ood=False, dropout=False)))
    assert beyond.view(plain) is None
    assert "potential" not in glossary(plain)


def test_what_was_hurt_is_said_with_its_verdict(view):
    said = words(look(view, "0:1")["hurt"])  # magnitude at 75 %
    assert said == (
        "Hurt most, of 4 classes, 2 corruptions and 2 sets of strangers: class eel, wrong in 12.3 % → 57.5 % (more "
        "than luck, p = 0.012); corruption gaussian noise, wrong in 12.3 % → 57.5 % (more than luck, p = 0.050); "
        "strangers letters, told apart with AUROC 0.877 → 0.425 (luck may explain it, p = 0.400)."
    )
    harder = words(look(view, "0:2")["hurt"])
    assert harder.count("more than luck") == 1
    assert "(luck may explain it, p = 0.0501)" in harder
    assert "strangers letters" not in words(look(view, "0:0")["hurt"]), "what was not hurt is not named"


def test_figures_stand_beside_dense_and_control(run, view):
    figures = {row["name"]: row["cells"] for row in look(view, "0:3")["figures"]}
    for name, key, factor, unit in (
        ("Calibration error, smooth", "calibration.ece_smooth", 100, ""),
        ("Corruption error, dense = 1 (mCE)", "corruption.mce", 1, ""),
        ("Error under attack (PGD), 4/255", "attack.4.pgd", 100, " %"),
        ("Error under the strongest attack (APGD), 4/255", "attack.4.apgd", 100, " %"),
        ("Not proved safe by linear bounds, 4/255", "attack.4.unproved_crown", 100, " %"),
        ("Not proved safe by intervals, 4/255", "attack.4.unproved", 100, " %"),
    ):
        digits = 1 if unit else 2
        for cell, address in zip(figures[name], (("", 0.0), ("magnitude", 0.96), ("random", 0.96)), strict=True):
            expected = f"{factor * mean(run, *address, key):.{digits}f}{unit}"
            assert cell["value"].replace("\u202f", " ") == expected
    channels = look(view, "2:0")
    assert channels["control"] is False
    assert all(row["cells"][2] == {"value": "", "between": ""} for row in channels["figures"])
    assert not any("swept" in name for name in figures), "what the run lacks has no row"


def differences(run: Run, method: str, sparsity: float, key: str) -> list[float]:
    by_seed = [
        {n["seed"]: n["suite"]["measures"][key] for n in run.results["networks"] if (n["method"], n["requested"]) == a}
        for a in ((method, sparsity), ("", 0.0))
    ]
    return [by_seed[0][seed] - by_seed[1][seed] for seed in by_seed[0]]


def number(text: str) -> float:
    return float(text.replace("\u2212", "-").replace("+", ""))


def test_changes_are_seed_by_seed(run, view):
    figures = {row["name"]: row["change"] for row in look(view, "0:3")["figures"]}
    for name, key, factor, step in (
        ("Calibration error, smooth", "calibration.ece_smooth", 100, 0.005),
        ("Best temperature", "calibration.temperature", 1, 0.005),
        ("Error under attack (PGD), 4/255", "attack.4.pgd", 100, 0.05),
    ):
        each = [factor * d for d in differences(run, "magnitude", 0.96, key)]
        assert number(figures[name]["value"]) == pytest.approx(sum(each) / len(each), abs=1.01 * step)
        ends = [number(end) for end in figures[name]["between"].split(" to ")]
        assert ends == pytest.approx([min(each), max(each)], abs=1.01 * step), "three seeds: the range"
        assert figures[name]["sure"] is False, "three seeds are too few for a verdict"


@pytest.mark.parametrize(("spread", "sure"), [(0.001, True), (0.1, False)])
def test_a_change_is_sure_from_five_seeds_on_and_corrected_for_the_rows(tmp_path, spread, sure):
    def change(results):
        with_suite(results)
        for network in results["networks"]:
            wobble = spread * (network["seed"] - 2) * (network["requested"] > 0)
            network["suite"]["measures"]["corruption.error"] = 0.2 + 0.3 * (network["requested"] > 0) + wobble
            network["suite"]["measures"]["attack.4.pgd"] = 0.5

    folder = write_run(tmp_path, Sample(seeds=(0, 1, 2, 3, 4)))
    edit(folder, change)
    rows = {row["name"]: row["change"] for row in look(beyond.view(run_of(folder)), "0:3")["figures"]}
    error = rows["Error under corruption"]
    assert error["value"] == "+30.0"
    # t at 1 - 0.025 / rows with 4 degrees of freedom, by hand
    deviation = spread * np.sqrt(10 / 4)
    half = t.ppf(1 - 0.025 / len(rows), 4) * deviation / np.sqrt(5)
    assert error["sure"] is sure is bool(half < 0.3)
    narrow = t.ppf(0.975, 4) * deviation / np.sqrt(5)
    assert narrow < 0.3, "without the correction both would be sure"
    assert [number(end) for end in error["between"].split(" to ")] == pytest.approx(
        [30 - 100 * narrow, 30 + 100 * narrow], abs=0.06
    )
    assert rows["Error under attack (PGD), 4/255"] == {"value": "0.0", "between": "0.0 to 0.0", "sure": False}


def test_what_linear_bounds_were_asked_about(view, folder):
    assert view["relaxed"] == "the first 32 of 200 attacked examples, the inputs of ReLUs bounded by intervals"
    assert "Linear bounds: the first 32 of 200" in build_report(folder)


def test_detectors_on_every_set(run, view):
    rows = look(view, "0:3")["detectors"]
    assert [row["name"] for row in rows] == ["energy", "relative mahalanobis"]
    for row, detector in zip(rows, ("energy", "relative_mahalanobis"), strict=True):
        for cells, name in zip(row["cells"], ("photo_patches", "letters"), strict=True):
            key = f"strangers.{name}.{detector}.auroc"
            addresses = (("", 0.0), ("magnitude", 0.96), ("random", 0.96))
            assert cells == [f"{mean(run, *address, key):.3f}" for address in addresses]


def test_movements_and_forgotten_examples(view):
    first = look(view, "0:1")
    photo, letters = first["taken"]
    assert photo["rows"] == []
    (row,) = letters["rows"]
    assert (row["stranger"], row["taken_for"], row["n"]) == ("<i>beta</i>", "eel", "45")
    assert (words(row["dense"]), words(row["pruned"])) == ("12.5 %", "75.0 %")
    forgotten = first["forgotten"]
    assert (forgotten["n"], forgotten["of"]) == ("75", "200")
    assert [(p["index"], p["label"], p["dense"], p["pruned"]) for p in forgotten["pictures"]] == [
        (7, "cat", "dog", "fox"), (3, "cat", "dog", "fox"),
    ]  # fmt: skip


def test_all_movements_as_a_matrix(view):
    photo, letters = look(view, "0:1")["taken"]  # at 75 %: 45 letters beta were 20, 10, 5, 10 and are 15, 0, 30, 0
    assert photo["matrix"] is None, "strangers without classes make no matrix"
    whole = letters["matrix"]
    assert [one["name"] for one in whole["columns"]] == ["cat", "dog", "eel", "fox"]
    assert [row["name"] for row in whole["rows"]] == ["alpha", "<i>beta</i>"]
    first, second = (row["cells"] for row in whole["rows"])
    shown = [(c["text"], c["shade"], words(c["full"])) for c in second]
    assert shown == [
        ("\u221211", "d2", "44.4 % → 33.3 %"),
        ("\u221222", "d3", "22.2 % → 0.0 %"),
        ("+56", "u4", "11.1 % → 66.7 %"),
        ("\u221222", "d3", "22.2 % → 0.0 %"),
    ]
    assert [(c["text"], c["shade"]) for c in first] == [("\u22121", "d1"), ("+1", "u1"), ("", ""), ("", "")]
    assert [words(c["full"]) for c in first[1:3]] == ["0.0 % → 0.5 %", ""]


def test_matrices_that_are_long_or_too_large():
    def of(rows, columns):
        counts = np.eye(rows, columns, dtype=int).tolist()
        moved = {"movements": [], "dense": counts, "pruned": counts}
        return matrix(moved, [f"s{i}" for i in range(rows)], [f"c{i}" for i in range(columns)])

    assert of(20, 10)["open"] is True
    assert of(21, 10)["open"] is False
    whole = of(100, 20)
    assert (len(whole["rows"]), len(whole["rows"][0]["cells"])) == (100, 20)
    assert of(100, 21) is None
    assert matrix({"movements": []}, ["a"], ["b"]) is None, "of older runs"
    assert words(whole["rows"][50]["cells"][0]["full"]) == "", "a class without strangers has no shares"


def test_how_far_each_task_lets_a_method_go(run, view):
    said = words(next(one["answer"] for one in view["answers"] if one["at"] == "0"))
    assert said == (
        "Weights by magnitude can remove 96 % within 0.5 points of the dense network's errors on the images as they "
        "are, but only 24 % for strangers: letters."
    )
    assert [row["task"] for row in view["potentials"]] == ["as they are", "gaussian noise", *TASKS[2:]]
    chart = view["data"]["potentials"]
    assert [dot["value"] for dot in chart[0]] == pytest.approx([0.96 * (1 - 0.15 * at) for at in range(6)])
    assert view["data"]["controls"] == [1, None, None]


def test_lines_follow_severity_and_noise(run, view):
    lines = view["data"]["lines"]
    severity, noise = lines["c-severity"], lines["c-noise"]
    assert [x for x, _ in severity["steps"]] == [0, 1, 5]
    assert [name for _, name in noise["steps"]] == ["0", "8", "32"]
    for chart, keys in (
        (severity, ("nominal.error", "severity.1.error", "severity.5.error")),
        (noise, ("nominal.l2", "noise.8.l2", "noise.32.l2")),
    ):
        own = chart["methods"][0][3]
        assert [p["value"] for p in own] == pytest.approx([mean(run, "magnitude", 0.96, key) for key in keys])
        assert [p["value"] for p in chart["dense"]] == pytest.approx([mean(run, "", 0.0, key) for key in keys])
        tops = [p["hi"] for method in chart["methods"] for one in method for p in one]
        assert chart["range"][1] >= max(tops)
        assert 3 <= len(chart["ticks"]) <= 7


def test_without_images_there_are_sentences_and_tables_only(folder, tmp_path):
    def change(results):
        with_suite(results)
        shifts = ("nominal", "severity", "noise", "corruption", "attack")
        for row in results["suite"]["rows"]:
            row["metrics"] = {k: v for k, v in row["metrics"].items() if k.partition(".")[0] not in shifts}
        results["suite"] |= {"images": {}, "n": 0, "potentials": {n: {} for n in results["suite"]["potentials"]}}

    place = write_run(tmp_path)
    edit(place, change)
    found = beyond.view(run_of(place))
    assert found["data"]["lines"] == {"c-severity": None, "c-noise": None}
    assert found["data"]["potentials"] == []
    assert look(found, "0:1")["forgotten"]["pictures"] == []
    page = build_report(place)
    assert 'id="c-potential"' not in page
    assert "Something is left out." in page


def test_the_page_holds_it_with_names_escaped(folder):
    page = build_report(folder)
    assert '<section id="beyond"' in page
    assert "&lt;i&gt;beta&lt;/i&gt;" in page
    assert "<i>beta</i>" not in page.partition('<script type="application/json"')[0]
    assert "a note &lt;b&gt;of&lt;/b&gt; a network" in page
    assert page.count('src="data:image/png;base64,') == 2 * 11
    assert len(KEYS) == len(set(KEYS))
