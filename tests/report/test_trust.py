"""Checklist, recomputed certificates, settings and provenance."""

import json
import shutil

import pytest

from prudent.report.checklist import checklist
from prudent.report.glossary import GLOSSARY, glossary
from prudent.report.looks import look_data, passed, state
from prudent.report.settings_table import tables
from prudent.report.views import candidates, verdict
from prudent.report.views.trust import duration, moment, view
from tests.report.sample import CHANNELS, CONTROL, WEIGHTS, Sample, edit, run_of, write_run


def states(run) -> dict[str, str]:
    return {point.text: point.state for point in checklist(run)}


def state_of(run, start: str) -> str:
    return next(state for text, state in states(run).items() if text.startswith(start))


def test_the_checklist_follows_the_run(run, plain, single):
    assert state_of(run, "Several seeds") == "partly"
    assert state_of(plain, "Several seeds") == "met"
    assert state_of(single, "Several seeds") == "missing"
    assert state_of(run, "A random control") == "partly"
    assert state_of(run, "Examples that are not from the task") == "met"
    assert state_of(plain, "Examples that are not from the task") == "missing"
    assert state_of(plain, "Doubt under dropout") == "missing"
    assert state_of(run, "Noise and other corruptions") == "missing"
    assert state_of(run, "At least five sparsities") == "partly"
    assert state_of(run, "Certificates recomputed") == "met"
    assert state_of(run, "All networks were trained in one") == "met"
    assert all(point.why for one in (run, plain, single) for point in checklist(one) if point.state != "met")


def test_the_checklist_sees_controls_and_baselines(tmp_path):
    alone = run_of(write_run(tmp_path / "a", Sample(methods=(WEIGHTS,), seeds=(0, 1))))
    assert state_of(alone, "A random control") == "missing"
    assert state_of(alone, "Magnitude pruning as baseline") == "partly"
    both = run_of(write_run(tmp_path / "b", Sample(methods=(WEIGHTS, CONTROL), seeds=(0, 1))))
    assert state_of(both, "A random control") == "met"
    layers = {**WEIGHTS, "name": "layers", "scope": "layer"}
    scopes = run_of(write_run(tmp_path / "c", Sample(methods=(WEIGHTS, layers), seeds=(0, 1))))
    assert state_of(scopes, "Magnitude pruning as baseline") == "met"
    longer = {**CHANNELS, "retraining": {"epochs": 99}}
    other = run_of(write_run(tmp_path / "d", Sample(methods=(WEIGHTS, longer), seeds=(0, 1))))
    assert state_of(other, "All methods start from the same") == "partly"


def test_several_environments_are_said(folder, tmp_path):
    there = shutil.copytree(folder, tmp_path / "run")
    edit(there, lambda r: r["environments"].append({**r["environments"][0], "torch": "2.14.0"}))
    found = run_of(there)
    assert state_of(found, "All networks were trained in one") == "partly"
    assert len(view(found)["environments"]) == 2


def test_counts_of_the_answer(run):
    found = [point.state for point in checklist(run)]
    answer = view(run)["answer"]
    assert answer.startswith(f"{found.count('met')} of {len(found)} points")


@pytest.fixture
def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "run")


def test_certificates_that_hold(run):
    assert (run.verification.held, run.verification.broken) == (18, ())
    assert run.broken == frozenset()


def test_a_changed_certificate_is_broken(copied):
    path = copied / "certificates/magnitude-disagreement-seed0.json"
    path.write_text(path.read_text().replace('"alpha": 0.1', '"alpha": 0.09'))
    found = run_of(copied)
    assert [file for file, _ in found.verification.broken] == ["certificates/magnitude-disagreement-seed0.json"]
    assert verdict.view(found)["state"] == "broken"
    assert state(found, *found.start)["word"] == "certificate broken"
    assert passed(found, found.start[0]) is None
    row = candidates.view(found)["rows"][0]
    assert ("bad", "certificate broken") in row["tags"]
    assert "Weights by magnitude" not in candidates.view(found)["answer"]
    assert state_of(found, "Certificates recomputed") == "missing"


def test_results_that_say_something_else_than_the_certificate_are_broken(copied):
    def change(results):
        results["certificates"][0]["selected"] = 3

    edit(copied, change)
    found = run_of(copied)
    assert "something else" in found.verification.broken[0][1]
    assert verdict.view(found)["state"] == "broken"


