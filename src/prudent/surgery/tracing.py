"""A network with example inputs -> its graph of operations, walked once to see what its labels do."""

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from prudent.computed import check_plain_numbers, check_stored
from prudent.errors import CannotPrune
from prudent.examples import Example
from prudent.network import prunable
from prudent.surgery.calls import Call, operation, read_elsewhere, tensors_in
from prudent.surgery.exporting import export
from prudent.surgery.families import Families, resolve
from prudent.surgery.ledger import Ledger
from prudent.surgery.operations import Operations, operations_in
from prudent.surgery.parameters import Parameters, fields_of
from prudent.surgery.recording import record
from prudent.surgery.rules import RULES, Rule
from prudent.surgery.rules.elementwise import pointwise
from prudent.surgery.shadow import Field, Shadow, freeze
from prudent.surgery.signature import signature_of

IGNORED = ("_assert_tensor_metadata", "_assert_scalar", "_assert_async", "sym_constrain_range_for_size")


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """A network's graph, and what its labels do.

    Args:
        operations: the graph.
        shadows: name of a node -> its shadow, or those of its outputs.
        parameters: name in the state -> fields of labels. A tied parameter is listed once.
        makers: (parameter, dimension) that make the units of a layer.
        families: what goes together, what must stay and why.
        layouts: those that were made of it, so that the next cut finds them.
    """

    operations: Operations
    shadows: Mapping[str, Any]
    parameters: Mapping[str, tuple[Field, ...]]
    makers: frozenset[tuple[str, int]]
    families: Families
    layouts: dict[object, Any] = field(default_factory=dict)


def trace(model: nn.Module, example: Example) -> Trace:
    """Walk the network's graph, and find out which indices of which parameters belong together.

    Args:
        model: any module that runs on tensors without values, or that torch.export can read. Not changed.
        example: inputs; a few examples (batch, ...) are best, since a dimension of size 1 cannot be told from none.

    Raises:
        CannotPrune: the graph cannot be exported (data decide what is computed, for example), or the network must be
            unwrapped first.
    """
    _check_wrapping(model)
    check_plain_numbers(model)
    signature = signature_of(model, example)
    if model in _TRACED and _TRACED[model][0] == signature:
        return _TRACED[model][1]
    check_stored(model)  # a trace would take what is computed for a constant
    prunable(model)  # refuses networks without layers, and lazy ones
    made = walk(model, record(model, example) or operations_in(export(model, example)))
    _TRACED[model] = (signature, made)
    return made


_TRACED: "weakref.WeakKeyDictionary[nn.Module, tuple[object, Trace]]" = weakref.WeakKeyDictionary()
"""The last trace of each network that is still alive: cutting it again at another sparsity takes no new trace."""


def walk(model: nn.Module, operations: Operations, *, graph: fx.Graph | None = None) -> Trace:
    """The labels of a network.

    Args:
        model: the network.
        operations: what it does.
        graph: a graph of the same operations whose parameters are attributes; by default the one with these operations.
    """
    ledger = Ledger()
    shadows: dict[str, Any] = {}
    known = Parameters(ledger, model)
    names = {**operations.parameters, **operations.buffers}
    for node in (graph or operations.graph).nodes:
        ledger.place = lambda node=node: place_of(node)  # type: ignore[misc]
        if node.op == "placeholder":
            shape = _shapes(node.meta.get("val"))
            shadows[node.name] = (
                known.get(names[node.name]) if node.name in names else Shadow(shape[0] if shape else ())
            )
        elif node.op == "get_attr":
            constant = node.target not in known.state
            shadows[node.name] = Shadow(_shapes(node.meta["val"])[0]) if constant else known.get(str(node.target))
        elif node.op == "output":
            wanted = None if graph is not None else operations.answers
            for out in node.all_input_nodes:
                if wanted is None or out.name in wanted:
                    for shadow in tensors_in([shadows[out.name]]):
                        freeze(ledger, shadow, "it is the network's output")
        elif node.op == "call_function":
            shadows[node.name] = _called(ledger, node, shadows)
    own = {name: fields_of(ledger, name, shadow) for name, shadow in known.found.items()}
    return Trace(
        operations=operations,
        shadows=shadows,
        parameters=own,
        makers=frozenset(ledger.makers),
        families=resolve(ledger),
    )


