"""`prudent prune`: what it saves, what it says of each step, and what it refuses before any work."""

import json

import pytest
import torch

import prudent.deadlines
import prudent.networks
import prudent.trimmed
from prudent.assembling import Architecture
from prudent.data.digits import digits
from prudent.deadlines import Paced
from prudent.errors import BadInput
from prudent.network import macs, parameters
from prudent.networks import load, save
from prudent.pruning import Pruned, prune
from prudent.shipping import milliseconds_of
from prudent.speed import Race
from prudent.surgery.shrinking import Shrunk, shrink
from tests.conftest import Call, refused

SMALL = Architecture(
    name="small_cnn", shape=(1, 8, 8), classes=10, options={"widths": [4, 6, 8], "hidden": 12, "dropout": 0.5}
)


def unpruned(call: Call, *arguments: object) -> str:
    return refused(call, "prune", *arguments)


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
    assert said["kept"] == {}
    assert said["latency"]["measured"]["runtime"] == "eager"  # looked at before the training
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
    assert "cannot be met" in (said := unpruned(call, dense, "--macs", 1, "--out", tmp_path / "none"))
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
    again = (
        "--granularity",
        "weight",
        "--score",
        "random",
        "--seed",
        3,
        "--sparsity",
        0.75,
        "--out",
        tmp_path / "sparser",
    )
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
    status, out, err = call(
        "prune", "vit", "--input", "3,32,32", "--granularity", "head", "--sparsity", 0.25, "--scope", "layer", "--out",
        tmp_path / "vit",
    )  # fmt: skip
    assert status == 0
    assert "6 of 18 heads: sparsity 33.33\u202f%" in out
    assert "Proved" in out
    assert "Warning: The weights were freshly drawn" in err
    own = ("tests.private:own_network", "--input", "2", "--sparsity", 0.4, "--out", tmp_path / "own")
    assert call("prune", *own)[0] == 0
    assert load(tmp_path / "own", build=lambda: __import__("tests.private").private.own_network(classes=10))


def test_what_is_put_back_is_told(call, dense, tmp_path, monkeypatch):
    def partly(pruned, example):
        from dataclasses import replace

        lost = ("dropout 0.4 of the attention of 'x'",)
        return replace(shrink(pruned, example), kept={"features.0": "not provable there"}, lost=lost, form="graph")

    monkeypatch.setattr(prudent.trimmed, "shrink", partly)
    monkeypatch.setattr(prudent.networks, "save", lambda network, folder, architecture: folder)
    _, out, err = call("prune", dense, "--sparsity", 0.5, "--out", tmp_path / "small")
    assert "Put back, as zeros: features.0: not provable there" in out
    assert "Warning: Units that could not be cut" in err
    assert "cut as a graph" in out
    assert "As a graph it no longer has, in training: dropout 0.4 of the attention of 'x'." in out


@pytest.fixture
def planned(monkeypatch):
    """The planner of widths, in place of which what it was asked for is noted, and a known plan comes back."""
    asked = {}

    def plan(model, example, **options):
        asked.update(options, example=example)
        masked = prune(model, sparsity=0.5, granularity="channel", scope="layer", example=example)
        race = Race(
            runtime=options["runtime"], batch=options["batch"], threads=options["threads"], turns=30, level=0.95,
            milliseconds=4.5, lo=4.25, hi=5.25, beside=9.0, beside_lo=8.5, beside_hi=9.5, speedup=2.0, speedup_lo=1.9,
            speedup_hi=2.1,
        )  # fmt: skip
        return Paced(
            pruned=masked, shrunk=shrink(masked, example), budget=options["milliseconds"], dense=9.5, predicted=4.0,
            race=race, macs_ratio=3.5, rounded={"0.weight": (3, 2)}, attempts=2, warnings=("It does not pay.",),
        )  # fmt: skip

    monkeypatch.setattr(prudent.trimmed, "prune_to_latency", plan)
    monkeypatch.setattr(prudent.deadlines, "prune_to_latency", plan)
    return asked


def test_a_latency_budget_reaches_the_planner_and_what_it_found_is_told(call, dense, tmp_path, planned):
    arguments = ("--latency-budget", "5ms", "--batch", 4, "--threads", 2, "--seconds", 7, "--scope", "layer")
    status, out, err = call("prune", dense, *arguments, "--out", tmp_path / "small")
    assert status == 0
    assert {k: planned[k] for k in ("milliseconds", "runtime", "batch", "threads", "seconds", "scope")} == {
        "milliseconds": 5.0, "runtime": "onnxruntime", "batch": 4, "threads": 2, "seconds": 7.0, "scope": "layer",
    }  # fmt: skip
    assert "Measured in onnxruntime, batch 4: 4.50 ms (4.25 to 5.25) for a budget of 5.00 ms" in out
    assert "(predicted: 4.00 ms); dense 9.00 ms, so 2.00 times as fast." in out
    assert "Widths that this machine likes better: 0 3 to 2." in out
    assert "Warning: It does not pay." in err
    assert isinstance(load(tmp_path / "small"), Shrunk)
    arguments = ("--latency-budget", "0.002s", "--runtime", "eager", "--json", "--out", tmp_path / "small")
    said = json.loads(call("prune", dense, *arguments)[1])["latency"]
    assert (said["budget"], said["predicted"], said["rounded"]) == (2.0, 4.0, {"0.weight": [3, 2]})
    assert said["measured"]["runtime"] == "eager"


