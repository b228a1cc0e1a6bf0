"""Files that other programs run, kept only if they answer as the network does."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import prudent.export
from prudent.errors import BadInput, PrudentError
from prudent.examples import Inputs
from prudent.export import difference_sentence, export_onnx, storage_notes
from prudent.models.densenet_cifar import densenet_cifar
from prudent.models.mobilenet_v2 import mobilenet_v2
from prudent.models.resnet_cifar import resnet_cifar
from prudent.models.small_cnn import small_cnn
from prudent.models.vit import vit
from prudent.network import seeded
from prudent.networks import pack
from prudent.onnx_graph import to_onnx
from prudent.pruning import prune
from prudent.surgery.shrinking import shrink
from tests.conftest import assert_untouched, chain, images, snapshot

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")

SHAPE = (3, 8, 8)
NETWORKS = {
    "resnet_cifar": lambda: resnet_cifar(SHAPE, 4, depth=8, width=4),
    "vit": lambda: vit(SHAPE, 4, width=12, depth=1, heads=3, hidden=16, dropout=0.3),
    "mobilenet_v2": lambda: mobilenet_v2(SHAPE, 4, stem="cifar", width=0.25),
    "densenet_cifar": lambda: densenet_cifar(SHAPE, 4, depth=10, growth=4, dropout=0.2),
    "small_cnn": lambda: small_cnn(SHAPE, 4, widths=(4, 6, 8), hidden=12, dropout=0.5),
}


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(x), x


@pytest.fixture
def model():
    return chain()


@pytest.fixture(scope="module")
def content():
    return to_onnx(chain(), images(2)[0])


@pytest.fixture
def quick(monkeypatch, content):
    """The export of `model` made once; what is done with it is what these tests are about."""
    monkeypatch.setattr(prudent.export, "to_onnx", lambda model, example, *, opset: content)


@pytest.fixture
def inputs():
    return images(10)[0]


LONG = {"mobilenet_v2", "densenet_cifar"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in NETWORKS])
def test_files_answer_as_the_network_does(name, tmp_path):
    with seeded(0):
        network = NETWORKS[name]().train()
        for _ in range(3):  # so that running statistics are not those of no data
            network(torch.randn(16, *SHAPE) * 2 + 1)
        real = torch.randn(9, *SHAPE)
    before = snapshot(network)
    exported = export_onnx(network, tmp_path / "network.onnx", real[:3], check=real, batch=4)
    assert_untouched(network, before)
    assert (exported.inputs, exported.batches, exported.agreement) == (9, (1, 2, 4), 1.0)
    content = exported.path.read_bytes()
    assert (exported.sha256, exported.bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    assert [path.name for path in tmp_path.iterdir()] == ["network.onnx"]
    running = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    network.eval()
    worst = largest = 0.0
    for size in (1, 2, 5, 9):
        with torch.no_grad():
            eager = network(real[:size]).numpy()
        (answer,) = running.run(["logits"], {"input": real[:size].numpy()})
        assert answer.shape == eager.shape
        worst, largest = max(worst, np.abs(answer - eager).max()), max(largest, np.abs(eager).max())
    assert worst / largest < 1e-5
    assert exported.relative == pytest.approx(exported.difference / largest, rel=1e-4)
    assert exported.relative < 1e-5


def spoiled(monkeypatch, change):
    """What ONNX Runtime answers, changed."""
    right = prudent.export.answers
    monkeypatch.setattr(prudent.export, "answers", lambda running, rows: [change(right(running, rows)[0].copy())])


def test_a_file_that_disagrees_is_not_kept_and_the_error_says_by_how_much(model, inputs, tmp_path, monkeypatch, quick):
    with torch.no_grad():
        largest = float(model.eval()(inputs).abs().max())

    def one_logit_of_the_last_input(answer):
        if len(answer) == 10:
            answer[9, 1] += 0.01 * largest
        return answer

    spoiled(monkeypatch, one_logit_of_the_last_input)
    path = tmp_path / "deep" / "network.onnx"
    with pytest.raises(BadInput, match=r"differs .* by 0\.01 of its largest answer \(at most 0\.0001\) on 10 inputs"):
        export_onnx(model, path, inputs)
    assert not path.parent.exists()
    path = tmp_path / "network.onnx"
    path.write_bytes(b"what was there")
    with pytest.raises(BadInput, match="not kept"):
        export_onnx(model, path, inputs)
    assert path.read_bytes() == b"what was there"
    exported = export_onnx(model, path, inputs, tolerance=0.011)
    assert exported.relative == pytest.approx(0.01, rel=1e-3)
    assert exported.difference == pytest.approx(0.01 * largest, rel=1e-3)
    assert exported.tolerance == 0.011


@pytest.mark.parametrize("batch", [1, 2])
def test_small_batches_are_compared_too(model, inputs, tmp_path, monkeypatch, quick, batch):
    spoiled(monkeypatch, lambda answer: answer + (len(answer) == batch))
    with pytest.raises(BadInput, match="not kept"):
        export_onnx(model, tmp_path / "x.onnx", inputs[:8], batch=8)
    with pytest.raises(BadInput, match="not kept"):  # with one input, too
        export_onnx(model, tmp_path / "x.onnx", inputs[:1])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_never_passes_for_agreement(model, inputs, tmp_path, monkeypatch, quick, value):
    def spoil(answer):
        answer[0, 0] = value
        return answer

    spoiled(monkeypatch, spoil)
    with pytest.raises(BadInput, match="not kept"):
        export_onnx(model, tmp_path / "x.onnx", inputs, tolerance=1e9)
    assert not list(tmp_path.iterdir())


def test_top_1_agreement_counts_inputs(model, inputs, tmp_path, monkeypatch, quick):
    def turn(answer):
        if len(answer) == 10:
            answer[[2, 5, 7]] *= -1  # the class with the highest logit becomes the one with the lowest
        return answer

    spoiled(monkeypatch, turn)
    exported = export_onnx(model, tmp_path / "x.onnx", inputs, tolerance=10)
    assert exported.agreement == 0.7
    assert "the same top-1 class for 70\u202f%" in difference_sentence(exported)
    assert "On 10 inputs in batches of 1, 2 and 10" in difference_sentence(exported)


class Sums(nn.Module):
    def forward(self, x):
        return x.sum(1), x


class Labelled(nn.Module):
    """Several inputs, of which one is no batch and one is not used, and several answers."""

    def __init__(self):
        super().__init__()
        self.words, self.layer, self.head = nn.Embedding(7, 5), nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x, *, ids, unused, weights, scale=1.0):
        hidden = (self.layer(x) + self.words(ids)).relu() * weights * scale
        return {"logits": self.head(hidden), "deeper": (hidden, None, hidden.sum(1))}


def test_several_inputs_and_answers_go_by_their_names(tmp_path):
    torch.manual_seed(0)
    model = Labelled().eval()
    given = {"ids": torch.arange(5), "unused": torch.rand(5, 2), "weights": torch.rand(5), "scale": 2.0}
    example = Inputs((torch.rand(5, 4),), {**given, "weights": torch.rand(1, 5)})
    exported = export_onnx(model, tmp_path / "x.onnx", example)
    assert exported.agreement == 1.0
    assert exported.batches == (1, 2, 5)
    running = onnxruntime.InferenceSession(tmp_path / "x.onnx", providers=["CPUExecutionProvider"])
    assert [one.name for one in running.get_inputs()] == ["x", "ids", "unused", "weights"]
    assert [one.name for one in running.get_outputs()] == ["logits", "deeper_0", "deeper_2"]
    more = {"x": torch.rand(9, 4), "ids": torch.arange(9) % 7, "unused": torch.rand(9, 2), "weights": torch.rand(1, 5)}
    got = running.run(None, {name: value.numpy() for name, value in more.items()})
    with torch.no_grad():
        answer = model(more.pop("x"), **more, scale=2.0)  # the factor is fixed as it was in the example
    for own, other in zip([answer["logits"], answer["deeper"][0], answer["deeper"][2]], got, strict=True):
        np.testing.assert_allclose(own.numpy(), other, atol=1e-6)


def test_the_worst_of_several_answers_counts(tmp_path, monkeypatch):
    right = prudent.export.answers

    def turned(running, *rows):
        first, second = right(running, *rows)
        return [first, -second]

    monkeypatch.setattr(prudent.export, "answers", turned)
    with pytest.raises(BadInput, match=r"differs .* by 2 of its largest answer"):
        export_onnx(Two(), tmp_path / "x.onnx", torch.rand(3, 4))
    assert not list(tmp_path.iterdir())


def test_other_answers_than_tensors_are_refused_with_what_to_do(tmp_path):
    with pytest.raises(BadInput, match=r"Labelled does not take these inputs: .*missing a required"):
        export_onnx(Labelled(), tmp_path / "x.onnx", (torch.rand(3, 4),))
    with pytest.raises(BadInput, match=r"answered \(2,\) for 2 inputs"):  # no classes to compare
        export_onnx(Sums(), tmp_path / "x.onnx", {"x": torch.zeros(3, 4)})
    with pytest.raises(BadInput, match=r"answered \(12,\) for 2 inputs"):
        export_onnx(nn.Flatten(0), tmp_path / "x.onnx", torch.zeros(3, 6))
    with pytest.raises(BadInput, match="does not run on an input of shape"):
        export_onnx(nn.Linear(5, 3), tmp_path / "x.onnx", torch.zeros(3, 4))
    with pytest.raises(BadInput, match="finite answers"):
        broken = nn.Linear(4, 3)
        nn.init.constant_(broken.bias, float("nan"))
        export_onnx(broken, tmp_path / "x.onnx", torch.zeros(3, 4))
    assert not list(tmp_path.iterdir())


class TwoTowers(nn.Module):
    """Written so that only a graph of it can be smaller."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.head = nn.Linear(6, 8), nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, x, y):
        return self.head((self.left(x) * self.right(y)).view(-1, 8))


