"""A smaller network as a graph: the exported graph with the sizes that are left, where the user's code cannot say them.

Parameters keep their names. What behaves differently in training is a module again, see
prudent.surgery.restoring.
"""

import math
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.export import ExportedProgram

from prudent.errors import CannotPrune
from prudent.examples import Example, mapped, size
from prudent.surgery.calls import operation
from prudent.surgery.exporting import export
from prudent.surgery.graph_form import GraphForm
from prudent.surgery.operations import operations_in
from prudent.surgery.plans import Plan, apply_plan
from prudent.surgery.proving import CONSTANTS
from prudent.surgery.restoring import restore_modules
from prudent.surgery.shadow import Shadow
from prudent.surgery.signature import signature_of
from prudent.surgery.slicing import groups_left, left
from prudent.surgery.tracing import Trace, walk


def graph_of(model: nn.Module, example: Example, *, sizes_only: bool = False) -> tuple[fx.GraphModule, Trace]:
    """The network as a graph whose parameters have the network's names, and its labels.

    Args:
        model, example: neither is changed.
        sizes_only: nothing will be computed with the graph, so that an earlier export may do.

    Raises:
        CannotPrune: it cannot be exported.
    """
    program = _earlier(model, example) if sizes_only else exported(model, example)
    module = graph_from(model, program)
    return module, walk(model, operations_in(program), graph=module.graph)


def graph_from(model: nn.Module, program: ExportedProgram) -> fx.GraphModule:
    """Another graph of the same export, for another cut: its operations have the same names each time.

    Args:
        model: the network; its parameters are the graph's.
        program: from `exported`.
    """
    given = program.module(check_guards=False)
    assert isinstance(given, fx.GraphModule)  # noqa: S101 (torch.export gives one)
    given.graph.eliminate_dead_code()
    # the given one refuses train() and eval()
    module = GraphForm(given, given.graph, class_name=type(model).__name__)
    own = {name for name, _ in [*model.named_parameters(), *model.named_buffers()]} | set(model.state_dict())
    module.meta[CONSTANTS] = [name for name, _ in module.named_buffers() if name not in own]
    return module


_EXPORTED: "weakref.WeakKeyDictionary[nn.Module, tuple[object, ExportedProgram]]" = weakref.WeakKeyDictionary()
"""The last export of each network that only sizes were asked of: a budget counts many masks of one network."""


def _earlier(model: nn.Module, example: Example) -> ExportedProgram:
    """The last export if no size has changed since; tensors that are no parameters may have other values in it."""
    signature = signature_of(model, example)
    if model not in _EXPORTED or _EXPORTED[model][0] != signature:
        _EXPORTED[model] = (signature, exported(model, example))
    return _EXPORTED[model][1]


def exported(model: nn.Module, example: Example) -> ExportedProgram:
    """The export of a network for batches of any size, where that can be: a batch of one would be taken for a constant.

    Raises:
        CannotPrune: it cannot be exported.
    """
    if size(example) == 1:
        try:
            return export(
                model, mapped(lambda t: torch.cat([t, t]) if t.ndim and len(t) == 1 else t, example), dynamic=True
            )
        except CannotPrune:
            pass  # its first dimension is none of examples
    return export(model, example, dynamic=True)


def emit(
    model: nn.Module,
    graph: fx.GraphModule,
    traced: Trace,
    gone: np.ndarray,
    plan: Plan,
    *,
    rates: Sequence[float] = (),
) -> fx.GraphModule:
    """The graph with what stays.

    Args:
        model: the original; not changed.
        graph, traced: from `graph_of`; the graph is changed.
        gone: bool for each family of `traced`.
        plan: what stays of the parameters.
        rates: dropout of each attention in training (see prudent.surgery.restoring); none: it is lost.

    Raises:
        CannotPrune: a constant in the network's code cannot be rewritten; says which.
    """
    for wrong in resize(model, graph, traced, gone, plan).values():
        raise wrong
    restore_modules(graph, model, plan, rates)
    graph.graph.eliminate_dead_code()
    graph.graph.lint()
    graph.recompile()
    graph.train(model.training)
    modes = {path: module.training for path, module in model.named_modules()}
    for path, module in graph.named_modules():
        module.training = modes.get(path, model.training)
    return graph


