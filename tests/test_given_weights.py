"""Studies of networks that were trained elsewhere: their weights, and examples that those have not seen."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from prudent.building import build
from prudent.data import DATA
from prudent.errors import BadInput, PrudentError
from prudent.given_weights import give_weights, weights_hash
from prudent.graph import Fingerprints, build_graph
from prudent.networks import load
from prudent.parsing import parse
from prudent.resplitting import resplit
from prudent.sources import load_data
from prudent.studies import study
from prudent.types import Losses
from tests.parquet_files import write

TEXT = """
name = "given"
seeds = [0]
[data]
name = "digits"
options = { validation = 40, certification = 300, test = 300 }
[model]
name = "mlp"
options = { hidden = [12] }
weights = "net.safetensors"
[training]
epochs = 0
[[methods]]
name = "magnitude"
sparsities = [0.2, 0.5, 0.9]
[evaluation]
latency_turns = 3
[certification]
alpha = 0.3
delta = 0.1
declared = { method = "magnitude" }
resplits = 60
bounds = ["binomial", "anytime"]
alphas = [0.1, 0.3]
"""


def network(seed=5):
    return build("mlp", (1, 8, 8), 10, seed=seed, options={"hidden": [12]})


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of data with the weights of a network, and a study of it, run."""
    folder = tmp_path_factory.mktemp("given")
    save_file(network().state_dict(), folder / "net.safetensors")
    (folder / "given.toml").write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRUDENT_DATA", str(folder))
        study(folder / "given.toml", out=folder / "runs", executor="inline")
    return folder


@pytest.fixture(scope="module")
def run(place):
    return next((place / "runs").glob("given-*"))


def test_the_dense_network_is_the_given_one_and_masks_cut_it(run):
    results = json.loads((run / "results.json").read_text())
    folders = {n["requested"]: run / n["folder"] for n in results["networks"]}
    wanted = network().state_dict()
    found = load(folders[0.0]).state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    for sparsity in (0.2, 0.5, 0.9):
        pruned = load(folders[sparsity]).model.state_dict()
        weights = [name for name in wanted if name.endswith("weight")]
        kept = torch.cat([(pruned[name] != 0).flatten() for name in weights])
        assert kept.float().mean().item() == pytest.approx(1 - sparsity, abs=1e-2)
        for name in weights:
            assert torch.equal(pruned[name], torch.where(pruned[name] != 0, wanted[name], 0))
    assert results["networks"][0]["history"] == []
    assert results["environments"], "the given network was measured somewhere"


def test_the_key_is_that_of_the_file_and_only_of_the_given_network():
    def cells(text, weights=""):
        return build_graph(parse(text, source="s"), Fingerprints(task="d", ood="", weights=weights)).cells

    one, other = cells(TEXT, "a" * 64), cells(TEXT, "b" * 64)
    assert one[0].kind == "given"
    assert not {cell.key for cell in one} & {cell.key for cell in other}
    trained = cells(TEXT.replace('weights = "net.safetensors"\n', ""))
    assert trained[0].kind == "dense"
    assert "weights" not in trained[0].options


def test_another_file_under_the_same_name_is_refused(place, monkeypatch):
    monkeypatch.setenv("PRUDENT_DATA", str(place))
    true = weights_hash("net.safetensors")
    give_weights(network(seed=1), "net.safetensors", sha256=true)
    with pytest.raises(BadInput, match="were changed after this study was laid out"):
        give_weights(network(), "net.safetensors", sha256="0" * 64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("fc1.weight"), "they lack fc1.weight"),
        (lambda state: state.update(more=torch.zeros(1)), "they have besides more"),
        (
            lambda state: state.update({"fc1.weight": torch.zeros(3, 2)}),
            r"'fc1.weight' has shape \(3, 2\) there and \(12, 64\) here",
        ),
    ],
)
def test_weights_of_another_network_are_refused_and_nothing_is_changed(tmp_path, change, message):
    state = network().state_dict()
    change(state)
    save_file(state, tmp_path / "bad.safetensors")
    model = network(seed=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(BadInput, match=message):
        give_weights(model, str(tmp_path / "bad.safetensors"))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_files_that_are_no_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUDENT_DATA", str(tmp_path))
    (tmp_path / "text.safetensors").write_text("no tensors")
    with pytest.raises(BadInput, match="no whole safetensors file"):
        give_weights(network(), "text.safetensors")
    with pytest.raises(PrudentError, match="cannot read"):
        weights_hash("absent.safetensors")


def test_published_files_may_lack_the_counters_of_batches(tmp_path):
    model = build("resnet_cifar", (3, 8, 8), 10, seed=0, options={"depth": 8, "width": 4})
    other = build("resnet_cifar", (3, 8, 8), 10, seed=1, options={"depth": 8, "width": 4})
    state = {k: v for k, v in other.state_dict().items() if not k.endswith("num_batches_tracked")}
    save_file(state, tmp_path / "net.safetensors")
    give_weights(model, str(tmp_path / "net.safetensors"))
    assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 0", "epochs = 2", "set training.epochs = 0; got 2"),
        ("sparsities = [0.2", 'rewind = "init"\nsparsities = [0.2', "initial weights of a network .* are not known"),
        ("sparsities = [0.2", 'scored = "initial"\nsparsities = [0.2', "initial weights of a network .* are not known"),
        ("sparsities = [0.2", 'rewind = "learning_rate"\nsparsities = [0.2', r"the \[training\] of a network"),
    ],
)
def test_what_a_given_network_cannot_have(old, new, message):
    with pytest.raises(BadInput, match=message):
        parse(TEXT.replace(old, new), source="s")


