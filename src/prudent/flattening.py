"""A network of several inputs or answers as one that takes its tensors in a row and answers a tuple of tensors."""

import inspect
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from prudent.errors import BadInput, reason
from prudent.examples import Example, arguments


class Flat(nn.Module):
    """A network that takes the tensors of its arguments by position, and answers the tensors of its answer.

    Args:
        network: any network. Held, not copied.
        example: arguments of its forward pass; what is no tensor in them stays as it is there.
    """

    def __init__(self, network: nn.Module, example: Example) -> None:
        super().__init__()
        self.network = network
        leaves, self.form = pytree.tree_flatten(arguments(example))
        self.fixed = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The tensors of the network's answer, in the order of its leaves."""
        if len(tensors) != len(self.places):
            raise BadInput(f"{type(self.network).__name__} takes {len(self.places)} tensors here; got {len(tensors)}")
        leaves = list(self.fixed)
        for place, tensor in zip(self.places, tensors, strict=True):
            leaves[place] = tensor
        args, kwargs = pytree.tree_unflatten(leaves, self.form)
        return tuple(t for t in pytree.tree_leaves(self.network(*args, **kwargs)) if isinstance(t, Tensor))


def tensors_of(example: Example) -> tuple[Tensor, ...]:
    """The tensors of an example, in the order in which `Flat` takes them."""
    return tuple(t for t in pytree.tree_leaves(arguments(example)) if isinstance(t, Tensor))


def rows_of(tensors: Sequence[Tensor], rows: Tensor) -> tuple[Tensor, ...]:
    """These rows of each tensor that is as long as the first; the others hold for the whole batch.

    Args:
        tensors: of an example.
        rows: indices, taken modulo the number of examples.
    """
    count = len(tensors[0])
    return tuple(t[rows % count] if t.ndim and len(t) == count else t for t in tensors)


def input_names(network: nn.Module, example: Example) -> list[str]:
    """A name for each tensor of an example: of its parameter of `forward`, with what leads to it inside of that."""
    args, kwargs = arguments(example)
    try:
        bound: dict[str, Any] = dict(inspect.signature(network.forward).bind(*args, **kwargs).arguments)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{type(network).__name__} does not take these inputs: {reason(error)}") from error
    return _names(bound)


def output_names(answer: object) -> list[str]:
    """A name for each tensor of an answer: its place in it."""
    return ["logits"] if isinstance(answer, Tensor) else _names(answer)


def _names(tree: object) -> list[str]:
    found = [path for path, leaf in pytree.tree_flatten_with_path(tree)[0] if isinstance(leaf, Tensor)]
    return ["_".join(_key(key) for key in path) if isinstance(tree, dict) else _numbered(path) for path in found]


def _numbered(path: Sequence[object]) -> str:
    return "_".join(["output", *(_key(key) for key in path)])


def _key(key: object) -> str:
    """A key of a mapping, an index of a sequence, or the name of a field, as text."""
    return str(next(getattr(key, name) for name in ("key", "idx", "name") if hasattr(key, name)))
