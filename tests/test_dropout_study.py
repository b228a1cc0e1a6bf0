"""All that dropout says in a study: numbers once more from the saved samples, and the table of the page."""

import json

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from scipy.stats import entropy

import prudent
from prudent.archive import predictions_from_bytes
from prudent.errors import BadInput
from prudent.graph import Fingerprints, build_graph
from prudent.measure_families import dropout_family
from prudent.parsing import parse
from prudent.report.views import doubt
from prudent.sources import load_data
from prudent.store import Store
from tests.conftest import predictions
from tests.report.sample import run_of

STUDY = """
name = "sampled"
seeds = [3, 0]
[data]
name = "digits"
options = { validation = 100, certification = 100, test = 80 }
ood = "photo_patches"
ood_options = { n = 30 }
[model]
name = "mlp"
options = { hidden = [16] }
[training]
epochs = 1
[[methods]]
name = "magnitude"
sparsities = [0.5, 0.999]
[[methods]]
name = "chance"
score = "random"
control_of = "magnitude"
sparsities = [0.5, 0.999]
[evaluation]
mc_dropout = { samples = 7, rate = 0.4 }
latency_turns = 3
bins = 9
[certification]
alpha = 0.5
declared = { method = "magnitude", seed = 3 }
"""
OPTIONS = {"validation": 100, "certification": 100, "test": 80}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sampled")
    (folder / "sampled.toml").write_text(STUDY)
    return prudent.study(folder / "sampled.toml", out=folder / "runs", executor="inline")


@pytest.fixture(scope="module")
def results(run):
    return json.loads((run / "results.json").read_text())


def saved(run, seed, method, sparsity, name):
    """What a network's cell wrote."""
    study = parse(STUDY, source="s")
    prints = {
        "task": load_data("digits", OPTIONS).fingerprint,
        "ood": load_data("photo_patches", {"n": 30}).fingerprint,
    }
    cell = build_graph(study, Fingerprints(**prints)).networks[seed, method, sparsity].predictions
    return predictions_from_bytes(Store(str(run.parent / "store")).read(cell.key, name))


def mean_at(samples, temperature=1.0):
    return softmax(samples.logits.astype(np.float64) / temperature, axis=-1).mean(axis=0)


def gaps(mean, labels, bins=9):
    """ECE and UCE, bin by bin."""
    wrong, n = mean.argmax(axis=1) != labels, len(labels)
    found = []
    for said, seen, closed in (
        (mean.max(axis=1), ~wrong, False), (entropy(mean, axis=1) / np.log(mean.shape[1]), wrong, True),
    ):  # fmt: skip
        at = np.ceil(said * bins) - 1 if closed else np.floor(said * bins)
        at = at.clip(0, bins - 1)
        found.append(sum(abs((said[at == b] - seen[at == b]).sum()) for b in range(bins)) / n)
    return found


def nll(mean, labels):
    return -np.log(mean[np.arange(len(labels)), labels]).mean()


@pytest.mark.parametrize(("method", "sparsity"), [("", 0.0), ("magnitude", 0.5), ("chance", 0.5)])
def test_every_number_from_the_saved_samples(run, results, method, sparsity):
    address = 0, method, sparsity
    found = next(n for n in results["networks"] if (n["seed"], n["method"], n["requested"]) == address)
    said = {name: metric["value"] for name, metric in found["mc_metrics"].items()}
    validation, test = (saved(run, *address, f"{split}_mc") for split in ("validation", "test"))
    assert (validation.members, validation.n, test.members, test.n) == (7, 100, 7, 80)
    each, mean = softmax(test.logits.astype(np.float64), axis=-1), mean_at(test)
    assert said["entropy"] == pytest.approx(entropy(mean, axis=1).mean())
    assert said["expected_entropy"] == pytest.approx(entropy(each, axis=-1).mean())
    assert said["mutual_information"] == pytest.approx(said["entropy"] - said["expected_entropy"])
    votes = np.stack([np.bincount(column, minlength=10) for column in each.argmax(axis=-1).T])
    assert said["variation_ratio"] == pytest.approx(1 - votes.max(axis=1).mean() / 7)
    pairs = np.mean([entropy(a, b, axis=-1) for a in each for b in each])
    assert said["pairwise_divergence"] == pytest.approx(pairs)
    assert said["reverse_mutual_information"] == pytest.approx(pairs - said["mutual_information"])
    best = minimize_scalar(
        lambda t: nll(mean_at(validation, np.exp(t)), validation.labels), bounds=(-4, 4), method="bounded",
        options={"xatol": 1e-9},
    )  # fmt: skip
    assert said["temperature"] == pytest.approx(np.exp(best.x), rel=1e-4)
    after = mean_at(test, said["temperature"])
    assert [said["ece"], said["uce"]] == pytest.approx(gaps(mean, test.labels), abs=1e-6)
    expected = gaps(after, test.labels)
    assert [said["ece_after_temperature"], said["uce_after_temperature"]] == pytest.approx(expected, abs=1e-6)
    assert said["nll_after_temperature"] == pytest.approx(nll(after, test.labels), abs=1e-6)
    strange = mean_at(saved(run, *address, "ood_mc"))
    assert said["ood_entropy"] == pytest.approx(entropy(strange, axis=1).mean())