@pytest.mark.parametrize("smaller", [False, True])
def test_errors_of_several_inputs_name_the_users_class(tmp_path, smaller):
    torch.manual_seed(0)
    example = torch.rand(3, 6), torch.rand(3, 5)
    network = TwoTowers().eval()
    if smaller:
        pruned = prudent.prune(network, sparsity=0.5, granularity="channel", scope="layer", example=example)
        network = prudent.shrink(pruned, example)
        assert network.form == "graph"
    for given, why in (
        ((torch.rand(3, 6), torch.rand(3, 4)), "shapes cannot be multiplied"),
        ((torch.rand(3, 6),), "TwoTowers takes 2 tensors here; got 1"),
    ):
        with pytest.raises(BadInput, match=rf"^TwoTowers does not run on an input of shape \(2, 6\) .*{why}"):
            export_onnx(network, tmp_path / "x.onnx", example, check=given)
    with pytest.raises(BadInput, match=r"^TwoTowers does not take these inputs"):
        export_onnx(network, tmp_path / "x.onnx", example[:1])
    assert not list(tmp_path.iterdir())


def test_bad_requests_are_refused_before_work(model, inputs, tmp_path, quick):
    with pytest.raises(BadInput, match="needs inputs"):
        export_onnx(model, tmp_path / "x.onnx", inputs[:0])
    with pytest.raises(BadInput, match="needs inputs"):
        export_onnx(model, tmp_path / "x.onnx", inputs, check=inputs[:0])
    (tmp_path / "folder").mkdir()
    with pytest.raises(PrudentError, match="cannot write"):
        export_onnx(model, tmp_path / "folder", inputs)


