"""A study without a suite, measured again with one: nothing is trained, and every number follows from its networks."""

import base64
import csv
import io
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import binomtest

from prudent.cli import run as command
from prudent.corrupting import add_noise, corrupt
from prudent.detection import max_prob
from prudent.errors import BadInput
from prudent.foreign import some_of
from prudent.networks import load
from prudent.parsing import parse
from prudent.reevaluation import measure_again
from prudent.run_folder import read_results
from prudent.sources import load_data
from prudent.splits import Data, Examples
from prudent.studies import study
from prudent.suite_results import SHARES, SIGNED, possible
from prudent.types import Predictions
from prudent.wording import percent

STUDY = """
name = "beyond"
seeds = [0, 1]
[data]
name = "digits"
options = { validation = 40, certification = 150, test = 100 }
ood = "photo_patches"
ood_options = { n = 60 }
[model]
options = { widths = [4, 6, 8], hidden = 16 }
[training]
epochs = 4
batch_size = 64
[retraining]
epochs = 1
[[methods]]
name = "magnitude"
sparsities = [0.5, 0.9]
[[methods]]
name = "random"
score = "random"
control_of = "magnitude"
sparsities = [0.5, 0.9]
[certification]
alpha = 0.4
declared = { method = "magnitude", seed = 1 }
[evaluation]
latency_turns = 3
"""

LETTERS = f"{__name__}:letters"
OPTIONS = {
    "examples": 80, "corruptions": ["gaussian_noise", "contrast"], "severities": [1, 5], "noises": [64.0],
    "ood": [LETTERS], "detectors": ["energy", "max_probability"], "fitted": 200, "attacked": 30, "radii": [8.0],
    "aligned": 64, "steps": 2, "tolerated": 0.02,
}  # fmt: skip


def letters() -> Data:
    """A task of three classes: digits turned on their side, by their labels modulo 3."""
    digits = load_data("digits", {"validation": 40, "certification": 150, "test": 100, "seed": 5})
    splits = {
        name: Examples(
            inputs=e.inputs.transpose(0, 1, 3, 2)[:, :, ::-1].copy(), labels=e.labels % 3, ids=e.ids, split=name
        )
        for name, e in digits.splits.items()
    }
    return Data(name="letters", classes=("a", "b", "c"), splits=splits, about="letters")


def records(runs: Path) -> dict[str, tuple[str, int]]:
    """Key of each finished cell -> its kind, and when its record was written."""
    found = (runs / "store" / "cells").rglob("*.json")
    return {p.stem: (json.loads(p.read_text())["kind"], p.stat().st_mtime_ns) for p in found}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def first(runs):
    file = runs / "beyond.toml"
    file.write_text(STUDY)
    return study(file, out=runs, executor="inline")


@pytest.fixture(scope="module")
def before(first, runs):
    return records(runs), (first / "results.json").read_bytes()


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def again(first, before, told):
    return measure_again(first, options=OPTIONS, executor="inline", on_progress=told.append)


def test_what_comes_after_the_cells_is_told_too(again, told):
    stages = {noun: [one for one in told if one.noun == noun] for noun in dict.fromkeys(one.noun for one in told)}
    assert list(stages) == ["cells", "networks measured", "candidates compared"]
    for noun, total in (("networks measured", 10), ("candidates compared", 4)):
        steps = stages[noun]
        assert [(one.done, one.total) for one in steps] == [(i, total) for i in range(total + 1)]
        assert steps[0].remaining is None
        assert all(one.remaining > 0 for one in steps[1:-1])
        assert steps[-1].remaining == 0
        assert [len(one.running) for one in steps] == [1] * total + [0]
    assert stages["networks measured"][0].running == ("seed 0, dense",)
    assert stages["candidates compared"][1].running == (f"magnitude {percent(0.9)}, beside dense",)


@pytest.fixture(scope="module")
def results(again):
    return read_results(again)


@pytest.fixture(scope="module")
def data():
    return load_data("digits", {"validation": 40, "certification": 150, "test": 100})


@pytest.fixture(scope="module")
def network(again):
    def of(seed, method="", sparsity=0.0):
        folder = again / f"networks/seed{seed}" / (f"{method}-{sparsity!r}" if method else "dense")
        found = load(folder)
        return getattr(found, "model", found).eval()

    return of


def entry(results, seed, method="", sparsity=0.0):
    same = (n for n in results["networks"] if (n["seed"], n["method"], n["requested"]) == (seed, method, sparsity))
    return next(same)["suite"]


def decide(model, images) -> np.ndarray:
    with torch.no_grad():
        return model(images).argmax(1).numpy()


