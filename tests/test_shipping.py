"""`prudent export` and `prudent bench`: networks as a command line names them, one-line refusals, JSON."""

import importlib.util
import json
import sys

import numpy as np
import pytest
import torch

from prudent.data.digits import digits
from prudent.named_networks import named_network
from prudent.networks import Architecture, save
from prudent.pruning import prune
from prudent.surgery.shrinking import shrink
from tests.conftest import refused

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")

SMALL = Architecture(
    name="small_cnn", shape=(1, 8, 8), classes=10, options={"widths": [4, 6, 8], "hidden": 12, "dropout": 0.5}
)
OWN = Architecture(name="tests.private:own_network", shape=(2,), classes=3, options={"width": 4})


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A run's folder with networks of the digits, and a network of somebody's own."""
    folder = tmp_path_factory.mktemp("shipping")
    run_folder = folder / "run"
    model = SMALL.build()
    inputs = torch.from_numpy(digits().train.inputs[:8])
    masked = prune(model, sparsity=0.75)
    small = shrink(prune(model, sparsity=0.5, granularity="channel", scope="layer"), inputs)
    for name, network in (("dense", model), ("magnitude-0.75", masked), ("channels-0.5", small)):
        save(network, run_folder / "networks" / "seed0" / name, architecture=SMALL)
    (run_folder / "study.json").write_text(json.dumps({"data": {"name": "digits", "options": {"validation": 37}}}))
    save(OWN.build(), folder / "own", architecture=OWN)
    save(SMALL.build(), folder / "unnamed")
    return folder


def network(folders, name):
    return folders / "run" / "networks" / "seed0" / name


def test_export_of_a_network_in_a_run(call, folders):
    folder = network(folders, "channels-0.5")
    status, out, err = call("export", folder)
    assert (status, err) == (0, "")
    assert f"Written to {folder / 'network.onnx'}" in out
    assert "On 37 inputs in batches of 1, 2 and 37: the same top-1 class for 100\u202f%" in out
    assert "no speed" not in out
    running = onnxruntime.InferenceSession(folder / "network.onnx", providers=["CPUExecutionProvider"])
    inputs = digits(validation=37).validation.inputs
    with torch.no_grad():
        expected = named_network(str(folder)).network.model.eval()(torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(running.run(None, {"input": inputs})[0], expected, rtol=1e-3, atol=1e-5)


def test_export_as_json_and_the_notes_on_masks(call, folders, tmp_path):
    out_file = tmp_path / "there" / "masked.onnx"
    status, out, _ = call(
        "export", network(folders, "magnitude-0.75"), "--out", out_file, "--data", "digits", "--split", "test",
        "--inputs", 20, "--json",
    )  # fmt: skip
    said = json.loads(out)
    assert status == 0
    assert (said["inputs"], said["split"], said["agreement"]) == (20, "test", 1.0)
    assert said["path"] == str(out_file)
    assert said["bytes"] == out_file.stat().st_size
    (note,) = said["notes"]
    assert "a dense runtime gains no speed from them" in note


def test_export_refuses_in_one_line(call, folders, monkeypatch):
    assert "no format named 'tflite'. Known: onnx" in refused(
        call, "export", network(folders, "dense"), "--to", "tflite"
    )
    assert "got 'nothere'" in refused(call, "export", "nothere")
    assert "needs --data" in refused(call, "export", "small_cnn")
    assert "no data set named 'digit'" in refused(call, "export", network(folders, "dense"), "--data", "digit")
    assert "a split is one of" in refused(call, "export", network(folders, "dense"), "--split", "vali")
    assert "has the splits" in refused(call, "export", network(folders, "dense"), "--split", "ood")
    assert "is built itself" in refused(call, "export", "small_cnn", "--data", "digits", "--build", "small_cnn")
    assert "does not say its architecture" in refused(call, "export", folders / "unnamed")
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else there(name))
    assert "pip install 'prudent[onnx]'" in refused(call, "export", network(folders, "dense"))


def test_code_that_only_a_file_names_is_not_run(call, folders, tmp_path):
    assert "name it with --build" in refused(call, "export", folders / "own", "--data", "tests.private:own_data")
    save(SMALL.build(), tmp_path / "evil", architecture=SMALL)
    said = tmp_path / "evil" / "network.json"
    said.write_text(said.read_text().replace("small_cnn", "tests.scores.networks:anything"))
    sys.modules.pop("tests.scores.networks", None)
    assert "name it with --build" in refused(call, "bench", tmp_path / "evil", "--data", "digits")
    assert "tests.scores.networks" not in sys.modules
    named = network(folders, "dense").parents[2] / "study.json"
    before = named.read_text()
    try:
        named.write_text('{"data": {"name": "tests.scores.networks:anything", "options": {}}}')
        assert "name a data set with --data" in refused(call, "export", network(folders, "dense"))
        assert "tests.scores.networks" not in sys.modules
        named.write_text('{"nothing": 1}')
        assert "names no data set" in refused(call, "export", network(folders, "dense"))
    finally:
        named.write_text(before)


def test_networks_of_ones_own_are_named_by_the_caller(call, folders, tmp_path):
    own = ("--build", "tests.private:own_network", "--data", "tests.private:own_data")
    status, _, err = call("export", folders / "own", *own, "--out", tmp_path / "own.onnx")
    assert (status, err) == (0, "")
    assert (tmp_path / "own.onnx").exists()
    wrong = ("--build", "mlp", "--data", "digits")
    assert "no option of model 'mlp' named 'width'" in refused(call, "export", folders / "own", *wrong)


def test_damaged_descriptions(folders, tmp_path):
    for content, said in (
        ("{", "no description"),
        ('{"architecture": {"name": 3}}', "no architecture that can be read"),
    ):
        (tmp_path / "network.json").write_text(content)
        with pytest.raises(ValueError, match=said):
            named_network(str(tmp_path))


def test_bench_says_what_it_found(call, folders):
    status, out, err = call(
        "bench", network(folders, "channels-0.5"), "--runtime", "eager, onnxruntime", "--batch", "1,3", "--turns", 6
    )
    assert (status, err) == (0, "")
    for words in ("eager 1 × 1", "eager 3 × 1", "onnxruntime 1 × 1", "onnxruntime 3 × 1", "speed-up"):
        assert words in out
    assert "Medians of 6 turns with intervals of 95 %" in out
    assert "Warning: 3 convolutions of a width that is no multiple of 8" in out


def test_bench_as_json_beside_another_network(call, folders):
    dense = network(folders, "dense")
    status, out, _ = call(
        "bench", network(folders, "magnitude-0.75"), "--beside", dense, "--runtime", "eager", "--batch", 2,
        "--turns", 8, "--json",
    )  # fmt: skip
    said = json.loads(out)
    assert status == 0
    (race,) = said["races"]
    assert (race["turns"], race["batch"], said["macs_ratio"]) == (8, 2, 1.0)
    assert race["lo"] <= race["milliseconds"] <= race["hi"]
    assert race["speedup_lo"] <= race["speedup"] <= race["speedup_hi"]
    assert "no speed from zeros" in said["warnings"][0]


def test_the_dense_network_is_that_of_the_run(folders):
    found = named_network(str(network(folders, "magnitude-0.75")))
    trained = named_network(str(network(folders, "dense"))).network
    for own, other in zip(found.dense().parameters(), trained.parameters(), strict=True):
        assert torch.equal(own, other)
    assert found.shape == (1, 8, 8)
    fresh = named_network("small_cnn", data="digits")
    assert fresh.network[0].out_channels == 16
    assert fresh.inputs("train", 5).shape == (5, 1, 8, 8)


def test_bench_refuses_in_one_line(call, folders):
    folder = network(folders, "dense")
    assert "whole numbers with commas" in refused(call, "bench", folder, "--batch", "1;2")
    assert "at least 1; got '0'" in refused(call, "bench", folder, "--threads", "0")
    assert "no runtime named 'tensorrt'" in refused(call, "bench", folder, "--runtime", "tensorrt")
    assert "got 'nothere'" in refused(call, "bench", folder, "--beside", "nothere")