def test_masked_and_smaller_networks(model, inputs, tmp_path):
    masked = prune(model, sparsity=0.6)
    exported = export_onnx(masked, tmp_path / "masked.onnx", inputs)
    small = shrink(prune(model, sparsity=0.5, granularity="channel", scope="layer"), inputs)
    fewer = export_onnx(small, tmp_path / "small.onnx", inputs)
    assert fewer.bytes < exported.bytes
    (note,) = storage_notes(masked)
    bits = sum(-(-kept.numel() // 8) for kept in masked.mask.kept.values())
    stored = len(pack(masked)["network.safetensors"])
    assert "a dense runtime gains no speed from them" in note
    assert f"({bits / 1024:.1f} KiB)" in note
    assert f"takes {stored / 1024:.1f} KiB" in note
    assert "60.0\u202f% of the single weights" in note
    assert storage_notes(small) == storage_notes(model) == []
    (note,) = storage_notes(prune(model, sparsity=0.3, granularity="channel"))
    assert "only shrink" in note


def test_a_masked_network_that_was_trained_without_its_mask_does_not_ship(model, inputs, tmp_path):
    masked = prune(model, sparsity=0.6)
    with torch.no_grad():
        masked.model[0].weight += 1
    with pytest.raises(BadInput, match="not zero"):
        export_onnx(masked, tmp_path / "x.onnx", inputs)


def test_half_precision(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)).half()
    exported = export_onnx(model, tmp_path / "x.onnx", torch.randn(6, 8).half())
    assert exported.tolerance == 2e-2
    assert exported.bytes < 2 * sum(p.numel() for p in model.parameters()) + 4000
    assert Path(exported.path).exists()
