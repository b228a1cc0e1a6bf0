"""`prudent prune`: what it saves, what it says of each step, and what it refuses before any work."""

import json

import pytest
import torch

from prudent.assembling import Architecture
from prudent.cli import run
from prudent.data.digits import digits
from prudent.network import macs, parameters
from prudent.networks import load, save
from prudent.pruning import Pruned, prune
from prudent.surgery.shrinking import Shrunk, shrink

SMALL = Architecture(
    name="small_cnn", shape=(1, 8, 8), classes=10, options={"widths": [4, 6, 8], "hidden": 12, "dropout": 0.5}
)


@pytest.fixture
def call(capsys):
    def one(*arguments):
        status = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return one


def refused(call, *arguments) -> str:
    status, _, err = call("prune", *arguments)
    assert status == 2, err
    assert len(err.splitlines()) == 1, err
    return err


@pytest.fixture
def dense(tmp_path):
    save(SMALL.build(), tmp_path / "dense", architecture=SMALL)
    return tmp_path / "dense"


def test_channels_are_cut_proved_and_saved(call, dense, tmp_path):
    status, out, err = call("prune", dense, "--sparsity", 0.5, "--scope", "layer", "--out", tmp_path / "small")
    assert (status, err) == (0, "")
    found = load(tmp_path / "small")
    expected = shrink(prune(SMALL.build(), sparsity=0.5, granularity="channel", scope="layer"), torch.zeros(2, 1, 8, 8))
    assert isinstance(found, Shrunk)
    for own, other in zip(found.model.parameters(), expected.model.parameters(), strict=True):
        assert torch.equal(own, other)
    assert "Removed 15 of 30 channels: sparsity 50\u202f%." in out
    assert f"{parameters(expected.model):,}" in out
    assert f"{macs(SMALL.build(), torch.zeros(1, 1, 8, 8)):,}" in out
    assert "Proved: cut and masked network differ by" in out
    assert f"Saved in {tmp_path / 'small'}" in out
    # what was saved is what the other commands take
    status, out, _ = call("bench", tmp_path / "small", "--runtime", "eager", "--batch", 1, "--turns", 6)
    assert status == 0


def test_json_says_every_step(call, dense, tmp_path):
    folder = tmp_path / "small"
    status, out, _ = call(
        "prune", dense, "--parameters", 600, "--score", "taylor", "--data", "digits", "--examples", 64,
        "--fine-tune", 1, "--out", folder, "--json",
    )  # fmt: skip
    said = json.loads(out)
    found = load(folder)
    assert status == 0
    assert said["before"]["parameters"] == parameters(SMALL.build())
    assert said["before"]["bytes"] == sum(file.stat().st_size for file in dense.iterdir())
    assert said["after"]["parameters"] == parameters(found.model) <= 600
    assert said["after"]["macs"] == macs(found.model, torch.zeros(1, 1, 8, 8))
    assert said["after"]["bytes"] == sum(file.stat().st_size for file in folder.iterdir())
    assert said["layers"] == {n: [k.numel(), int(k.sum())] for n, k in found.mask.kept.items()}
    assert 0 <= said["proof"]["difference"] <= said["proof"]["tolerance"] == 1e-9
    assert (said["kept"], said["warnings"]) == ({}, [])
    validation = digits().validation
    with torch.no_grad():
        decided = found.model.eval()(torch.from_numpy(validation.inputs)).argmax(1)
    assert set(said["errors"]) == {"dense", "pruned", "fine_tuned"}
    assert said["errors"]["fine_tuned"] == float((decided != torch.from_numpy(validation.labels)).double().mean())
    # only so many training examples were read
    model, train = SMALL.build(), digits().train
    reads = [(torch.from_numpy(train.inputs[:64]), torch.from_numpy(train.labels[:64]))]
    example = torch.zeros(2, 1, 8, 8)
    expected = prune(
        model, parameters=600, granularity="channel", score="taylor", batches=reads, example=example, seed=0
    )
    assert all(torch.equal(kept, found.mask.kept[name]) for name, kept in expected.mask.kept.items())


def test_macs_are_of_one_input(call, dense, tmp_path):
    limit = macs(SMALL.build(), torch.zeros(1, 1, 8, 8)) // 2
    status, out, _ = call("prune", dense, "--macs", limit, "--out", tmp_path / "small", "--json")
    assert status == 0
    assert 0.6 * limit < json.loads(out)["after"]["macs"] <= limit
    assert "cannot be met" in (said := refused(call, dense, "--macs", 1, "--out", tmp_path / "none"))
    assert "(counted for 2 inputs)" in said
    assert not (tmp_path / "none").exists()