@pytest.fixture(scope="module")
def wrong(network, data):
    """(seed, method, sparsity, name) -> how many of the chosen images are decided wrongly."""
    some = some_of(data.test, 80)
    pixels, ids = torch.from_numpy(some.inputs), torch.from_numpy(some.ids)
    images = {"nominal": pixels, "noise-64.0": add_noise(pixels, size=64.0, ids=ids)}
    for name in OPTIONS["corruptions"]:
        images |= {f"{name}-{s}": corrupt(pixels, name, severity=s, ids=ids) for s in (1, 5)}

    def of(name, seed, method="", sparsity=0.0):
        return decide(network(seed, method, sparsity), images[name]) != some.labels

    return of


def test_nothing_is_trained_and_the_first_run_is_left_as_it_is(first, again, runs, before):
    old, results = before
    new = records(runs)
    assert all(new[key] == record for key, record in old.items())
    kinds = {new[key][0] for key in new.keys() - old.keys()}
    assert kinds == {"shifted", "strangers", "attacked", "aligned"}
    assert again != first
    assert (first / "results.json").read_bytes() == results
    assert "suite" not in read_results(first)


def test_it_is_the_folder_that_the_study_file_would_lead_to(again, runs, before):
    text = STUDY + 'suite = "full"\n[evaluation.suite_options]\n'
    text += "".join(f"{key} = {json.dumps(value)}\n" for key, value in OPTIONS.items())
    assert parse(text, source="x.toml").id == again.name
    there = records(runs)
    file = runs / "suite.toml"
    file.write_text(text)
    assert study(file, out=runs, executor="inline") == again
    assert records(runs) == there, "everything was finished"
    assert (again / "report.html").stat().st_size > 0


def test_errors_under_shift_by_hand(results, wrong):
    for address in ((0,), (1, "magnitude", 0.9), (0, "random", 0.5)):
        found = entry(results, *address)
        assert found["wrong"]["n"] == 80
        for name, count in found["wrong"]["of"].items():
            assert count == wrong(name, *address).sum(), (address, name)
    assert set(found["wrong"]["of"]) == {
        "nominal", "gaussian_noise-1", "gaussian_noise-5", "contrast-1", "contrast-5", "noise-64.0",
    }  # fmt: skip


def test_corruption_errors_by_hand(results, wrong):
    address = (1, "magnitude", 0.9)
    own, dense = ({n: sum(wrong(f"{n}-{s}", *a).sum() for s in (1, 5)) for n in OPTIONS["corruptions"]}
                  for a in (address, (1,)))  # fmt: skip
    found = entry(results, *address)["measures"]
    ces = [own[n] / dense[n] for n in own]
    assert found["corruption.mce"] == pytest.approx(np.mean(ces))
    clean, dense_clean = (2 * wrong("nominal", *a).sum() for a in (address, (1,)))
    if all(dense[n] > dense_clean for n in own):
        relative = np.mean([(own[n] - clean) / (dense[n] - dense_clean) for n in own])
        assert found["corruption.relative_mce"] == pytest.approx(relative)
    else:
        assert "corruption.relative_mce" not in found
        assert any(note.startswith("relative mCE") for note in entry(results, *address)["notes"])
    assert found["severity.5.error"] == pytest.approx(np.mean([wrong(f"{n}-5", *address).mean() for n in own]))
    assert found["corruption.contrast.error"] == pytest.approx(own["contrast"] / 160)
    assert found["noise.64.error"] == pytest.approx(wrong("noise-64.0", *address).mean())
    assert entry(results, 0)["measures"]["corruption.mce"] == 1


def test_distances_are_to_the_dense_network_and_its_own_to_that_of_the_other_seed(results, network, data):
    some = some_of(data.test, 80)
    images = add_noise(torch.from_numpy(some.inputs), size=64.0, ids=torch.from_numpy(some.ids))

    def probabilities(*address):
        with torch.no_grad():
            return softmax(network(*address)(images).double().numpy(), axis=1)

    p, q, other = probabilities(0, "magnitude", 0.9), probabilities(0), probabilities(1)
    own, yardstick = entry(results, 0, "magnitude", 0.9)["measures"], entry(results, 0)["measures"]
    assert own["noise.64.l2"] == pytest.approx(np.linalg.norm(p - q, axis=1).mean(), rel=1e-4)
    assert own["noise.64.agreement"] == np.mean(p.argmax(1) == q.argmax(1))
    assert yardstick["noise.64.l_infinity"] == pytest.approx(np.abs(q - other).max(axis=1).mean(), rel=1e-4)
    assert {"layers.conv1.cka", "layers.fc2.cka"} <= own.keys() & yardstick.keys()
    assert own["layers.conv1.cka"] > 0.5


