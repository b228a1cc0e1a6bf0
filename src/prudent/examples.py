"""Example inputs of a network, in whichever way its forward pass takes them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree


@dataclass(frozen=True, eq=False)
class Inputs:
    """Positional and named arguments of a forward pass, where a tensor, a tuple or a mapping cannot say them."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


Example = Tensor | tuple[Any, ...] | Mapping[str, Any] | Inputs
"""Inputs of a network: one tensor, a tuple of positional arguments, a mapping of arguments by name, or `Inputs`."""


def arguments(example: Example) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and named arguments of a forward pass."""
    if isinstance(example, Inputs):
        return example.args, dict(example.kwargs)
    if isinstance(example, Tensor):
        return (example,), {}
    if isinstance(example, Mapping):
        return (), dict(example)
    return tuple(example), {}


def mapped(change: Callable[[Tensor], Tensor], example: Example) -> Inputs:
    """The example with each tensor in it changed."""
    args, kwargs = pytree.tree_map(lambda t: change(t) if isinstance(t, Tensor) else t, arguments(example))
    return Inputs(args, kwargs)


def size(example: Example) -> int:
    """How many examples the batch holds: the first dimension of its first tensor; 1 if there is none."""
    tensors = [t for t in pytree.tree_leaves(arguments(example)) if isinstance(t, Tensor) and t.ndim]
    return len(tensors[0]) if tensors else 1


def first(example: Example) -> Inputs:
    """One example of a batch: of each tensor that is as long as the batch the first entry."""
    batch = size(example)
    return mapped(lambda t: t[:1] if t.ndim and len(t) == batch else t, example)