def test_no_shrink_and_weights_leave_zeros(call, dense, tmp_path):
    for arguments in (("--no-shrink",), ("--granularity", "weight")):
        status, out, _ = call("prune", dense, "--sparsity", 0.5, *arguments, "--out", tmp_path / "masked", "--json")
        said = json.loads(out)
        found = load(tmp_path / "masked")
        assert status == 0
        assert isinstance(found, Pruned)
        assert said["proof"] is None
        assert said["sparsity"] == found.sparsity == 0.5
        assert said["after"]["parameters"] < said["before"]["parameters"]
        assert any("is as large as before" in warning for warning in said["warnings"])
    # a masked network can be pruned further, and keeps its zeros
    before = load(tmp_path / "masked").mask
    again = ("--granularity", "weight", "--sparsity", 0.75, "--out", tmp_path / "sparser")
    assert call("prune", tmp_path / "masked", *again)[0] == 0
    after = load(tmp_path / "sparser").mask
    assert after.sparsity == 0.75
    assert all(not (kept & ~before.kept[name]).any() for name, kept in after.kept.items())


def test_masked_networks_are_trained_with_their_zeros(call, dense, tmp_path):
    arguments = ("--sparsity", 0.8, "--granularity", "weight", "--data", "digits", "--fine-tune", 1)
    assert call("prune", dense, *arguments, "--out", tmp_path / "tuned")[0] == 0
    found = load(tmp_path / "tuned")
    trained = dict(found.model.named_parameters())
    assert all((trained[name][~kept] == 0).all() for name, kept in found.mask.kept.items())
    assert any((trained[name] != value).any() for name, value in load(dense).named_parameters() if "bias" in name)


def test_heads_and_networks_of_ones_own(call, tmp_path):
    status, out, _ = call(
        "prune", "vit", "--input", "3,32,32", "--granularity", "head", "--sparsity", 0.25, "--scope", "layer", "--out",
        tmp_path / "vit",
    )  # fmt: skip
    assert status == 0
    assert "6 of 18 heads: sparsity 33.33\u202f%" in out
    assert "Proved" in out
    assert "Warning: The weights were freshly drawn" in out
    own = ("tests.private:own_network", "--input", "2", "--sparsity", 0.4, "--out", tmp_path / "own")
    assert call("prune", *own)[0] == 0
    assert load(tmp_path / "own", build=lambda: __import__("tests.private").private.own_network(classes=10))


def test_what_is_put_back_is_told(call, dense, tmp_path, monkeypatch):
    import prudent.trimmed

    def partly(pruned, example):
        from dataclasses import replace

        return replace(shrink(pruned, example), kept={"features.0": "not provable there"})

    monkeypatch.setattr(prudent.trimmed, "shrink", partly)
    _, out, _ = call("prune", dense, "--sparsity", 0.5, "--out", tmp_path / "small")
    assert "Put back, as zeros: features.0: not provable there" in out
    assert "Warning: Units that could not be cut" in out


def test_refusals_are_one_line_and_come_before_work(call, dense, tmp_path):
    out = ("--out", tmp_path / "none")
    small = tmp_path / "small"
    call("prune", dense, "--sparsity", 0.5, "--out", small)
    assert "smaller already" in refused(call, small, "--sparsity", 0.5, *out)

    file = tmp_path / "file"
    file.write_text("")
    assert "is a file" in refused(call, dense, "--sparsity", 0.5, "--out", file)
    assert "must not be the folder of the network itself" in refused(call, dense, "--sparsity", 0.5, "--out", dense)
    assert "got none of them" in refused(call, dense, *out)
    assert "got sparsity and macs" in refused(call, dense, "--sparsity", 0.5, "--macs", 9, *out)
    assert "in [0, 1); got 1.5" in refused(call, dense, "--sparsity", 1.5, *out)
    assert "no score named 'taylr'. Did you mean 'taylor'?" in refused(
        call, dense, "--score", "taylr", "--sparsity", 0.5, *out
    )
    assert "reads examples: name a data set" in refused(call, dense, "--score", "taylor", "--sparsity", 0.5, *out)
    assert "needs examples: name a data set" in refused(call, dense, "--fine-tune", 2, "--sparsity", 0.5, *out)
    assert "no granularity of `prudent prune` named 'block'" in refused(
        call, dense, "--granularity", "block", "--sparsity", 0.5, *out
    )
    assert "no scope named 'globl'. Did you mean 'global'" in refused(
        call, dense, "--scope", "globl", "--sparsity", 0.5, *out
    )
    assert "whole numbers with commas" in refused(call, "vit", "--input", "3x32", "--sparsity", 0.5, *out)
    assert not (tmp_path / "none").exists()


def test_help_shows_how(call):
    status, out, _ = call("prune", "--help")
    assert status == 0
    for words in ("--sparsity", "--fine-tune", "How much", "Examples:", "compared with the masked one"):
        assert words in out