def test_churn_by_hand(results, network, data):
    dense, pruned = (decide(network(*a), torch.from_numpy(data.test.inputs)) for a in ((1,), (1, "random", 0.9)))
    found = entry(results, 1, "random", 0.9)["churn"]
    assert found["total"] == [int((dense == c).sum()) for c in range(10)]
    assert found["moved"] == [int(((dense == c) & (pruned != c)).sum()) for c in range(10)]


def test_prune_potentials_by_hand(results, wrong):
    found = results["suite"]["potentials"]["magnitude"]
    tasks = {"nominal": ["nominal"], "contrast": ["contrast-1", "contrast-5"], "noise": ["noise-64.0"]}
    for task, names in tasks.items():
        each = []
        for seed in (0, 1):
            dense = np.mean([wrong(n, seed).mean() for n in names])
            able = [
                s
                for s in (0.5, 0.9)
                if np.mean([wrong(n, seed, "magnitude", s).mean() for n in names]) - dense <= 0.02 + 1e-12
            ]
            each.append(max(able, default=0))  # fmt: skip
        metric = found["by_task"][task]
        assert (metric["value"], metric["lo"], metric["hi"]) == (np.mean(each), min(each), max(each))
    assert list(found["by_task"]) == [
        "nominal", "gaussian_noise", "contrast", "noise", "strangers: photo_patches", f"strangers: {LETTERS}",
    ]  # fmt: skip
    assert found["tolerated"] == 0.02


def test_excess_error_by_hand(results, wrong):
    rows = []
    for seed in (0, 1):

        def rate(*address, seed=seed):
            shifted = np.mean(
                [wrong(f"{n}-{s}", seed, *address).mean() for n in OPTIONS["corruptions"] for s in (1, 5)]
            )
            return shifted - wrong("nominal", seed, *address).mean()

        rows.append([rate("magnitude", s) - rate() for s in (0.5, 0.9)])
    found = results["suite"]["excess"]["magnitude"]["corruption"]
    np.testing.assert_allclose(found["excess"], rows, atol=1e-12)
    slopes = [np.linalg.lstsq(np.array([[0.5], [0.9]]), np.array(row), rcond=None)[0][0] for row in rows]
    assert found["slope"]["value"] == pytest.approx(np.mean(slopes))


def test_reallocation_by_hand(results, network):
    ood = some_of(letters().test, 80)
    found = results["suite"]["reallocation"]["magnitude"]["0.9"][LETTERS]
    images = torch.from_numpy(ood.inputs)
    for key, address in (("dense", ()), ("pruned", ("magnitude", 0.9))):
        counts = np.zeros((3, 10), int)
        for seed in (0, 1):
            for kind, decided in zip(ood.labels, decide(network(seed, *address), images), strict=True):
                counts[kind, decided] += 1
        assert found[key] == counts.tolist()
    top = found["movements"][0]
    total = np.array(found["dense"]).sum(axis=1, keepdims=True)
    moved = np.abs(np.array(found["pruned"]) - np.array(found["dense"])) / total
    assert moved[top["stranger"], top["taken_for"]] == moved.max()
    assert top["n"] == total[top["stranger"], 0]
    patches = results["suite"]["reallocation"]["random"]["0.5"]["photo_patches"]
    assert np.array(patches["dense"]).shape == (1, 10), "strangers without classes are one"
    assert [one["name"] for one in results["suite"]["strangers"]] == ["photo_patches", LETTERS]


def test_exemplars_by_hand_and_their_images(results, network, data):
    images = torch.from_numpy(data.test.inputs)

    def decided(*address):
        return np.stack([decide(network(seed, *address), images) for seed in (0, 1)], axis=1)

    both = [decided(), decided("magnitude", 0.9)]
    dense, pruned = (each.min(axis=1) for each in both)
    apart = sum(not set(a) & set(b) for a, b in zip(both[0].tolist(), both[1].tolist(), strict=True))
    found = results["suite"]["exemplars"]["magnitude"]["0.9"]
    assert found["n"] == apart > 0
    for one in found["shown"]:
        i = one["index"]
        assert (one["dense"], one["pruned"], one["label"]) == (dense[i], pruned[i], data.test.labels[i])
        assert dense[i] != pruned[i]
    image = pytest.importorskip("PIL.Image")
    shown = results["suite"]["images"]
    assert {str(one["index"]) for one in found["shown"]} <= shown.keys()
    picture = image.open(io.BytesIO(base64.b64decode(shown[str(found["shown"][0]["index"])])))
    expected = np.rint(data.test.inputs[found["shown"][0]["index"], 0] * 255)
    assert (np.asarray(picture) == expected).all()