def test_the_samples_are_those_of_the_saved_network_with_dropout_before_its_head(run, results):
    found = next(n for n in results["networks"] if (n["seed"], n["method"], n["requested"]) == (3, "magnitude", 0.5))
    network = prudent.load(run / found["folder"]).model
    own = prudent.predict(
        network, load_data("digits", OPTIONS).validation.batches(512), mc_samples=7, mc_dropout=0.4, seed=3
    )
    kept = saved(run, 3, "magnitude", 0.5, "validation_mc")
    np.testing.assert_allclose(kept.logits, own.logits, atol=1e-5)
    assert kept.model == own.model


def test_the_table_has_dense_pruned_and_random_with_their_ranges(run, results):
    shown = doubt.view(run_of(run))
    look = next(one for one in shown["looks"] if one["at"] == "0:0")
    assert look["sides"] == ["dense", "pruned", "at random"]
    row = next(row for row in look["rows"] if row["term"] == "mi" and row["name"].startswith("Doubt (mut"))
    for method, sparsity, cell in zip(("", "magnitude", "chance"), (0.0, 0.5, 0.5), row["cells"], strict=True):
        each = [
            n["mc_metrics"]["mutual_information"]["value"]
            for n in results["networks"]
            if (n["method"], n["requested"]) == (method, sparsity)
        ]
        assert len(each) == 2
        assert cell["value"] == f"{np.mean(each):.3f}"
        assert cell["between"] == f"{min(each):.3f} to {max(each):.3f}"
    gap = [row["name"] for row in look["rows"]].index("Entropy and errors apart (UCE)")
    assert look["rows"][gap + 1]["name"] == "after the temperature"
    assert look["rows"][gap + 1]["cells"][0] != look["rows"][gap]["cells"][0]
    # a control has no control of its own
    assert next(one for one in shown["looks"] if one["at"] == "1:0")["sides"] == ["dense", "pruned"]
    page = (run / "report.html").read_text()
    assert "What does it say under dropout?" in page
    assert look["answer"] in page
    head = (run / "table.csv").read_text().splitlines()[0].split(",")
    assert {"mc_uce", "mc_uce_after_temperature_lo", "mc_variation_ratio"} <= set(head)


def test_where_no_temperature_is_best_the_cells_are_empty(run):
    look = next(one for one in doubt.view(run_of(run))["looks"] if one["at"] == "0:1")  # hardly a weight is left
    row = next(row for row in look["rows"] if row["term"] == "inside")
    assert row["cells"][0]["value"]
    assert row["cells"][1] == {"value": "", "between": ""}
    alike = np.ones((3, 40, 4), np.float32)
    labels = predictions(40, 4).labels
    same = [prudent.Predictions(logits=alike, labels=labels, split=split) for split in ("validation", "test")]
    found = dropout_family(same[1], validation=same[0])
    assert set(found) == {"pairwise_divergence", "reverse_mutual_information", "uce"}
    with pytest.raises(BadInput, match="labels"):
        dropout_family(same[1], validation=prudent.Predictions(logits=alike, split="validation"))


def test_a_number_is_the_table_and_none_leaves_the_study_its_name():
    number, table, none = (
        parse(STUDY.replace("mc_dropout = { samples = 7, rate = 0.4 }", line), source="s")
        for line in ("mc_dropout = 7", "mc_dropout = { samples = 7 }", "")
    )
    assert number.id == table.id != none.id
    assert number.evaluation.samples == 7
    assert "mc_dropout" not in none.model_dump(mode="json")["evaluation"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("mc_dropout = {", "mc_samples = 5\nmc_dropout = {"), "leave mc_samples out"),
        (("samples = 7", "samples = 1"), "greater than or equal to 2"),
        (("rate = 0.4", "rate = 1.0"), "less than 1"),
        (("{ samples = 7, rate = 0.4 }", "true"), "mc_dropout"),
        (("samples = 7", "sample = 7"), "did you mean 'samples'"),
    ],
)
def test_settings_that_do_not_fit_together(change, message):
    with pytest.raises(BadInput, match=message):
        parse(STUDY.replace(*change), source="s")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((", rate = 0.4", ""), "model 'mlp' has none of its own: set rate, or its option dropout"),
        (("hidden = [16]", "hidden = [16], dropout = 0.1"), "model 'mlp' has dropout of its own: leave rate out"),
    ],
)
def test_networks_that_do_not_fit_are_refused_before_any_work(change, message, tmp_path):
    (tmp_path / "x.toml").write_text(STUDY.replace(*change))
    with pytest.raises(BadInput, match=message):
        prudent.study(tmp_path / "x.toml", out=tmp_path / "runs", executor="inline")
    assert not (tmp_path / "runs").exists()
