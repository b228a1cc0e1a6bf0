"""A network as plain ONNX, in memory: made by torch, stripped of what is nobody's business, run by ONNX Runtime."""

import copy
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from prudent.errors import BadInput, PrudentError, reason
from prudent.examples import Example, mapped
from prudent.flattening import Flat, input_names, output_names, rows_of, tensors_of
from prudent.network import parameters, seeded

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

NEEDED = ("onnx", "onnxscript", "onnxruntime")
MOST_BYTES = 2**31 - 2**20
"""What one ONNX file may hold: a protobuf message ends at 2 GiB, and the graph itself needs some of it."""


def check_onnx() -> None:
    """Refuse where the packages that write and run ONNX are not installed; nothing is imported.

    Raises:
        PrudentError: says what to install.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise PrudentError(f"ONNX needs {', '.join(missing)}, not installed here: pip install 'prudent[onnx]'")


def standalone(model: nn.Module) -> nn.Module:
    """A copy on the CPU in evaluation mode, without what torch.compile wraps around a network.

    Whatever is done to the copy, the network's own modes, gradients and buffers stay as they are.
    """
    inner = getattr(model, "_orig_mod", model)
    return copy.deepcopy(inner).cpu().eval().requires_grad_(requires_grad=False)


def to_onnx(model: nn.Module, example: Example, *, opset: int | None = None) -> bytes:
    """The network as an ONNX file's content: standard operators only, any batch size, weights inside.

    A single input is called "input", and a single answer "logits"; several go by the names of the parameters of
    `forward` and by their places in the answer. The first dimension of those that are as long as the batch is called
    "batch". Stack traces, which would carry the paths of the machine that it was made on, are taken out. Equal networks
    give equal bytes.

    Args:
        model: any network that torch.export can trace. Not changed: nor its modes, gradients, or random generators.
        example: inputs (n, ...), n >= 1; only shape and dtype matter, and what is no tensor among them.
        opset: version of ONNX's operators; None for torch's own choice.

    Raises:
        PrudentError: onnx, onnxscript or onnxruntime is not installed.
        BadInput: the network cannot be traced for any batch size, uses operators that ONNX does not have, is too large
            for one file, or the opset cannot be had.
    """
    check_onnx()
    size = parameters(model) * max((p.element_size() for p in model.parameters()), default=4)
    if size > MOST_BYTES:
        raise BadInput(
            f"one ONNX file holds at most 2 GiB; the network has {size:,} bytes of weights: use half precision"
        )
    tensors = tensors_of(example)
    # two rows: a batch of 1 would be taken for a constant
    rows = rows_of([t.detach().cpu() for t in tensors], torch.arange(2))
    batch = torch.export.Dim("batch")
    shapes = tuple({0: batch} if t.ndim and len(t) == len(tensors[0]) else None for t in tensors)
    whole = standalone(model)
    one = isinstance(example, Tensor)
    try:
        with seeded(0), torch.no_grad(), _quiet():
            answer = whole(*rows) if one else _answer(whole, example, rows)
            plain = one and isinstance(answer, Tensor)
            program = torch.onnx.export(
                whole if plain else Flat(whole, example), rows, dynamo=True, verbose=False, opset_version=opset,
                input_names=["input"] if one else input_names(whole, example), output_names=output_names(answer),
                dynamic_shapes=shapes if plain else (shapes,),
            )  # fmt: skip
            proto: Any = program.model_proto if program is not None else None
            first = proto.graph.input[0].type.tensor_type.shape.dim[0]
            if not first.dim_param:
                raise ValueError(f"the batch is always {first.dim_value}")
    except Exception as error:
        raise BadInput(
            f"{type(model).__name__} cannot be exported to ONNX ({_cause(error)}): its forward must be traceable by "
            "torch.export and hold for any batch size"
        ) from error
    _check(proto, opset)
    _strip(proto)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def opset_of(content: bytes) -> int:
    """The version of ONNX's operators that a file uses."""
    import onnx

    return next(int(entry.version) for entry in onnx.load_from_string(content).opset_import if entry.domain == "")


def annotated(content: bytes, notes: Mapping[str, str]) -> bytes:
    """An ONNX file's content with notes inside, as key and value, which runtimes let pass."""
    import onnx

    proto: Any = onnx.load_from_string(content)
    for key, value in sorted(notes.items()):
        proto.metadata_props.add(key=key, value=value)
    changed: bytes = proto.SerializeToString(deterministic=True)
    return changed