def test_what_changed_by_hand(results, network, wrong, data):
    found = results["suite"]["changes"]["magnitude"]["0.9"]
    assert found["seed"] == 1, "that of the declared claim"
    assert found["looked_at"] == {"class": 10, "corruption": 2, "strangers": 2}
    images, labels = torch.from_numpy(data.test.inputs), data.test.labels
    lost, before = (decide(network(*a), images) != labels for a in ((1, "magnitude", 0.9), (1,)))
    harms = [lost[labels == c].mean() - before[labels == c].mean() for c in range(10)]
    worst, at = found["worst"]["class"], int(np.argmax(harms))
    assert worst["name"] == data.classes[at]
    b, c = (int(((x & ~y) & (labels == at)).sum()) for x, y in ((lost, before), (before, lost)))
    assert worst["p_value"] == pytest.approx(binomtest(b, b + c, alternative="greater").pvalue)
    assert worst["p_value"] < worst["adjusted"] <= min(1, 14 * worst["p_value"]) + 1e-12
    errors = {n: sum(wrong(f"{n}-{s}", 1, "magnitude", 0.9).sum() - wrong(f"{n}-{s}", 1).sum() for s in (1, 5))
              for n in OPTIONS["corruptions"]}  # fmt: skip
    assert found["worst"]["corruption"]["name"] == max(errors, key=errors.get)
    assert (
        found["worst"]["strangers"] is None
        or found["worst"]["strangers"]["pruned"] > found["worst"]["strangers"]["dense"]
    )


def test_strangers_of_potentials_are_those_let_in(results, network, data):
    known, ood = some_of(data.test, 80), some_of(letters().test, 80)
    rates = {}
    for address in ((0,), (0, "magnitude", 0.5)):
        with torch.no_grad():
            k, o = (max_prob(Predictions(logits=network(*address)(torch.from_numpy(e.inputs)).numpy(), split="test"))
                    for e in (known, ood))  # fmt: skip
        rates[address] = np.mean(o <= np.sort(k)[75])  # the 76th of 80: 95 %
        measures = entry(results, *address)["measures"]
        assert measures[f"strangers.{LETTERS}.max_probability.fpr_ood_at_tpr95_id"] == pytest.approx(rates[address])


def test_every_measure_is_within_what_it_can_be(results):
    named = {key.rpartition(".")[2] for network in results["networks"] for key in network["suite"]["measures"]}
    named.add("relative_mce")  # undefined here: of some corruption the dense network errs no more than without
    assert {*SHARES, *SIGNED} <= named, "a name that nothing is called by limits nothing"
    for network in results["networks"]:
        for key, value in network["suite"]["measures"].items():
            least, most = possible(key)
            assert least - 1e-12 <= value <= most + 1e-12, key
    for key, ends in {
        "calibration.mce": (0, 1),
        "corruption.mce": (0, math.inf),
        "corruption.fog.ce": (0, math.inf),
        "corruption.relative_mce": (-math.inf, math.inf),
        "calibration.kce_squared": (-math.inf, math.inf),
        "layers.head.cka": (-math.inf, math.inf),
        "nominal.agreement": (0, 1),
        "nominal.l2": (0, math.inf),
        "noise.8.l_infinity": (0, 1),
        "noise.8.total_variation": (0, 1),
        "nominal.hellinger": (0, 1),
        "attack.4.pgd": (0, 1),
        "strangers.letters.energy.fpr_ood_at_tpr95_id": (0, 1),
    }.items():
        assert possible(key) == ends, key


def test_rows_are_means_over_seeds_and_in_the_table(results, again):
    each = [entry(results, seed, "magnitude", 0.9)["measures"] for seed in (0, 1)]
    row = next(r for r in results["suite"]["rows"] if (r["method"], r["requested"]) == ("magnitude", 0.9))
    for key in ("calibration.ece_smooth", "selective.aurc", "attack.8.pgd", f"strangers.{LETTERS}.energy.auroc"):
        values = [one[key] for one in each]
        metric = row["metrics"][key]
        assert (metric["value"], metric["lo"], metric["hi"]) == (
            pytest.approx(np.mean(values)),
            min(values),
            max(values),
        )
        assert metric["better"] == ("higher" if key.endswith("auroc") else "lower")
    assert results["suite"]["control"] == {"magnitude": "random"}
    table = list(csv.DictReader((again / "suite.csv").read_text().splitlines()))
    line = next(
        t for t in table if (t["method"], t["sparsity"], t["measure"]) == ("magnitude", "0.9", "selective.aurc")
    )
    assert float(line["mean"]) == pytest.approx(np.mean([one["selective.aurc"] for one in each]), rel=1e-5)
    assert {t["method"] for t in table} == {"dense", "magnitude", "random"}