def test_warnings_on_speed_come_before_training(call, dense, tmp_path, planned, monkeypatch):
    def training(*given, **options):
        raise BadInput("training began")

    monkeypatch.setattr(prudent.trimmed, "train", training)
    arguments = ("--latency-budget", "5ms", "--fine-tune", 3, "--data", "digits", "--out", tmp_path / "small")
    status, _, err = call("prune", dense, *arguments)
    assert status == 2
    assert err.index("It does not pay.") < err.index("training began")


def test_a_budget_in_milliseconds_goes_with_nothing_else(call, dense, tmp_path, planned):
    out = ("--out", tmp_path / "none", "--latency-budget")
    assert "got --latency-budget and --macs" in unpruned(call, dense, *out, "5ms", "--macs", 7)
    assert "only what is cut out makes a network faster" in unpruned(call, dense, *out, "5ms", "--no-shrink")
    assert "needs --granularity channel or head" in refused(
        call, "prune", dense, *out, "5ms", "--granularity", "weight"
    )
    assert "no runtime named 'tensorrt'" in unpruned(call, dense, *out, "5ms", "--runtime", "tensorrt")
    for text in ("5 minutes", "0ms", "-3ms", "fast", "1.2.3ms", "."):
        assert f"such as 5ms, 800us or 0.5s; got {text!r}" in refused(
            call, "prune", dense, "--out", out[1], f"{out[2]}={text}"
        )
    assert planned == {}


@pytest.mark.parametrize(
    ("text", "value"), [("5ms", 5), ("5", 5), (" 0.5 s ", 500), ("800us", 0.8), ("250µs", 0.25), ("1e-3s", 1)]
)
def test_times(text, value):
    assert milliseconds_of(text) == pytest.approx(value)


def test_bench_plans_a_dense_network_and_checks_a_smaller_one(call, dense, tmp_path, planned):
    status, out, _ = call("bench", dense, "--latency-budget", "5ms", "--runtime", "onnx", "--batch", "4", "--turns", 6)
    assert status == 0
    assert "Budget 5.00 ms, predicted 4.00 ms, measured 4.50 ms (4.25 to 5.25) in onnxruntime, batch 4" in out
    assert "Warning: It does not pay." in out
    assert (planned["milliseconds"], planned["runtime"], planned["turns"]) == (5.0, "onnxruntime", 6)
    said = json.loads(call("bench", dense, "--latency-budget", "5ms", "--json")[1])
    assert said["widths"] == {"conv1": [4, 2], "conv2": [6, 3], "conv3": [8, 4], "fc1": [12, 6]}
    call("prune", dense, "--sparsity", 0.5, "--out", tmp_path / "small")
    quick = ("bench", tmp_path / "small", "--runtime", "eager", "--batch", 1, "--turns", 6, "--latency-budget")
    assert call(*quick, "1000s")[0] == 0
    status, out, err = call(*quick, "0.001us")
    assert status == 2
    assert "eager 1" in out
    assert "the budget of 0.001us is missed" in err


def test_refusals_are_one_line_and_come_before_work(call, dense, tmp_path):
    out = ("--out", tmp_path / "none")
    small = tmp_path / "small"
    call("prune", dense, "--sparsity", 0.5, "--out", small)
    assert "smaller already" in unpruned(call, small, "--sparsity", 0.5, *out)

    file = tmp_path / "file"
    file.write_text("")
    assert "is a file" in unpruned(call, dense, "--sparsity", 0.5, "--out", file)
    assert "must not be the folder of the network itself" in refused(
        call, "prune", dense, "--sparsity", 0.5, "--out", dense
    )
    assert "got none of them" in unpruned(call, dense, *out)
    assert "got sparsity and macs" in unpruned(call, dense, "--sparsity", 0.5, "--macs", 9, *out)
    assert "in [0, 1); got 1.5" in unpruned(call, dense, "--sparsity", 1.5, *out)
    assert "no score named 'taylr'. Did you mean 'taylor'?" in refused(
        call, "prune", dense, "--score", "taylr", "--sparsity", 0.5, *out
    )
    assert "reads examples: name a data set" in refused(
        call, "prune", dense, "--score", "taylor", "--sparsity", 0.5, *out
    )
    assert "needs examples: name a data set" in unpruned(call, dense, "--fine-tune", 2, "--sparsity", 0.5, *out)
    assert "no granularity of `prudent prune` named 'block'" in refused(
        call, "prune", dense, "--granularity", "block", "--sparsity", 0.5, *out
    )
    assert "no scope named 'globl'. Did you mean 'global'" in refused(
        call, "prune", dense, "--scope", "globl", "--sparsity", 0.5, *out
    )
    assert "whole numbers with commas" in unpruned(call, "vit", "--input", "3x32", "--sparsity", 0.5, *out)
    assert not (tmp_path / "none").exists()


def test_help_shows_how(call):
    status, out, _ = call("prune", "--help")
    assert status == 0
    for words in ("--sparsity", "--fine-tune", "How much", "Examples:", "compared with the masked one"):
        assert words in out
