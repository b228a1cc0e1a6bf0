"""A network as two graphs: what comes before its first active dropout, and what depends on it."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from prudent.dropout_sources import OWN, drops, is_dropping, may_drop, put_switch
from prudent.errors import BadInput, CannotPrune
from prudent.surgery.calls import operation
from prudent.surgery.exporting import export, module_of
from prudent.surgery.tracing import IGNORED


@dataclass(frozen=True, eq=False)
class Halves:
    """A network, cut where dropout begins to matter.

    Args:
        before: inputs -> the tensors that cross the cut.
        after: (those tensors, sizes that were computed from the number of examples, whether dropout is active) -> the
            network's answer.
        axes: of each tensor that crosses, which dimension is that of the examples, or of several rows of each; None for
            what is none of them.
        sizes: sizes that cross: expressions in the number of examples.
        symbol: the number of examples in those expressions.
        widest: most bytes of one tensor in `after`, for one example.
    """

    before: fx.GraphModule
    after: fx.GraphModule
    axes: tuple[int | None, ...]
    sizes: tuple[Any, ...]
    symbol: Any
    widest: int

    def answer(self, crossing: Sequence[Tensor], *, rows: int, active: bool) -> Tensor:
        """What the second half says to `rows` examples."""
        sizes = [int(size.subs({self.symbol: rows})) for size in self.sizes]
        answer: Tensor = self.after(*crossing, *sizes, active)
        return answer

    def repeated(self, crossing: Sequence[Tensor], times: int) -> list[Tensor]:
        """Copies of what crosses, the examples repeated as a whole: all of them, then all again."""
        return [
            tensor.clone() if axis is None else tensor.repeat(*[times if d == axis else 1 for d in range(tensor.ndim)])
            for tensor, axis in zip(crossing, self.axes, strict=True)
        ]


def halve(model: nn.Module, inputs: Tensor, *, functional: Collection[nn.Module] = ()) -> Halves | None:
    """Trace a network and cut it at its first active dropout.

    Args:
        model: not changed.
        inputs: (n, ...), at least two examples.
        functional: modules of it that drop by functions in training mode, and do nothing else then.

    Returns: the halves; None where no dropout is on the way to the output.

    Raises:
        BadInput: it cannot be cut so that the second half may see many samples as one batch: says why.
    """
    dropping = [m for m in model.modules() if drops(m) or m in functional]
    strange = [type(m).__name__ for m in dropping if m not in functional and type(m).forward not in OWN]
    if strange:
        raise BadInput(f"{strange[0]} is a dropout with a forward pass of its own")
    try:
        # a dropout that is off answers its very input, and a tracer cannot tell the two apart afterwards
        program = export(model, inputs, dynamic=True, training=dropping)
    except CannotPrune as error:
        raise BadInput(f"the network's graph cannot be traced: {error}") from error
    module = program.module(check_guards=False)
    assert isinstance(module, fx.GraphModule)  # noqa: S101 (torch.export gives one)
    nodes = [n for n in module.graph.nodes if n.op != "call_function" or operation(n) not in IGNORED]
    symbol = _examples(nodes)
    active = [n for n in nodes if is_dropping(n) and module_of(n, model) in dropping]
    _check_random(nodes, active)
    _check_in_place(nodes)
    for node in active:
        _check_own(node, symbol)
    late = _depending(nodes, active)
    return _cut(module, nodes, active, late, symbol) if nodes[-1] in late else None


def _examples(nodes: Sequence[fx.Node]) -> Any:  # noqa: ANN401 (a sympy symbol)
    first = next(n for n in nodes if n.op == "placeholder").meta["val"].shape[0]
    if not isinstance(first, torch.SymInt):
        raise BadInput("the network's code fixes the number of examples")
    return first.node.expr


def _check_random(nodes: Sequence[fx.Node], active: Sequence[fx.Node]) -> None:
    for node in nodes:
        tags = getattr(node.target, "tags", ())
        if node in active or torch.Tag.nondeterministic_seeded not in tags:
            continue
        if is_dropping(node) or not may_drop(node):
            raise BadInput(f"{operation(node)} draws random numbers, and is no dropout module")


def _check_in_place(nodes: Sequence[fx.Node]) -> None:
    """What is written over must be read by nobody else: the two halves run one after the other."""
    for node in nodes:
        schema = getattr(node.target, "_schema", None)
        if node.op != "call_function" or schema is None or not schema.is_mutable:
            continue
        written = node.args[0]
        assert isinstance(written, fx.Node)  # noqa: S101 (torch's in-place operations have the tensor first)
        storage = _storage(written)
        sharing = [n for n in nodes if _storage(n) == storage]
        if any(n.op != "call_function" for n in sharing) or any(
            len(n.users) > 1 for n in sharing[: sharing.index(node)]
        ):
            raise BadInput(f"{operation(node)} writes over a tensor that is also read elsewhere")


def _storage(node: fx.Node) -> int | None:
    value = node.meta.get("val")
    return value.untyped_storage()._cdata if isinstance(value, Tensor) else None


def _check_own(node: fx.Node, symbol: Any) -> None:  # noqa: ANN401 (a sympy symbol)
    """Each example must have a mask of its own; a dropout of weights, say, has one for all."""
    value = node.meta["val"]
    shape = (value if isinstance(value, Tensor) else value[0]).shape  # a recurrent layer also answers its last state
    masked = shape[:2] if "feature" in operation(node) else shape
    if not any(_expression(n).has(symbol) for n in _symbolic(masked).values()):
        raise BadInput("a dropout acts on what all examples share")


def _depending(nodes: Sequence[fx.Node], active: Sequence[fx.Node]) -> set[fx.Node]:
    found: set[fx.Node] = set()
    for node in nodes:
        if node in active or any(n in found for n in node.all_input_nodes):
            found.add(node)
    return found


def _expression(n: Any) -> Any:  # noqa: ANN401 (SymInt -> sympy)
    return n.node.expr


def _axis(value: Tensor, symbol: Any) -> int | None:  # noqa: ANN401 (a sympy symbol)
    symbolic = _symbolic(value.shape)
    if not symbolic:
        return None
    ((axis, size), *others) = symbolic.items()
    # one that holds several rows of each example is repeated as a whole as well; if they are not beside each other, the
    # halves say something else than the network, which is tried
    if others or not (_expression(size) / symbol).is_Integer:
        raise BadInput("examples are mixed with another dimension before the first dropout")
    return axis


def _symbolic(shape: Sequence[Any]) -> dict[int, torch.SymInt]:
    """The dimensions whose size depends on the number of examples."""
    return {d: n for d, n in enumerate(shape) if isinstance(n, torch.SymInt)}


def _cut(
    module: fx.GraphModule,
    nodes: Sequence[fx.Node],
    active: Sequence[fx.Node],
    late: set[fx.Node],
    symbol: Any,  # noqa: ANN401 (a sympy symbol)
) -> Halves:
    wanted = dict.fromkeys(n for node in nodes if node in late for n in node.all_input_nodes if n not in late)
    crossing = [n for n in wanted if n.op != "get_attr" and isinstance(n.meta.get("val"), Tensor)]
    sizes = [n for n in wanted if isinstance(n.meta.get("val"), torch.SymInt)]
    known = {n for n in wanted if n.op == "get_attr"}
    if known | set(crossing) | set(sizes) != set(wanted):
        raise BadInput("something that is no tensor crosses the cut")
    expressions = tuple(_expression(n.meta["val"]) for n in sizes)
    if any(e.free_symbols - {symbol} for e in expressions):
        raise BadInput("sizes that depend on data cross the cut")
    axes = tuple(_axis(n.meta["val"], symbol) for n in crossing)
    return Halves(
        before=_first(module, [n for n in nodes if n not in late], crossing),
        after=_second(module, [n for n in nodes if n in late or n in known], active, [*crossing, *sizes]),
        axes=axes,
        sizes=expressions,
        symbol=symbol,
        widest=max(_bytes(n, symbol) for n in late),
    )


def _first(module: fx.GraphModule, nodes: Sequence[fx.Node], crossing: Sequence[fx.Node]) -> fx.GraphModule:
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in nodes:
        copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(tuple(copies[n] for n in crossing))
    graph.eliminate_dead_code()
    return fx.GraphModule(module, graph)


def _second(
    module: fx.GraphModule, nodes: Sequence[fx.Node], active: Sequence[fx.Node], given: Sequence[fx.Node]
) -> fx.GraphModule:
    graph = fx.Graph()
    copies = {node: graph.placeholder(node.name) for node in given}
    dropping = graph.placeholder("dropping")
    for node in nodes:
        if node.op == "output":
            graph.output(copies[node.all_input_nodes[0]])
            continue
        copies[node] = graph.node_copy(node, copies.__getitem__)
        if node in active:
            put_switch(copies[node], dropping)
    return fx.GraphModule(module, graph)


def _bytes(node: fx.Node, symbol: Any) -> int:  # noqa: ANN401 (a sympy symbol)
    value = node.meta.get("val")
    if not isinstance(value, Tensor):
        return 0
    symbolic = _symbolic(value.shape)
    sizes = [
        int(_expression(symbolic[d]).subs({symbol: 1})) if d in symbolic else int(n) for d, n in enumerate(value.shape)
    ]
    return math.prod(sizes) * value.element_size()