def _called(ledger: Ledger, node: fx.Node, shadows: Mapping[str, Any]) -> Any:  # noqa: ANN401 (shadows, or numbers)
    if operation(node) == "getitem" and not isinstance(node.target, torch._ops.OpOverload):
        source, at = node.all_input_nodes[0], node.args[1]
        return shadows[source.name][at]
    name = operation(node)
    value = node.meta.get("val")
    shapes = _shapes(value)
    if name in IGNORED or not shapes:
        return _hint(value) if isinstance(value, torch.SymInt) else value
    if not isinstance(node.target, torch._ops.OpOverload):
        for shadow in tensors_in([shadows[n.name] for n in node.all_input_nodes]):
            freeze(ledger, shadow, f"what {name} does to it is not known")
        return Shadow(shapes[0]) if isinstance(value, Tensor) else tuple(Shadow(shape) for shape in shapes)
    given = _given(node, shadows)
    call = Call(ledger, node, given, shapes)
    made = _ruled(call)
    if _in_place(node) and isinstance(made, Shadow):
        _spread_in_place(call, made, shadows)  # what was written over is what comes out
    return made


def _ruled(call: Call) -> Any:  # noqa: ANN401 (shadows)
    tags = getattr(call.node.target, "tags", ())
    rule: Rule | None = RULES.get(call.name) or (pointwise if torch.Tag.pointwise in tags else None)
    try:
        if rule is not None and (call.tensors or rule.__name__ == "constant"):
            made = rule(call)
            if _fits(made, call.shapes):
                return made
    except Exception:  # noqa: BLE001, S110 (a form that the rule does not know: never an exception, never a guess)
        pass
    for shadow in call.tensors:
        freeze(call.ledger, shadow, f"what {call.name} does to it is not known")
    blank = [Shadow(shape, zero=False) for shape in call.shapes]
    value = call.node.meta.get("val")
    return blank[0] if isinstance(value, Tensor) else tuple(blank)


def _fits(made: Any, shapes: Sequence[tuple[int, ...]]) -> bool:  # noqa: ANN401 (shadows)
    parts = [made] if isinstance(made, Shadow) else list(made)
    return all(
        len(f.labels.shape) == len(shape) and all(n in (1, m) for n, m in zip(f.labels.shape, shape, strict=True))
        for part, shape in zip(parts, shapes, strict=True)
        for f in part.fields
    )


def _in_place(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return bool(schema is not None and schema.is_mutable)


def _spread_in_place(call: Call, made: Shadow, shadows: Any) -> None:  # noqa: ANN401 (mapping)
    target = call.node.args[0]
    assert isinstance(target, fx.Node)  # noqa: S101 (torch's in-place operations have the tensor first)
    if made is shadows[target.name]:
        return  # nothing else stands there than before
    shadows[target.name] = made
    if read_elsewhere(target):
        freeze(call.ledger, made, "a part of another tensor is written to")


def _given(node: fx.Node, shadows: Mapping[str, Any]) -> dict[str, Any]:
    schema = node.target._schema  # type: ignore[union-attr]
    named = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    named |= {argument.name: value for argument, value in zip(schema.arguments, node.args, strict=False)}
    order = [a.name for a in schema.arguments]
    named = {
        name: named[name] for name in sorted({*named, *node.kwargs}, key=order.index) if name in named
    } | node.kwargs
    return {
        name: fx.node.map_arg(value, lambda n: shadows[n.name]) for name, value in named.items() if value is not None
    }


def _shapes(value: Any) -> tuple[tuple[int, ...], ...]:  # noqa: ANN401 (metadata)
    parts = value if isinstance(value, (list, tuple)) else [value]
    return tuple(tuple(int(_hint(n)) for n in part.shape) for part in parts if isinstance(part, Tensor))


def _hint(n: Any) -> int:  # noqa: ANN401 (int or SymInt)
    if isinstance(n, torch.SymInt):  # a size that depends on data has no hint: any number serves, it has no labels
        return int(n.node.hint) if n.node.hint is not None else 3
    return int(n)


def place_of(node: fx.Node) -> str:
    """Operation, module and source line of a node."""
    stack = node.meta.get("nn_module_stack")
    module = list(stack.values())[-1][0] if stack else ""
    lines = [
        line.strip() for line in (node.meta.get("stack_trace") or "").splitlines() if line.strip().startswith("File")
    ]
    own = [line for line in lines if f"{Path(torch.__file__).parent}" not in line] or lines
    at = ""
    if own:
        file, _, rest = own[-1].removeprefix('File "').partition('", line ')
        at = f" at {Path(file).name}:{rest.partition(',')[0]}"
    name = operation(node) if node.op == "call_function" else node.op
    return f"{name} in {module!r}{at}" if module else f"{name}{at}"


def _check_wrapping(model: nn.Module) -> None:
    for attribute, how in (("_orig_mod", "compiled"), ("module", "wrapped")):
        inner = getattr(model, attribute, None)
        wrapper = type(model).__name__ in ("OptimizedModule", "DistributedDataParallel", "DataParallel")
        if isinstance(inner, nn.Module) and wrapper:  # both have an attribute of the other's name
            raise CannotPrune(
                f"the network is {how} ({type(model).__name__}): cut model.{attribute} instead, and "
                f"{'compile' if how == 'compiled' else 'wrap'} what comes out"
            )