def resize(
    model: nn.Module, graph: fx.GraphModule, traced: Trace, gone: np.ndarray, plan: Plan
) -> dict[str, CannotPrune]:
    """Write the sizes that are left into the operations of a graph, in place, and give it the parameters that are left.

    Args:
        model, graph, traced, gone, plan: as in `emit`.

    Returns: name of an operation -> why it cannot be rewritten.
    """
    wrong: dict[str, CannotPrune] = {}
    sizes: dict[str, Any] = {}
    for name, shadow in traced.shadows.items():
        try:
            sizes[name] = _sizes(shadow, traced, gone)
        except CannotPrune as error:
            wrong[name] = error
    for node in list(graph.graph.nodes):
        if node.op == "call_function" and not {node.name, *(n.name for n in node.all_input_nodes)} & set(wrong):
            try:
                _rewrite(node, sizes, traced, gone)
            except CannotPrune as error:
                wrong[node.name] = error
    _take_state(graph, apply_plan(model, Plan(slices=plan.slices)))
    return wrong


def _sizes(shadow: Any, traced: Trace, gone: np.ndarray) -> Any:  # noqa: ANN401 (nested as outputs are)
    if isinstance(shadow, Shadow):
        return left(shadow, traced, gone)
    return [_sizes(part, traced, gone) for part in shadow] if isinstance(shadow, (list, tuple)) else None


def _rewrite(node: fx.Node, sizes: Mapping[str, Any], traced: Trace, gone: np.ndarray) -> None:
    """New constants for one operation."""
    name = operation(node)
    new: Any = sizes.get(node.name)
    shadow = traced.shadows.get(node.name)
    if name in ("view", "reshape", "_unsafe_view", "expand", "zeros", "ones", "full", "unflatten", "_reshape_alias"):
        assert isinstance(shadow, Shadow)  # noqa: S101 (these have one result)
        if new != shadow.shape:
            _rewrite_shape(node, name, shadow.shape, new)
    elif name in ("new_zeros", "new_ones", "new_full"):
        _rewrite_shape(node, name, traced.shadows[node.name].shape, new)
    elif name in ("slice", "narrow", "select", "split_with_sizes", "split", "constant_pad_nd", "pad"):
        _rewrite_range(node, name, sizes, traced, gone)
    elif name.startswith("conv") or name == "_convolution":
        _rewrite_groups(node, sizes, traced)
    elif name in ("layer_norm", "rms_norm"):
        count = len(node.args[1])  # type: ignore[arg-type]
        node.update_arg(1, list(new[-count:]))
    elif name == "scaled_dot_product_attention" and "scale" not in node.kwargs:
        query = traced.shadows[node.all_input_nodes[0].name]
        node.kwargs = {**node.kwargs, "scale": 1 / math.sqrt(query.shape[-1])}


def _rewrite_shape(node: fx.Node, name: str, old: tuple[int, ...], new: tuple[int, ...]) -> None:
    at = {"zeros": 0, "ones": 0, "full": 0, "unflatten": 2}.get(name, 1)
    given = list(node.args[at])  # type: ignore[arg-type]
    start = int(node.args[1]) % (len(old) - len(given) + 1) if name == "unflatten" else 0  # type: ignore[arg-type]
    for i, value in enumerate(given):
        before, after = old[start + i], new[start + i]
        if before == after or (isinstance(value, int) and value < 0):
            continue
        if isinstance(value, int):
            given[i] = after
        elif -1 not in given and name not in ("zeros", "ones", "full", "expand"):
            given[i] = -1
        else:
            raise CannotPrune(f"a size that is computed from others cannot be rewritten: {node.format_node()}")
    node.update_arg(at, given)


