"""Networks as plain ONNX: any batch size, nothing of the machine inside, and the network left as it was."""

import importlib.util
import os

import numpy as np
import pytest
import torch
from torch import nn

from prudent.errors import BadInput, PrudentError
from prudent.onnx_graph import answers, check_onnx, opset_of, session, to_onnx
from tests.conftest import assert_untouched, normalised, snapshot

onnx = pytest.importorskip("onnx", reason="needs the extra 'onnx'")
pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")


class BakedBatch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(x.reshape(2, 4))


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(x) if x.sum().item() > 0 else self.linear(-x)


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.layer(x).mean(1))


def test_plain_file_without_traces_of_the_machine():
    model = normalised().train()
    content = to_onnx(model, torch.rand(5, 1, 8, 8))
    proto = onnx.load_from_string(content)
    assert {node.domain for node in proto.graph.node} == {""}
    assert len(proto.functions) == len(proto.metadata_props) == 0
    assert all(not node.metadata_props and not node.doc_string for node in proto.graph.node)
    for word in (b"site-packages", b".py", os.getcwd().encode(), b"torch.nn"):
        assert word not in content
    (given,), (answered,) = proto.graph.input, proto.graph.output
    assert (given.name, answered.name) == ("input", "logits")
    dims = [dim.dim_param or dim.dim_value for dim in given.type.tensor_type.shape.dim]
    assert dims == ["batch", 1, 8, 8]
    assert answered.type.tensor_type.shape.dim[0].dim_param == "batch"
    assert opset_of(content) == proto.opset_import[0].version


def test_the_network_is_left_alone_and_the_bytes_are_the_same_twice():
    model = normalised().train()
    model(torch.rand(6, 1, 8, 8)).sum().backward()
    model[0].weight.requires_grad_(requires_grad=False)
    before = snapshot(model)
    first = to_onnx(model, torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(1)))
    assert_untouched(model, before)
    # neither the batch nor the numbers of the example matter
    assert to_onnx(model, torch.zeros(7, 1, 8, 8)) == first


def test_fused_encoder_layers_are_taken_apart():
    torch.manual_seed(0)
    model, x = Encoder().eval(), torch.randn(5, 6, 8)
    running = session(to_onnx(model, x))
    with torch.no_grad():
        for rows in (x[:1], x):
            np.testing.assert_allclose(answers(running, rows)[0], model(rows).numpy(), rtol=1e-4, atol=1e-5)


def test_compiled_networks_are_unwrapped():
    model = nn.Sequential(nn.Linear(4, 3))
    wrapped = torch.compile(model, backend="eager")
    assert to_onnx(wrapped, torch.zeros(2, 4)) == to_onnx(model, torch.zeros(2, 4))


@pytest.mark.parametrize("model", [BakedBatch(), Branching()], ids=lambda m: type(m).__name__)
def test_what_cannot_be_exported_is_refused_in_one_line(model):
    with pytest.raises(
        BadInput, match=r"cannot be exported to ONNX \(.+\): its forward must .* hold for any batch size"
    ) as caught:
        to_onnx(model, torch.rand(2, 4))
    assert "\n" not in str(caught.value)


def test_opsets_are_had_or_refused():
    model, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.zeros(2, 4)
    assert opset_of(to_onnx(model, x, opset=18)) == 18
    with pytest.raises(BadInput, match="opset|ONNX"):
        to_onnx(model, x, opset=3)


def test_too_large_for_one_file():
    model = nn.Linear(2**16, 2**14, device="meta")
    with pytest.raises(BadInput, match="at most 2 GiB"):
        to_onnx(model, torch.zeros(1, 2**16))


def test_missing_packages_are_named(monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else there(name))
    with pytest.raises(PrudentError, match=r"needs onnxruntime, not installed here: pip install 'prudent\[onnx\]'"):
        check_onnx()


def test_what_onnx_runtime_refuses_is_one_line():
    with pytest.raises(BadInput, match="ONNX Runtime refuses"):
        session(b"no model at all")
    running = session(to_onnx(nn.Linear(4, 3), torch.zeros(2, 4)))
    with pytest.raises(BadInput, match=r"does not run in ONNX Runtime on inputs of shape \(2, 5\)"):
        answers(running, torch.zeros(2, 5))
    with pytest.raises(BadInput, match="torch.bfloat16"):
        answers(running, torch.zeros(2, 4, dtype=torch.bfloat16))
