"""One operation of the traced graph, as rules see it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from prudent.surgery.ledger import Ledger
from prudent.surgery.shadow import Shadow


@dataclass(frozen=True, eq=False)
class Call:
    """An operation with its arguments.

    Args:
        ledger: gets what the rule learns.
        node: in the graph.
        given: arguments by the names that the operation's schema has for them; tensors are shadows.
        shapes: shape of each tensor that comes out.
    """

    ledger: Ledger
    node: fx.Node
    given: Mapping[str, Any]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def name(self) -> str:
        """The operation without its overload and without the underscore of one in place: "relu"."""
        return operation(self.node)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the only tensor that comes out."""
        return self.shapes[0]

    @property
    def x(self) -> Shadow:
        """The first argument."""
        first = next(iter(self.given.values()))
        assert isinstance(first, Shadow)  # noqa: S101 (the walk looks at the schema before it asks a rule)
        return first

    def dim(self, name: str = "dim") -> int:
        """A dimension, counted from the first."""
        return int(self.given[name]) % max(len(self.x.shape), 1)

    @property
    def tensors(self) -> list[Shadow]:
        """All tensors among the arguments, those in lists too."""
        return tensors_in(self.given.values())


def operation(node: fx.Node) -> str:
    """Name of an operation: "relu" of aten.relu_.default."""
    packet = getattr(node.target, "overloadpacket", node.target)
    name = str(getattr(packet, "__name__", packet))
    return name.removesuffix("_") if not name.endswith("__") else name


def tensors_in(values: Sequence[Any] | Any) -> list[Shadow]:  # noqa: ANN401 (arguments of any operation)
    """All shadows in nested lists."""
    if isinstance(values, Shadow):
        return [values]
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        return []
    return [shadow for value in values for shadow in tensors_in(value)]


def read_elsewhere(node: fx.Node) -> bool:
    """Whether a tensor is a view of another one that is read in other ways, too, and so sees what is written to it."""
    while node.op == "call_function" and torch.Tag.inplace_view not in getattr(node.target, "tags", ()):
        schema = getattr(node.target, "_schema", None)
        views = [
            base
            for base, argument in zip(node.args, schema.arguments if schema is not None else (), strict=False)
            if argument.alias_info is not None and not argument.alias_info.is_write and isinstance(base, fx.Node)
        ]
        if not views:
            return False
        if any(len(base.users) > 1 for base in views):
            return True
        node = views[0]
    return False