def _rewrite_range(node: fx.Node, name: str, sizes: Mapping[str, Any], traced: Trace, gone: np.ndarray) -> None:
    source = node.all_input_nodes[0]
    shadow = traced.shadows[source.name]
    if sizes[source.name] == shadow.shape and name not in ("pad", "constant_pad_nd"):
        return
    if name in ("pad", "constant_pad_nd"):
        _rewrite_pad(node, traced, gone)
        return
    arguments = {a.name: i for i, a in enumerate(node.target._schema.arguments)}  # type: ignore[union-attr]

    def given(key: str, default: Any) -> Any:  # noqa: ANN401
        i = arguments[key]
        return node.args[i] if i < len(node.args) else node.kwargs.get(key, default)

    dim = given("dim", 0) % len(shadow.shape)
    before = _kept_before(shadow, dim, traced, gone)
    if len(before) <= 1:
        return
    if name == "select":
        node.update_arg(arguments["index"], int(before[given("index", 0) % shadow.shape[dim]]))
    elif name == "slice":
        n = shadow.shape[dim]
        start, end = (slice(given("start", None), given("end", None)).indices(n)[i] for i in (0, 1))
        if given("step", 1) == 1:  # else the place in the first run, which stays what it is
            _set(node, arguments["start"], int(before[start]), fill=(0, None, None))
        _set(node, arguments["end"], int(before[end]), fill=(0, None, None))
    elif name == "narrow":
        start, length = given("start", 0), given("length", 0)
        node.update_arg(arguments["start"], int(before[start]))
        node.update_arg(arguments["length"], int(before[start + length] - before[start]))
    elif name == "split_with_sizes" or isinstance(node.args[1], (list, tuple)):
        ends = np.cumsum(np.asarray(node.args[1], dtype=int))
        node.update_arg(1, [int(before[e] - before[s]) for s, e in zip([0, *ends[:-1]], ends, strict=True)])
    else:
        node.update_arg(1, int(before[int(node.args[1])]))  # type: ignore[arg-type]


def _set(node: fx.Node, at: int, value: int, *, fill: tuple[Any, ...]) -> None:
    args = list(node.args)
    while len(args) <= at:
        args.append(fill[len(args) - 1])
    args[at] = value
    node.args = tuple(args)


def _kept_before(shadow: Shadow, dim: int, traced: Trace, gone: np.ndarray) -> np.ndarray:
    """How many indices of a dimension stay before each, and in all; a single number if nothing is removed there.

    Of rows along it any that stays tells: each keeps equally many in each part that is read.
    """
    for field in shadow.fields:
        keep = ~gone[traced.families.of[field.labels]]
        if field.labels.shape[dim] > 1 and not keep.all():
            if field.inner == dim:
                lines = np.moveaxis(keep, dim, -1).reshape(-1, keep.shape[dim])
                there = lines[int(lines.any(axis=1).argmax())]
            else:
                there = keep.any(axis=tuple(d for d in range(keep.ndim) if d != dim))
            return np.concatenate([[0], np.cumsum(there)])
    return np.zeros(1, dtype=int)


def _rewrite_pad(node: fx.Node, traced: Trace, gone: np.ndarray) -> None:
    made = traced.shadows[node.name]
    amounts = list(node.args[1])  # type: ignore[arg-type]
    ndim = len(made.shape)
    for i in range(len(amounts) // 2):
        dim = ndim - 1 - i
        before = _kept_before(made, dim, traced, gone)
        if len(before) > 1:
            n = made.shape[dim]
            amounts[2 * i], amounts[2 * i + 1] = (
                int(before[amounts[2 * i]]), int(before[n] - before[n - amounts[2 * i + 1]])
            )  # fmt: skip
    node.update_arg(1, amounts)


def _rewrite_groups(node: fx.Node, sizes: Mapping[str, Any], traced: Trace) -> None:
    schema = [a.name for a in node.target._schema.arguments]  # type: ignore[union-attr]
    at = schema.index("groups")
    groups = node.args[at] if at < len(node.args) else 1
    weight = node.all_input_nodes[1].name
    if isinstance(groups, int) and groups > 1:
        transposed = "transpose" in operation(node) or (
            "transposed" in schema and node.args[schema.index("transposed")]
        )
        before, after = traced.shadows[weight].shape, sizes[weight]
        node.update_arg(at, groups_left(before, after, groups, transposed=bool(transposed)))


def _take_state(graph: fx.GraphModule, small: nn.Module) -> None:
    """The graph's parameters and buffers are those of the smaller network, tied ones too."""
    parameters = dict(small.named_parameters(remove_duplicate=False))
    buffers = dict(small.named_buffers(remove_duplicate=False))
    for path, module in graph.named_modules(remove_duplicate=False):
        prefix = f"{path}." if path else ""
        for key in list(module._parameters):
            if f"{prefix}{key}" in parameters:
                module._parameters[key] = parameters[f"{prefix}{key}"]
        for key in list(module._buffers):
            if f"{prefix}{key}" in buffers:
                module._buffers[key] = buffers[f"{prefix}{key}"]
