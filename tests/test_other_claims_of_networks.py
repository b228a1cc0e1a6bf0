"""`prudent verify --network` for Pareto tests, families and cascades of real networks, on the command line."""

import pytest
import torch

import prudent
from prudent.building import build
from prudent.cascades import certify_cascade, choose_thresholds, served_table
from prudent.claim_files import write_cascade, write_family, write_pareto
from prudent.cli import run
from prudent.families import certify_family
from prudent.loss_tables import losses
from prudent.networks import Architecture, save
from prudent.pareto import certify_pareto
from prudent.sources import load_data

NAMES = ("dense", "half", "most")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Three saved networks, and what each answers on validation and certification."""
    torch.set_num_threads(1)
    folder, data = tmp_path_factory.mktemp("saved"), load_data("digits", {})
    options = {"hidden": [32]}
    made = Architecture(name="mlp", shape=data.shape, classes=10, options=options)
    dense = build("mlp", data.shape, 10, seed=0, options=options)
    dense = prudent.train(dense, data.train.batches(64), epochs=8, lr=0.005, seed=0)
    models = [dense, *(prudent.prune(dense, sparsity=s) for s in (0.5, 0.8))]
    answers = {}
    for name, model in zip(NAMES, models, strict=True):
        save(model, folder / name, architecture=made)
        loaded = prudent.load(folder / name)
        loaded = getattr(loaded, "model", loaded)  # of a pruned one, with its mask
        for split in ("validation", "certification"):
            answers[name, split] = prudent.predict(loaded, data.splits[split].batches(), split=split)
    return folder, answers


def tables(answers, split, loss):
    return losses([answers[name, split] for name in NAMES], sparsities=[0.0, 0.5, 0.8], names=NAMES, loss=loss,
                  dense=answers["dense", split] if loss == "disagreement" else None)  # fmt: skip


def pareto(answers, path):
    choice, own = ([tables(answers, split, loss) for loss in ("error", "disagreement")]
                   for split in ("validation", "certification"))  # fmt: skip
    claim = certify_pareto(choice, own, alphas=[0.4, 0.6], delta=0.1, bound="binomial")
    write_pareto(claim, choice, own, path)
    return NAMES[claim.selected]


def family(answers, path):
    own = tables(answers, "certification", "error")
    claim = certify_family(own, alpha=0.2, delta=0.1)
    write_family(claim, own, path)
    return NAMES[claim.selected]


def cascade(answers, path):
    small, dense = "half", "dense"
    thresholds = choose_thresholds(answers[small, "validation"], answers[dense, "validation"], alpha=0.1)
    own = [answers[name, "certification"] for name in (small, dense)]
    claim = certify_cascade(thresholds, *own, alpha=0.1, delta=0.1)
    assert claim.selected is not None
    write_cascade(claim, served_table(*own), path)
    return small


@pytest.mark.parametrize("make", [pareto, family, cascade])
def test_the_network_that_was_certified_is_told_from_the_others(saved, tmp_path, capsys, make):
    folder, answers = saved
    path = tmp_path / "claim.json"
    chosen = make(answers, path)
    capsys.readouterr()
    for name in NAMES:
        status = run(["verify", str(path), "--network", str(folder / name)])
        said = capsys.readouterr()
        assert status == (0 if name == chosen else 2), said.err
        assert ("is what it certifies" in said.out) == (name == chosen)
        assert ("is not the network that claim.json is about" in said.err) == (name != chosen)
    assert run(["verify", str(path), "--network", str(folder / chosen), "--data", "digits"]) == 2
    assert "leave --counts and --data out" in capsys.readouterr().err
    assert run(["verify", str(path), "--network", str(folder / "absent")]) == 2