def test_another_broken_certificate_does_not_break_the_declared_one(copied):
    (copied / "certificates/random-error-seed1.losses.safetensors").write_bytes(b"not it")
    found = run_of(copied)
    assert verdict.view(found)["state"] == "certified"
    assert len(verdict.view(found)["broken"]) == 1


def test_what_has_no_certificate_is_not_called_certified(copied):
    shutil.rmtree(copied / "certificates")
    found = run_of(copied)
    assert len(found.verification.broken) == 18
    assert verdict.view(found)["state"] == "broken"
    assert "not there" in verdict.view(found)["broken"][0]["reason"]
    assert state_of(found, "Certificates recomputed") == "missing"


def leaves(value, path=()):
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for k, inner in enumerate(value):
            yield from leaves(inner, (*path, k))
    else:
        yield path, value


def test_every_setting_is_there_with_its_value(run):
    shown = {(t["head"], row["key"]): row for t in tables(run.study) for row in t["rows"]}
    count = 0
    for path, value in leaves(run.study):
        if len(path) == 1:
            head, key = "the study", path[0]
        elif isinstance(path[1], int):
            head, key = f"[[{path[0]}]] {path[1] + 1}", ".".join(path[2:])
        else:
            head, key = f"[{path[0]}]", ".".join(path[1:])
        row = shown[head, key]
        written = value if isinstance(value, str) else json.dumps(value)
        assert row["value"] == ("not set" if value is None else written)
        assert row["meaning"], (head, key)
        count += 1
    assert count == len(shown) >= 60


def test_defaults_are_marked(run):
    shown = {(t["head"], row["key"]): row for t in tables(run.study) for row in t["rows"]}
    assert shown["[training]", "epochs"]["default"]
    assert not shown["[certification]", "alpha"]["default"]
    assert not shown["[[methods]] 1", "name"]["default"]


def test_free_options_and_unknown_settings_stay_values():
    study = {"name": "a", "model": {"name": "mlp", "options": {"hidden": [3]}}, "later": {"key": True}}
    shown = {(t["head"], row["key"]): row for t in tables(study) for row in t["rows"]}
    assert shown["[model]", "options"]["value"] == '{"hidden": [3]}'
    assert shown["[later]", "key"]["value"] == "true"
    assert shown["[later]", "key"]["meaning"] == ""


def test_the_glossary_has_only_what_occurs(run, plain, single, six):
    # no examples are drawn anew here, no teams chosen, no suite measured, and dropout is not all measured
    elsewhere = {name for name, entry in GLOSSARY.items() if entry.needs in ("resplits", "teams", "suite", "doubt")}
    assert {"resplit", "team", "potential"} <= elsewhere
    assert set(glossary(run)) == set(GLOSSARY) - {"chance"} - elsewhere
    assert set(glossary(six)) == set(GLOSSARY) - elsewhere
    assert {"auroc", "mi", "stranger"}.isdisjoint(glossary(plain))
    assert {"luck", "spread"}.isdisjoint(glossary(single))


def test_what_the_script_is_told_of_the_looks(run):
    found = look_data(run)
    assert (found["method"], found["candidate"]) == (0, 1)
    words = [[c["word"] for c in method["candidates"]] for method in found["methods"]]
    assert words[0] == ["certified", "certified", "stopped here", "not tested"]
    assert words[2][:2] == ["passes by itself", "passes by itself"]


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (83.1, "83 s"), (128, "2 min 8 s"), (11_100, "3 h 5 min")])
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_moments():
    assert moment("2026-11-21T02:29:44+00:00") == "21 November 2026, 02:29 UTC"
    assert moment("yesterday") == "yesterday"


@pytest.mark.parametrize(
    ("found", "state", "why"),
    [
        ({"validation": 0, "within": 0, "test": 9}, "met", "No input of another split occurs in train"),
        ({"validation": 2, "within": 0, "test": 0}, "partly", "certification inputs some occur again: 2 in validation"),
        ({"validation": 0, "within": 3, "test": 0}, "partly", "some occur again: 3 more than once"),
        ({"validation": 2, "within": 3, "test": 0}, "partly", "2 in validation, too and 3 more than once"),
    ],
)
def test_the_checklist_tells_inputs_that_occur_again(copied, found, state, why):
    edit(copied, lambda results: results["data"].update(leaks=found))
    point = next(point for point in checklist(run_of(copied)) if point.text.startswith("Four disjoint splits"))
    assert point.state == state
    assert why in point.why
