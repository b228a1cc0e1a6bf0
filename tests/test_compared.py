"""A study that compares masks: the shares in its results against the networks that it wrote, unit by unit."""

import csv
import json
from statistics import fmean

import pytest

from prudent.graph import Fingerprints, build_graph
from prudent.networks import load
from prudent.parsing import parse, read
from prudent.report import build_report
from prudent.studies import study

TEXT = """
name = "compared"
seeds = [0, 1]
[data]
name = "moons"
[model]
name = "mlp"
options = { hidden = [6, 4] }
[training]
epochs = 2
[retraining]
epochs = 0
[method_defaults]
granularity = "channel"
sparsities = [0.2, 0.5]
[[methods]]
name = "oracle"
score = "oracle"
options = { examples = 60 }
[[methods]]
name = "minimum"
score = "activation_mean"
[[methods]]
name = "random"
score = "random"
sparsities = [0.5, 0.7]
[[methods]]
name = "again"
score = "activation_mean"
schedule = "iterative"
[evaluation]
latency_turns = 3
compare_with = "oracle"
[certification]
alpha = 0.4
declared = { method = "minimum" }
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared")
    (folder / "compared.toml").write_text(TEXT)
    return study(folder / "compared.toml", out=folder, executor="inline")


@pytest.fixture(scope="module")
def networks(run):
    return json.loads((run / "results.json").read_text())["networks"]


def kept(run, network):
    """Layer and place of each unit that is left."""
    mask = load(run / network["folder"]).mask
    return {(name, i) for name, own in mask.kept.items() for i, there in enumerate(own.tolist()) if there}


def test_only_masks_of_the_same_network_and_sparsity_are_compared(networks):
    found = {(n["method"], n["requested"]) for n in networks if "compared" in n}
    assert found == {("minimum", 0.2), ("minimum", 0.5), ("random", 0.5)}
    assert len([n for n in networks if "compared" in n]) == 2 * len(found)


def test_overlap_and_chance_unit_by_unit(run, networks):
    sizes = {"0": 6, "1": 4}
    seen = set()
    for network in networks:
        if "compared" not in network:
            continue
        own, oracle = kept(run, network), kept(run, next(
            n for n in networks
            if (n["method"], n["seed"], n["requested"]) == ("oracle", network["seed"], network["requested"])
        ))  # fmt: skip
        found = network["compared"]
        layers = sorted({name for name, _ in own | oracle})
        assert len(layers) == len(sizes)
        in_layer = {name: [sum(n == name for n, _ in units) for units in (own, oracle)] for name in layers}
        by_layer = sum(a * b / size for (a, b), size in zip(in_layer.values(), sizes.values(), strict=True)) / len(own)
        assert found["with"] == "oracle"
        assert found["kept"] == len(own) == len(oracle) == round(10 * (1 - network["requested"]))
        assert found["overlap"] == len(own & oracle) / len(own)
        assert found["chance"] == pytest.approx(1 - network["requested"], abs=1e-12)
        assert found["chance_by_layer"] == pytest.approx(by_layer, abs=1e-12)
        seen.add(found["overlap"])
    assert len(seen) > 1, "overlaps that are all alike would show little"


def test_the_table_has_the_mean_over_seeds(run, networks):
    lines = (run / "table.csv").read_text().splitlines()
    rows = {(r["method"], float(r["sparsity"])): r for r in csv.DictReader(lines)}
    for (method, sparsity), row in rows.items():
        own = [
            n["compared"] for n in networks if (n["method"], n["requested"]) == (method, sparsity) and "compared" in n
        ]
        assert [row[key] == "" for key in ("overlap", "overlap_lo", "chance", "chance_by_layer")] == [not own] * 4
        for key in ("overlap", "chance", "chance_by_layer") if own else ():
            each = [one[key] for one in own]
            assert float(row[key]) == pytest.approx(fmean(each), rel=1e-5)
            assert float(row[f"{key}_lo"]) == pytest.approx(min(each), rel=1e-5)
            assert float(row[f"{key}_hi"]) == pytest.approx(max(each), rel=1e-5)


def test_comparing_computes_no_other_cells(tmp_path):
    data = Fingerprints(task="d", ood="")
    plain = parse(TEXT.replace('compare_with = "oracle"', ""), source="s")
    cells = [[cell.key for cell in build_graph(s, data).cells] for s in (plain, parse(TEXT, source="s"))]
    assert cells[0] == cells[1]


def test_the_page_has_the_question_only_where_masks_are_compared(run):
    assert 'id="alike"' in build_report(run)
    assert read(run.parent / "compared.toml").id == run.name
