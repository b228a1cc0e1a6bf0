"""A study that prunes in every way that a study file can name."""

import json
from pathlib import Path

import pytest
import torch

import prudent
from prudent.networks import load
from prudent.scopes import count


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = prudent.study(Path(__file__).parent / "every.toml", out=tmp_path_factory.mktemp("runs"))
    return Path(folder)


@pytest.fixture(scope="module")
def results(run):
    return json.loads((run / "results.json").read_text())


def network(run, results, method, sparsity=0.5):
    entry = next(e for e in results["networks"] if (e["method"], e["requested"]) == (method, sparsity))
    return load(run / entry["folder"]), entry


METHODS = [
    "early",
    "rates",
    "shuffled",
    "fresh",
    "inverted",
    "other",
    "pattern",
    "blocks",
    "gradual",
    "rigl",
    "set",
    "robust",
]


@pytest.mark.parametrize("method", METHODS)
def test_every_network_has_its_sparsity_and_its_zeros(run, results, method):
    saved, entry = network(run, results, method)
    mask = saved.mask
    assert mask.total - mask.remaining == count(0.5, mask.total)
    assert entry["sparsity"] == mask.sparsity
    for name, kept in mask.kept.items():
        if mask.granularity != "block":
            assert (saved.model.get_parameter(name)[~kept] == 0).all()
    assert entry["parameters"] == prudent.Pruned.parameters.fget(saved)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_always_recorded(results, method):
    for entry in (e for e in results["networks"] if e["method"] == method):
        assert 0 <= entry["train_error"] <= 1
        assert entry["train_test_gap"] == entry["metrics"]["error"]["value"] - entry["train_error"]
        assert entry["best_epoch"] < len(entry["history"]), "patience is set, so the best epoch is kept"
        assert entry["parameters"] > 0
        assert entry["macs"] >= entry["macs_needed"] > 0
        assert entry["timing"]["training_seconds"] > 0


def test_controls_copy_what_they_must(run, results):
    for sparsity in (0.5, 0.8):
        own = network(run, results, "early", sparsity)[0].mask
        masks = {
            name: network(run, results, name, sparsity)[0].mask for name in ("shuffled", "fresh", "inverted", "other")
        }
        for mask in masks.values():
            assert mask.removed_by_layer == own.removed_by_layer
        same = {name: all(torch.equal(mask.kept[n], own.kept[n]) for n in own.kept) for name, mask in masks.items()}
        assert same == {"shuffled": False, "fresh": True, "inverted": False, "other": False}


def test_patterns_and_blocks(run, results):
    pattern = network(run, results, "pattern")[0]
    assert pattern.mask.pattern == (2, 4)
    for kept in pattern.mask.kept.values():
        assert (kept.movedim(1, -1).reshape(-1, 4).sum(1) == 2).all()
    blocks = network(run, results, "blocks")[0]
    assert blocks.mask.block == (2, 4)
    assert blocks.mask.kept["conv2.weight"].shape == (4, 9)


def test_sparse_training_keeps_the_shares_of_erdos_renyi(run, results):
    dense = network(run, results, "", 0.0)[0]
    expected = prudent.prune(dense, sparsity=0.5, scope="erdos_renyi_kernel").mask.removed_by_layer
    for method in ("rigl", "set"):
        assert network(run, results, method)[0].mask.removed_by_layer == expected


def test_the_page_is_written(run):
    assert "<html" in (run / "report.html").read_text()[:200]
