"""Which parameters of a traced network make its units, which normalise them, and which layers read them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx, nn

from prudent.network import PRUNABLE
from prudent.surgery.calls import operation
from prudent.surgery.layouts import Layout

CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "convolution")
TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
PRODUCTS = ("linear", *CONVOLUTIONS, *TRANSPOSED)
OTHER_READERS = ("matmul", "mm", "addmm", "bmm", "einsum", "bilinear", "lstm", "gru", "rnn_tanh", "rnn_relu")
"""Operations that read channels with weights of their own, and are no layers whose inputs could be watched."""

NORMS = ("batch_norm", "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training")

HANDS_ON = (
    "max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d",
    "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d",
    "dropout", "feature_dropout", "flatten", "view", "reshape", "clone", "contiguous", "permute", "transpose",
    "squeeze", "unsqueeze", "mean", "slice", "select", "cat", "concat", "pad", "constant_pad_nd", "getitem",
)  # fmt: skip
"""Operations that move, pool or drop what another one made."""


@dataclass(frozen=True, eq=False)
class Stand:
    """The units along one dimension of a parameter.

    Args:
        name: of the parameter.
        dim: the dimension.
        units: number of the unit at each index, from 1 in the order of the scores; 0 where nothing can be removed.
    """

    name: str
    dim: int
    units: np.ndarray


@dataclass(frozen=True, eq=False)
class Reader:
    """A layer that reads units.

    Args:
        reader: its name.
        units: number of the unit at each of its inputs (features, or channels), from 1; 0 where none can be removed.
        after: operations that make what it reads; pooling, dropout and reshaping are looked through.
    """

    reader: str
    units: np.ndarray
    after: frozenset[str] = frozenset()

    @property
    def found(self) -> np.ndarray:
        """The units that it reads, each once, in order; without 0."""
        return np.unique(self.units[self.units > 0])

    @property
    def places(self) -> Tensor:
        """Where in `found` the unit of each input is; behind the last for inputs that cannot be removed."""
        places = np.where(self.units > 0, np.searchsorted(self.found, self.units), len(self.found))
        return torch.from_numpy(places)

    @property
    def in_blocks(self) -> bool:
        """Whether each unit stands at equally many inputs in a row, in order."""
        return np.array_equal(self.units, np.repeat(self.found, len(self.units) // max(1, len(self.found))))


@dataclass(frozen=True, eq=False)
class Neighbours:
    """What the units of a layout are made, normalised and read by; see `prudent.couplings.Couplings`."""

    makers: tuple[Stand, ...]
    scales: tuple[Stand, ...]
    readers: tuple[Reader, ...]
    unwatched: Mapping[int, str]


def neighbours(model: nn.Module, layout: Layout) -> Neighbours:
    """What the units of a layout are made, normalised and read by.

    Args:
        model: the network that was traced, or a copy of it. Not changed.
        layout: its units, numbered from 1 in the order of the entries.
    """
    traced = layout.trace
    number = np.zeros(int(traced.families.of.max(initial=0)) + 1, dtype=np.int64)
    units = np.concatenate([entry.families.reshape(-1) for entry in layout.entries])
    number[units] = np.arange(1, len(units) + 1)
    nodes = [node for node in traced.operations.graph.nodes if node.op == "call_function"]
    scales = {name for node in nodes if operation(node) in NORMS and (name := _parameter(layout, node, 1))}
    seen = _readers(model, layout, nodes, number)
    return Neighbours(
        makers=tuple(stand for stand in _stands(layout, number) if (stand.name, stand.dim) in traced.makers),
        scales=tuple(stand for stand in _stands(layout, number, vectors=True) if stand.name in scales),
        readers=tuple(reader for reader, _ in seen.values() if reader.units.any()),
        unwatched=_unwatched(layout, nodes, number, {weight for _, weight in seen.values()}),
    )


def _stands(layout: Layout, number: np.ndarray, *, vectors: bool = False) -> Iterator[Stand]:
    """Each dimension of a matrix (or, with `vectors`, of a vector) along which units stand."""
    for name, fields in layout.trace.parameters.items():
        for field in fields:
            units = number[layout.trace.families.of[field.labels]]
            if len(field.live) == 1 and units.any() and (field.labels.ndim == 1) == vectors:
                yield Stand(name, field.live[0], units.reshape(-1))


def _parameter(layout: Layout, node: fx.Node, place: int) -> str | None:
    """Name of the parameter that an operation gets at a place."""
    given = node.args[place] if place < len(node.args) else None
    shadow = layout.trace.shadows[given.name] if isinstance(given, fx.Node) else None
    return getattr(shadow, "parameter", None)


def _readers(
    model: nn.Module, layout: Layout, nodes: Sequence[fx.Node], number: np.ndarray
) -> dict[str, tuple[Reader, str]]:
    """Name of each layer that is called as a module -> what it reads, and the name of its weight."""
    found: dict[str, tuple[Reader, str]] = {}
    modules = dict(model.named_modules(remove_duplicate=False))
    for node in nodes:
        weight = _parameter(layout, node, 1)
        if operation(node) not in PRODUCTS or weight is None:
            continue
        name = str((list((node.meta.get("nn_module_stack") or {}).values()) or [("", "")])[-1][0])
        layer = modules.get(name)
        if not isinstance(layer, PRUNABLE) or layer.weight is not _tensor(model, weight):
            continue
        read = node.args[0]
        if not isinstance(read, fx.Node):
            continue
        shadow = layout.trace.shadows[read.name]
        axis = len(shadow.shape) - (1 if isinstance(layer, nn.Linear) else layer.weight.ndim - 1)
        units = number[layout.trace.families.of[shadow.along(axis)]]
        depthwise = not isinstance(layer, nn.Linear) and layer.groups == layer.in_channels > 1
        before = found[name][0].after if name in found else frozenset()
        made = before | frozenset(_sources(read))
        found[name] = Reader(name, np.zeros_like(units) if depthwise else units, made), weight
    return found


def _tensor(model: nn.Module, name: str) -> Tensor | None:
    module, _, own = name.rpartition(".")
    return model.get_submodule(module)._parameters.get(own)


def _sources(node: fx.Node) -> Iterator[str]:
    """Names of the operations that make what stands here."""
    if node.op == "call_function" and operation(node) in HANDS_ON:
        for source in node.all_input_nodes:
            yield from _sources(source)
    else:
        zeros = operation(node) == "hardtanh" and len(node.args) > 1 and node.args[1] == 0
        yield "relu6" if node.op == "call_function" and zeros else _name(node)


def _name(node: fx.Node) -> str:
    return operation(node) if node.op == "call_function" else "input"


def _unwatched(layout: Layout, nodes: Sequence[fx.Node], number: np.ndarray, watched: set[str]) -> dict[int, str]:
    """Units that weights read whose layer was not called as a module."""
    weights = {
        name
        for node in nodes
        if operation(node) in (*PRODUCTS, *OTHER_READERS)
        for place, _ in enumerate(node.all_input_nodes)
        if (name := getattr(layout.trace.shadows[node.all_input_nodes[place].name], "parameter", None))
    } - watched
    return {
        int(unit): stand.name
        for stand in _stands(layout, number)
        if stand.name in weights and (stand.name, stand.dim) not in layout.trace.makers
        for unit in np.unique(stand.units)
        if unit
    }
