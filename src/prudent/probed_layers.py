"""The piece of network that a width is judged by, in PyTorch and as ONNX."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from prudent.errors import BadInput
from prudent.latency import one_pass
from prudent.network import seeded
from prudent.onnx_graph import session
from prudent.scopes import check_choice

Kind = Literal["conv2d", "depthwise", "linear"]
OPSET, IR = 20, 10
"""Versions of ONNX's operators and of its file format that every supported ONNX Runtime reads."""

REPEATS = 3
"""How often the width comes up in the piece; with fewer, what is done once to inputs and outputs weighs too much."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer whose width is in question, with the layer that reads it.

    The probed piece goes REPEATS times from `inputs` channels to the width in question and back, with a ReLU after
    every layer, so that the cost of reading a width counts like the cost of making it.

    Args:
        kind: "conv2d" (width made and read by such convolutions), "linear", or "depthwise" (1x1 convolutions to the
            width and back, a depthwise one between them).
        inputs: channels before and after.
        kernel: height and width of the kernel; odd.
        stride: of the first convolution of the width; the image is smaller by this factor from then on.
        groups: of the convolutions of kind "conv2d"; they divide `inputs` and every candidate.
        size: (height, width) of the image; (1, 1) for "linear".
        batch: inputs in a pass.
    """

    kind: Kind
    inputs: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1
    size: tuple[int, int] = (1, 1)
    batch: int = 1

    def __post_init__(self) -> None:
        check_choice("kind of layer", self.kind, Kind)
        numbers = (self.inputs, self.kernel, self.stride, self.groups, *self.size, self.batch)
        if min(numbers) < 1 or self.kernel % 2 == 0:
            raise BadInput(f"a layer to probe has sizes of at least 1 and an odd kernel; got {asdict(self)}")
        if self.kind != "conv2d" and self.groups != 1:
            raise BadInput(f"only a conv2d has groups here; got groups={self.groups} for {self.kind!r}")
        if self.inputs % self.groups:
            raise BadInput(f"groups must divide the inputs; got {self.groups} groups for {self.inputs} inputs")

    def check_widths(self, widths: Sequence[int]) -> None:
        """Refuse widths that this layer cannot have.

        Raises:
            BadInput: no widths, one below 1, or one that the groups do not divide.
        """
        wrong = [width for width in widths if width < 1 or width % self.groups]
        if not widths or wrong:
            came = f"got {wrong[0]}" if wrong else "got none"
            raise BadInput(f"candidate widths are at least 1 and multiples of the {self.groups} groups; {came}")


def piece(layer: Layer, width: int) -> nn.Sequential:
    """The piece of network for one candidate width, with random weights; the same for the same arguments."""
    with seeded(0):
        parts: list[nn.Module] = []
        for turn in range(REPEATS):
            stride = layer.stride if turn == 0 else 1
            for made in _layers(layer, width, stride):
                parts += [made, nn.ReLU()]
        return nn.Sequential(*parts).eval()


def inputs_of(layer: Layer) -> Tensor:
    """Random inputs of the piece: (batch, inputs, height, width), or (batch, inputs) for "linear"."""
    generator = torch.Generator().manual_seed(0)
    shape = (layer.batch, layer.inputs) if layer.kind == "linear" else (layer.batch, layer.inputs, *layer.size)
    return torch.randn(shape, generator=generator)


def eager_pass(layer: Layer, width: int, *, threads: int) -> Callable[[], object]:  # noqa: ARG001 (the caller sets torch's)
    """One pass of the piece in PyTorch, to be run under torch.inference_mode."""
    return partial(one_pass, piece(layer, width), inputs_of(layer))


def onnx_pass(layer: Layer, width: int, *, threads: int) -> Callable[[], object]:
    """One pass of the piece in ONNX Runtime.

    Raises:
        PrudentError: onnx or onnxruntime is not installed.
    """
    running = session(piece_as_onnx(layer, width), threads=threads)
    return partial(running.run, None, {"input": inputs_of(layer).numpy()})


def piece_as_onnx(layer: Layer, width: int) -> bytes:
    """The piece as an ONNX file's content, written directly: an export would take longer than the measurement."""
    from onnx import TensorProto, helper

    nodes: list[Any] = []
    weights: list[Any] = []
    for at, part in enumerate(piece(layer, width)):
        names: dict[str, Any] = {"inputs": [f"value{at - 1}" if at else "input"], "outputs": [f"value{at}"]}
        if isinstance(part, nn.ReLU):
            nodes.append(helper.make_node("Relu", **names))
            continue
        weights += [_tensor(f"{name}{at}", value) for name, value in part.named_parameters()]
        names["inputs"] += [f"weight{at}", f"bias{at}"]
        if isinstance(part, nn.Conv2d):
            padding = [*map(int, part.padding)] * 2
            nodes.append(
                helper.make_node(
                    "Conv", **names, kernel_shape=part.kernel_size, strides=part.stride, pads=padding, group=part.groups
                )
            )
        else:
            nodes.append(helper.make_node("Gemm", **names, transB=1))
    shape = ["batch", *inputs_of(layer).shape[1:]]
    ends = ((nodes[0].input[0], shape), (nodes[-1].output[0], ["batch", *[None] * (len(shape) - 1)]))
    first, last = (helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in ends)
    graph = helper.make_graph(nodes, "piece", [first], [last], weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    content: bytes = made.SerializeToString(deterministic=True)
    return content


def _layers(layer: Layer, width: int, stride: int) -> list[nn.Module]:
    """From the inputs to the width and back."""
    inputs, groups, pad = layer.inputs, layer.groups, layer.kernel // 2
    if layer.kind == "linear":
        return [nn.Linear(inputs, width), nn.Linear(width, inputs)]
    if layer.kind == "depthwise":
        between = nn.Conv2d(width, width, layer.kernel, stride=stride, padding=pad, groups=width)
        return [nn.Conv2d(inputs, width, 1), between, nn.Conv2d(width, inputs, 1)]
    return [
        nn.Conv2d(inputs, width, layer.kernel, stride=stride, padding=pad, groups=groups),
        nn.Conv2d(width, inputs, layer.kernel, padding=pad, groups=groups),
    ]


def _tensor(name: str, value: Tensor) -> Any:  # noqa: ANN401 (an onnx.TensorProto)
    from onnx import numpy_helper

    return numpy_helper.from_array(value.detach().numpy(), name)