def test_resplits_of_a_study_are_certificates_on_its_own_answers(run):
    """Against a loop over the answers in the store of networks: certified by hand, compared with all answers."""
    results = json.loads((run / "results.json").read_text())
    (entry,) = results["resplits"]
    assert (entry["method"], entry["risk"], entry["seed"]) == ("magnitude", "disagreement", 0)
    assert (entry["n"], entry["pool"], entry["candidates"], entry["resplits"]) == (300, 600, 3, 60)
    data = load_data("digits", {"validation": 40, "certification": 300, "test": 300})
    folders = {n["requested"]: run / n["folder"] for n in results["networks"]}

    def decisions(sparsity):
        model = load(folders[sparsity])
        module = model if sparsity == 0 else model.model
        inputs = [data.splits[split].inputs for split in ("certification", "test")]
        with torch.inference_mode():
            return module.eval()(torch.from_numpy(np.concatenate(inputs))).argmax(1).numpy()

    lost = np.stack([decisions(s) != decisions(0.0) for s in (0.2, 0.5, 0.9)], axis=1)
    losses = Losses(
        values=lost.astype(float), names=("a", "b", "c"), loss="disagreement", split="test",
        sparsities=tuple(results["certificates"][0]["sparsities"]),
    )  # fmt: skip
    wanted = resplit(losses, n=300, alphas=[0.1, 0.3], delta=0.1, bounds=["binomial", "anytime"], resplits=60)
    about = {"method": "magnitude", "risk": "disagreement", "seed": 0}
    assert entry == json.loads(json.dumps(asdict(wanted) | about))
    assert max(row["mean"] for row in entry["rows"]) > 0


def test_the_page_says_that_test_examples_are_used_again(run):
    page = (run / "report.html").read_text()
    assert "How sure, and how often wrong?" in page
    assert "The test examples are used again here" in page
    assert "300 examples are drawn 60 times" in page


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A small CIFAR-10: 30 images to train on, 20 to test on, each with a grey value of its own."""
    folder = tmp_path_factory.mktemp("images")
    for split, count, first in (("train", 30, 0), ("test", 20, 100)):
        pixels = [np.full((32, 32, 3), first + k, np.uint8) for k in range(count)]
        labels = [k % 10 for k in range(count)]
        write(folder / "cifar10" / f"{split}-0.parquet", pixels, labels, image="img", names=list("abcdefghij"))
    return folder


def greys(examples):
    return {round(float(v) * 255) for v in examples.inputs[:, 0, 0, 0]}


def test_examples_that_judge_a_given_network_are_of_the_official_test_set(images, monkeypatch):
    monkeypatch.setenv("PRUDENT_DATA", str(images))
    sizes = {"validation": 3, "certification": 8, "test": 9}
    data = DATA["cifar10"](unseen=True, train=12, seed=4, **sizes)
    assert {split: len(examples) for split, examples in data.splits.items()} == {"train": 12, **sizes}
    own = {split: greys(examples) for split, examples in data.splits.items()}
    assert own["train"] < set(range(30))
    assert own["validation"] | own["certification"] | own["test"] == set(range(100, 120))
    for split, examples in data.splits.items():
        assert [k % 10 for k in (round(float(v) * 255) for v in examples.inputs[:, 0, 0, 0])] == list(examples.labels)
        first = 0 if split == "train" else 30
        assert examples.ids.tolist() == [g if g < 100 else g - 100 + first for g in sorted(own[split])]
    again, other = (DATA["cifar10"](unseen=True, train=12, seed=s, **sizes) for s in (4, 5))
    assert again.fingerprint == data.fingerprint != other.fingerprint
    assert len(DATA["cifar10"](unseen=True, **sizes).train) == 30


def test_inputs_as_published_weights_want_them(images, monkeypatch):
    monkeypatch.setenv("PRUDENT_DATA", str(images))
    sizes = {"validation": 3, "certification": 8, "test": 9}
    plain = DATA["cifar10"](unseen=True, **sizes)
    mean, std = [0.1, 0.2, 0.3], [0.5, 1.0, 2.0]
    scaled = DATA["cifar10"](unseen=True, mean=mean, std=std, **sizes)
    for channel in range(3):
        wanted = (plain.test.inputs[:, channel] - mean[channel]) / std[channel]
        np.testing.assert_allclose(scaled.test.inputs[:, channel], wanted, rtol=1e-5, atol=1e-6)
    assert scaled.fingerprint != plain.fingerprint
    assert scaled.test.inputs.dtype == np.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unseen": True, "test": 10}, "20 examples of the official test set"),
        ({"unseen": True, "validation": 0}, "and none is empty"),
        ({"unseen": True, "train": 0}, "train 0"),
        ({"unseen": True, "mean": [0.1, 0.2, 0.3]}, "std = None"),
        ({"unseen": True, "mean": [0.1], "std": [1.0]}, "inputs of 3 channels need as many"),
        ({"unseen": True, "mean": [0.1, 0.2, 0.3], "std": [1.0, 1.0, 0.0]}, "positive ones in std"),
        ({"unseen": True, "mean": [0.1, float("nan"), 0.3], "std": [1.0, 1.0, 1.0]}, "finite numbers in mean"),
    ],
)
def test_sizes_and_units_that_cannot_be(images, monkeypatch, options, message):
    monkeypatch.setenv("PRUDENT_DATA", str(images))
    with pytest.raises(BadInput, match=message):
        DATA["cifar10"](**{"validation": 3, "certification": 8, "test": 9, **options})
