"""Copies of networks: whole, or with other tensors in the places of some."""

import copy
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

PLAIN = (int, float, bool, str, type(None))
"""Types of most attributes of modules, which hold no tensor: told apart before anything slow is asked of them."""


def duplicate(model: nn.Module, *, instead: Mapping[int, Tensor] | None = None) -> nn.Module:
    """A deep copy of a network, also where a module holds on to an activation, which by itself cannot be copied.

    Args:
        model: any network. Not changed.
        instead: id of a tensor of the network -> the tensor that stands in all its places in the copy, so that a tied
            one stays tied, and nothing is copied that will not be kept.
    """
    held: dict[int, Any] = dict(instead or {})
    for module in model.modules():
        for value in vars(module).values():
            # a module has a dozen of them, and asking one how it is to be copied takes longer than making it
            if type(value) is OrderedDict and not value and not vars(value):
                held[id(value)] = OrderedDict()
        for tensor in tensors_within(vars(module)):
            if not tensor.is_leaf:
                held.setdefault(id(tensor), tensor.detach().clone())
    with warnings.catch_warnings():  # torch's graphs copy their own deprecated classes
        warnings.simplefilter("ignore", FutureWarning)
        return copy.deepcopy(model, held)


def tensors_within(attributes: Mapping[str, Any]) -> Iterator[Tensor]:
    """Tensors among the attributes of a module, in lists and dicts too; without parameters, buffers and children."""
    for name, value in attributes.items():
        if isinstance(value, PLAIN) or name in ("_parameters", "_buffers", "_modules"):
            continue
        if isinstance(value, (list, tuple, dict)) and not value:
            continue
        yield from (leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor))