def test_attacks_order_in_every_network(results):
    for one in results["networks"]:
        found = one["suite"]["measures"]
        # all 30 examples that are attacked are within the 32 that linear bounds are asked about
        chain = ("clean", "8.random", "8.pgd", "8.apgd", "8.unproved_crown", "8.unproved")
        rates = [found[f"attack.{name}"] for name in chain]
        assert rates == sorted(rates), (one["folder"], rates)


def test_changes_are_paired_by_seed(results, again):
    rows = {(row["method"], row["requested"]): row for row in results["suite"]["rows"]}
    assert "differences" not in rows["", 0.0]
    for method, sparsity in (("magnitude", 0.9), ("random", 0.5)):
        found = rows[method, sparsity]["differences"]
        for key in ("calibration.ece", "attack.8.pgd", "corruption.error", "strangers.photo_patches.energy.auroc"):
            each = [
                entry(results, seed, method, sparsity)["measures"][key] - entry(results, seed)["measures"][key]
                for seed in (0, 1)
            ]
            assert (found[key]["value"], found[key]["lo"], found[key]["hi"]) == pytest.approx(
                (np.mean(each), min(each), max(each))
            )
            assert found[key]["better"] == rows[method, sparsity]["metrics"][key]["better"]
    table = list(csv.DictReader((again / "suite.csv").read_text().splitlines()))
    for row in table:
        if row["method"] == "dense":
            assert row["change"] == row["change_lo"] == row["change_hi"] == ""
        elif row["measure"] == "calibration.ece":
            own = rows[row["method"], float(row["sparsity"])]["differences"]["calibration.ece"]
            assert float(row["change"]) == pytest.approx(own["value"], rel=1e-5, abs=1e-9)
            assert float(row["change_lo"]) <= float(row["change"]) <= float(row["change_hi"])


def test_the_command(again, runs, capsys):
    assert command(["evaluate", str(again), "--suite", "full", "--json", "--workers", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == str(again)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "half"], "suite: input should be 'full'"),
        (["--corruption", "fogg"], "no corruption named 'fogg'. Did you mean 'fog'"),
        (["--ood", "digits"], "strangers to 'digits' come from another data set"),
        (["--ood", "moons"], "strangers must have the format of the task"),
    ],
)
def test_what_the_command_refuses(again, capsys, arguments, message):
    assert command(["evaluate", str(again), *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_networks_that_are_not_there_are_not_trained(first, again, tmp_path, capsys):
    alone = shutil.copytree(first, tmp_path / "runs" / first.name)
    assert command(["evaluate", str(alone)]) == 2
    assert "are in the folder 'store' beside it; there is none" in capsys.readouterr().err
    (tmp_path / "runs" / "store").mkdir()
    with pytest.raises(BadInput, match="10 of 10 are not there: run `prudent study` again"):
        measure_again(alone, options=OPTIONS, executor="inline")
    assert not list((tmp_path / "runs" / "store").rglob("cells/*/*.json"))
    assert command(["evaluate", str(tmp_path)]) == 2


MOONS = """
name = "moons"
seeds = [0]
[data]
name = "moons"
[model]
name = "mlp"
[training]
epochs = 1
[[methods]]
name = "magnitude"
sparsities = [0.9]
[[methods]]
name = "fair"
control_of = "magnitude"
control = "random"
sparsities = [0.9]
[certification]
declared = { method = "magnitude" }
[evaluation]
latency_turns = 3
suite = "full"
"""


def test_moons_have_a_suite_without_images(tmp_path):
    file = tmp_path / "moons.toml"
    file.write_text(MOONS)
    found = read_results(study(file, out=tmp_path / "runs", executor="inline"))
    assert len(found["suite"]["left_out"]) == 2
    assert found["suite"]["control"] == {"magnitude": "fair"}
    assert found["suite"]["potentials"]["magnitude"] == found["suite"]["excess"]["magnitude"] == {}
    measures = found["networks"][1]["suite"]["measures"]
    assert {name.partition(".")[0] for name in measures} == {"calibration", "selective", "layers"}
    assert found["suite"]["changes"]["magnitude"]["0.9"]["looked_at"] == {"class": 2, "corruption": 0, "strangers": 0}