def notes_of(content: bytes) -> dict[str, str]:
    """The notes inside of an ONNX file, its own and those of whoever made it.

    Raises:
        BadInput: two that say different things under one key.
    """
    import onnx

    notes: dict[str, str] = {}
    for entry in onnx.load_from_string(content).metadata_props:
        if notes.setdefault(entry.key, entry.value) != entry.value:
            raise BadInput(f"an ONNX file says one thing under each key of its metadata; {entry.key!r} stands for two")
    return notes


def check_whole(content: bytes, name: str) -> None:
    """Refuse an ONNX file whose numbers lie in other files: its own hash would say nothing of them.

    Raises:
        PrudentError: onnx is not installed.
        BadInput: no ONNX file, or one with external data.
    """
    check_onnx()
    import onnx

    try:
        graph = onnx.load_from_string(content).graph
    except Exception as error:
        raise BadInput(f"{name} is no ONNX file ({reason(error)})") from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(graph)):
        raise BadInput(f"{name} keeps numbers in other files, which its hash does not cover: save it as one file")


def _tensors(graph: Any) -> Iterator[Any]:  # noqa: ANN401 (an onnx.GraphProto and its TensorProtos)
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                if inner.ByteSize():
                    yield from _tensors(inner)


def session(content: bytes, *, threads: int = 1) -> "InferenceSession":
    """ONNX Runtime on the CPU, ready to run a file's content.

    Threads that wait do not spin: when two networks take turns, those of the one would slow the other down.

    Raises:
        PrudentError: onnxruntime is not installed.
        BadInput: ONNX Runtime refuses the file.
    """
    check_onnx()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BadInput(f"ONNX Runtime refuses the exported network: {reason(error)}") from error


def _answer(model: nn.Module, example: Example, rows: tuple[Tensor, ...]) -> object:
    """The answer as the network gives it, of the example with other tensors in it."""
    left = iter(rows)
    changed = mapped(lambda _: next(left), example)
    return model(*changed.args, **changed.kwargs)


def answers(running: "InferenceSession", *inputs: Tensor) -> list[np.ndarray]:
    """What the network answers in ONNX Runtime: one array for each output.

    Args:
        running: from `session`.
        inputs: one or more, (n, ...) of the dtype of the example that it was exported with. What the network does not
            use is no input of the file.

    Raises:
        BadInput: it does not run on them.
    """
    wanted = [one.name for one in running.get_inputs()]
    try:
        if len(wanted) > len(inputs):
            raise ValueError(f"the file takes {', '.join(wanted)}")
        answer: list[np.ndarray] = running.run(None, dict(zip(wanted, (t.numpy() for t in inputs), strict=False)))
    except Exception as error:
        shapes = ", ".join(f"{tuple(t.shape)} and {t.dtype}" for t in inputs)
        raise BadInput(
            f"the exported network does not run in ONNX Runtime on inputs of shape {shapes}: {reason(error)}"
        ) from error
    return answer


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's remarks on missing torchvision, deprecations and progress are not about the user's network."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _cause(error: BaseException) -> str:
    """The first cause: the exporter's own message only says at which of its steps it stopped."""
    while error.__cause__ is not None:
        error = error.__cause__
    return reason(error)


def _check(proto: Any, opset: int | None) -> None:  # noqa: ANN401 (an onnx.ModelProto)
    import onnx

    foreign = sorted(
        {f"{node.domain}::{node.op_type}" for node in proto.graph.node if node.domain not in ("", "ai.onnx")}
    )
    if foreign or proto.functions:
        names = foreign or sorted(function.name for function in proto.functions)
        raise BadInput(f"plain ONNX needs standard operators; the network came out with {', '.join(names)}")
    made = next(entry.version for entry in proto.opset_import if entry.domain == "")
    if opset is not None and made != opset:
        raise BadInput(f"opset {opset} cannot be had for this network: leave opset out for {made}")
    onnx.checker.check_model(proto)


def _strip(message: Any) -> None:  # noqa: ANN401 (a protobuf message)
    """Take notes and traces out of a message and of all that it consists of, in place."""
    from google.protobuf.message import Message

    for name in ("metadata_props", "doc_string"):
        if name in message.DESCRIPTOR.fields_by_name:
            message.ClearField(name)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                _strip(part)
