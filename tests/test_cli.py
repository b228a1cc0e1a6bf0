"""The command line: exit statuses, one-line errors, JSON for machines."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from prudent.cli import app, run

SMALL = (Path(__file__).parent / "small.toml").read_text()
TINY = (
    SMALL.replace("seeds = [0, 1]", "seeds = [1]")
    .replace("epochs = 5", "epochs = 1")
    .replace("sparsities = [0.5, 0.8, 0.95]", "sparsities = [0.5]")
    .replace("sparsities = [0.25, 0.5, 0.75]", "sparsities = [0.5]")
)


@pytest.fixture
def call(capsys):
    def one(*arguments: str):
        status = run(list(arguments))
        out, err = capsys.readouterr()
        return status, out, err

    return one


def refused(call, *arguments: str) -> str:
    """The one line that a refusal says."""
    status, _, err = call(*arguments)
    lines = [line for line in err.splitlines() if line]
    assert status == 2, err
    assert len(lines) == 1, err
    assert lines[0].startswith("prudent: ")
    return lines[0]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One finished run, made through the command line."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "tiny.toml").write_text(TINY)
    assert run(["study", str(folder / "tiny.toml"), "--out", str(folder), "--workers", "2"]) in (0, 3)
    return folder


def finished(runs: Path) -> Path:
    return next(p.parent for p in runs.glob("small-*/results.json"))


def test_study_says_the_claim_and_where_everything_is(call, runs):
    status, out, err = call("study", str(runs / "tiny.toml"), "--out", str(runs))
    document = json.loads((finished(runs) / "certificates/magnitude-disagreement-seed1.json").read_text())
    assert status == (3 if document["selected"] is None else 0)
    assert document["claim"] in out
    assert str(finished(runs) / "report.html") in out
    assert "magnitude" in out
    assert "27 of 27 cells" in err or "12 of 12 cells" in err
    assert "left" in err


def test_study_as_json(call, runs):
    status, out, _ = call("study", str(runs / "tiny.toml"), "--out", str(runs), "--json")
    summary = json.loads(out)
    assert summary["certified"] == (status == 0)
    assert Path(summary["report"]).exists()
    assert len(summary["certificates"]) == 6
    if summary["certified"]:
        assert (Path(summary["selected_network"]) / "network.json").exists()


def test_nothing_certified_is_exit_3_and_says_what_would_be_needed(call, runs, tmp_path):
    strict = tmp_path / "strict.toml"
    strict.write_text(TINY.replace('name = "small"', 'name = "strict"').replace("alpha = 0.4", "alpha = 0.001"))
    status, out, _ = call("study", str(strict), "--out", str(runs))
    assert status == 3
    assert "Nothing certified: with 150 examples" in out
    assert "cannot certify 0.1" in out
    assert "are needed" in out


def test_verify(call, runs):
    certificate = finished(runs) / "certificates/magnitude-error-seed1.json"
    status, out, _ = call("verify", str(certificate))
    assert status == 0
    assert "verified" in out
    status, out, _ = call("verify", str(certificate.parent), "--json")
    assert status == 0
    assert len(json.loads(out)) == 6


def test_verify_refuses_an_edited_certificate(call, runs, tmp_path):
    folder = shutil.copytree(finished(runs) / "certificates", tmp_path / "c")
    path = folder / "magnitude-error-seed1.json"
    path.write_text(path.read_text().replace('"alpha": 0.4', '"alpha": 0.3'))
    assert "was changed after it was written" in refused(call, "verify", str(path))
    assert "was changed" in refused(call, "verify", str(folder))
    assert "cannot read" in refused(call, "verify", str(tmp_path / "absent.json"))
    (tmp_path / "empty").mkdir()
    assert "holds no certificates" in refused(call, "verify", str(tmp_path / "empty"))


def test_report_is_written_again(call, runs):
    page = finished(runs) / "report.html"
    page.unlink()
    status, out, _ = call("report", str(finished(runs)))
    assert status == 0
    assert page.exists()
    assert str(page) in out
    assert "cannot read" in refused(call, "report", str(runs / "absent"))


def test_methods(call):
    status, out, _ = call("methods", "--json")
    assert status == 0
    listed = json.loads(out)
    assert {m["name"] for m in listed["score"]} >= {"magnitude", "random"}
    assert all(m["what"] and m["source"] for entries in listed.values() for m in entries)
    status, out, _ = call("methods")
    assert status == 0
    assert "binomial" in out


def test_version(call):
    status, out, _ = call("--version")
    assert status == 0
    assert re.fullmatch(r"prudent \d+\.\d+\.\d+\n", out)


def test_the_package_can_be_run_as_the_command():
    done = subprocess.run([sys.executable, "-m", "prudent", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"prudent \d+\.\d+\.\d+\n", done.stdout)


def test_no_word_of_the_help_is_taken_for_markup():
    """What stands in square brackets, as [full], would not be shown."""
    for name, command in typer.main.get_command(app).commands.items():
        for said in (command.help, *(getattr(parameter, "help", None) for parameter in command.params)):
            assert not re.search(r"\[[a-z_/]+\]", said or ""), f"{name}: {said}"


def test_usage_errors_are_one_line(call):
    assert "Did you mean 'study'" in refused(call, "studdy")
    assert "--worker" in refused(call, "study", "--worker", "3")
    assert "Missing argument" in refused(call, "verify")
    assert "--workers" in refused(call, "study", "--workers", "0")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mc_samples", "mc_sample", "did you mean 'mc_samples'"),
        ('score = "random"', 'score = "randm"', "Did you mean 'random'"),
        ("sparsities = [0.5]", "sparsities = [1.5]", "less than 1; got 1.5"),
        ('name = "digits"', 'name = "digits"\n[[data', "is no TOML"),
        ("certification = 150", "certification = 5000", "every split of 'digits' needs examples"),
        ("certification = 150", "certification = 0", "needs examples"),
        ("certification = 150", "certifcation = 150", "Did you mean 'certification'"),
        ("hidden = 16", "hiden = 16", "Did you mean 'hidden'"),
        ("hidden = 16", "hidden = 16, dropout = 0.0", "no dropout module with a rate above 0"),
        ('name = "digits"', 'name = "photo_patches"', "no option of data set 'photo_patches'"),
        ('ood = "photo_patches"', 'ood = "digits"', "option of data set 'digits'"),
        ("n = 60", "n = 60, size = 16", "must have the format of the task, (1, 8, 8); 'photo_patches' has (1, 16, 16)"),
        (
            "latency_turns = 3",
            "latency_turns = 3\nlatency_batch = 5000",
            "needs as many training examples; there are 1507",
        ),
        ("certification = 150", "certification = 'many'", "data set 'digits' with options {'certification': 'many'"),
        ("certification = 150", "certification = 64.5", "data set 'digits' with options {'certification': 64.5"),
        ("certification = 150", "certification = {a = 1}", "data set 'digits' with options {'certification': {'a': 1}"),
        ("certification = 150", "certification = 150, seed = -1", "failed: ValueError"),
        ("hidden = 16", "hidden = 'abc'", "model 'small_cnn' with options {"),
        ("hidden = 16", "hidden = [-3]", "model 'small_cnn' with options {"),
        ("hidden = 16", "hidden = 0", "needs hidden units of at least 1; got (0,)"),
        ("hidden = 16", "hidden = 16, dropout = 2.0", "needs dropout in [0, 1); got 2.0"),
        ("sparsities = [0.5]\n\n[evaluation", "sparsities = [0.99]\n\n[evaluation", "leaves none"),
    ],
)
def test_bad_studies_are_refused_before_any_work(call, tmp_path, old, new, message):
    assert old in TINY
    path = tmp_path / "bad.toml"
    path.write_text(TINY.replace(old, new))
    assert message in refused(call, "study", str(path), "--out", str(tmp_path / "out"), "--workers", "1")
    assert not (tmp_path / "out").exists()


UNLABELLED = '{ unlabelled = "validation" }'
OWN = """
name = "own"
seeds = [0]
[data]
name = "tests.private:own_data"
[model]
name = "tests.private:own_network"
[training]
epochs = 1
[evaluation]
latency_turns = 3
[[methods]]
name = "mine"
score = "tests.private:own_score"
sparsities = [0.5]
[certification]
alpha = 0.9
declared = { method = "mine" }
"""


def test_data_model_and_score_of_ones_own(call, tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    status, out, _ = call("study", str(path), "--out", str(tmp_path), "--workers", "1", "--json")
    assert status in (0, 3), out
    results = json.loads((Path(json.loads(out)["run"]) / "results.json").read_text())
    assert results["data"]["name"] == "own"
    assert "ood" not in results["data"]
    assert "mc_metrics" not in results["networks"][0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('own_data"', 'own_data"\noptions = { spoil = "nan" }', "NaN or infinite"),
        ('own_data"', 'own_data"\noptions = { spoil = "labels" }', "labels lie in 0 .. 2 for 3 classes; got 0 .. 17"),
        ('own_network"', 'own_network"\noptions = { classes = 5 }', "no option of model"),
        ("own_network", "no_network", "must return a torch.nn.Module; it returned dict"),
        ("own_score", "absent", "could not be imported"),
        ("own_data", "own_score", "own_score"),
        ('own_data"', 'own_data"\noptions = { unlabelled = "train" }', "has no labels in its train split"),
        ('own_data"', 'own_data"\noptions = { unlabelled = "test" }', "has no labels in its test split"),
        ('own_data"', 'own_data"\noptions = { unlabelled = "certification" }', 'risk "error" needs them'),
        (
            'own_data"\n[model]\nname = "tests.private:own_network"\n[training]',
            f'own_data"\noptions = {UNLABELLED}\n[model]\nname = "tests.private:own_network"\n[training]\npatience = 1',
            "patience needs them",
        ),
    ],
)
def test_bad_methods_of_ones_own_are_refused_before_any_work(call, tmp_path, old, new, message):
    path = tmp_path / "own.toml"
    path.write_text(OWN.replace(old, new))
    assert message in refused(call, "study", str(path), "--out", str(tmp_path / "out"), "--workers", "1")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tests.private:own_data", ":x", "data set ':x' could not be imported"),
        ("tests.private:own_data", "..a:x", "data set '..a:x' could not be imported"),
        ("tests.private:own_data", "not_python:x", "could not be imported (SyntaxError"),
        ("tests.private:own_network", "leaving:at_import", "could not be imported (SystemExit: 3"),
        ("tests.private:own_network", "stopping:network", "model 'stopping:network' with options {"),
        ("tests.private:own_network", "builtins:dict", "model 'builtins:dict' does not say which parameters it has"),
        (
            'name = "tests.private:own_data"',
            "name = 'moons'\noptions = { noise = -1.0 }",
            "data set 'moons' with options {",
        ),
    ],
)
def test_methods_of_ones_own_cannot_end_the_program(call, tmp_path, monkeypatch, old, new, message):
    (tmp_path / "not_python.py").write_text("def x(:\n")
    (tmp_path / "leaving.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "stopping.py").write_text("def network(classes):\n    raise SystemExit('enough')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "own.toml"
    path.write_text(OWN.replace(old, new))
    assert message in refused(call, "study", str(path), "--out", str(tmp_path / "out"), "--workers", "1")
    assert not (tmp_path / "out").exists()


def test_images_are_not_points(call, tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(OWN.replace("tests.private:own_data", "moons").replace("tests.private:own_network", "small_cnn"))
    line = refused(call, "study", str(path), "--out", str(tmp_path / "out"), "--workers", "1")
    assert "needs images of shape (channels, height, width); got (2,)" in line


def test_labels_that_nothing_needs_may_be_absent(tmp_path):
    from prudent.parsing import parse
    from prudent.preflight import preflight

    for split, more in (("certification", 'risks = ["disagreement"]\n'), ("validation", "")):
        text = OWN.replace('own_data"', f'own_data"\noptions = {{ unlabelled = "{split}" }}')
        ready = preflight(parse(text.replace("alpha = 0.9\n", f"alpha = 0.9\n{more}"), source="s"))
        assert ready.data.splits[split].labels is None


def test_a_score_that_fails_is_told_in_one_line(call, tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(OWN.replace("own_score", "exploding_score"))
    assert "this score does not work" in refused(
        call, "study", str(path), "--out", str(tmp_path / "out"), "--workers", "1"
    )


def test_absent_data_files_are_told_with_their_layout(call, tmp_path, monkeypatch):
    monkeypatch.setenv("PRUDENT_DATA", str(tmp_path))
    line = refused(call, "study", "mnist", "--out", str(tmp_path / "out"))
    assert "train-*.parquet with columns 'image'" in line
    assert "$PRUDENT_DATA/mnist/" in line


def test_unknown_studies_name_the_known(call, tmp_path):
    line = refused(call, "study", str(tmp_path / "absent.toml"))
    for known in ("digits", "dropnet-a", "dropnet-b", "dropnet-oracle", "espn", "mnist", "moons", "tickets"):
        assert known in line.partition("one of: ")[2]


def test_verify_as_json_tells_what_held_before_the_first_that_does_not(call, runs, tmp_path):
    folder = tmp_path / "certificates"
    shutil.copytree(finished(runs) / "certificates", folder)
    paths = sorted(folder.glob("*.json"))
    paths[1].write_text(paths[1].read_text().replace('"alpha"', '"alpah"'))
    status, out, err = call("verify", str(folder), "--json")
    assert status == 2
    assert [one["file"] for one in json.loads(out)] == [str(paths[0])]
    assert paths[1].name in err


def test_a_terminal_without_a_character_gets_a_substitute(runs):
    certificate = next(finished(runs).glob("certificates/magnitude-*.json"))
    done = subprocess.run(
        [sys.executable, "-m", "prudent.cli", "verify", str(certificate)],
        env=os.environ | {"PYTHONIOENCODING": "latin-1"}, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"?%" in done.stdout  # for the narrow space
    assert not done.stderr


def test_the_command_to_check_with_is_quoted_for_the_shell(call, runs, tmp_path):
    folder = tmp_path / "two words; $HOME"
    shutil.copytree(runs / "store", folder / "store")
    _, out, _ = call("study", str(runs / "tiny.toml"), "--out", str(folder))
    command = out.splitlines()[-1].removeprefix("Check it: ")
    assert Path(shlex.split(command)[2]).is_file()
    assert call(*shlex.split(command)[1:])[0] == 0
