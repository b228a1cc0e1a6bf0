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

ASKED = (
    "__deepcopy__", "__reduce__", "__reduce_ex__", "__new__", "__getstate__", "__getnewargs__", "__getnewargs_ex__",
    "__slots__",
)  # fmt: skip
"""What a class may define to say how its instances are copied."""


def duplicate(model: nn.Module, *, instead: Mapping[int, Tensor] | None = None) -> nn.Module:
    """A deep copy of a network, also where a module holds on to an activation, which by itself cannot be copied.

    Args:
        model: any network. Not changed.
        instead: id of a tensor of the network -> the tensor that stands in all its places in the copy, so that a tied
            one stays tied, and nothing is copied that will not be kept.
    """
    held: dict[int, Any] = dict(instead or {})
    modules = list(model.modules())
    for module in modules:
        for tensor in tensors_within(vars(module)):
            if not tensor.is_leaf:
                held.setdefault(id(tensor), tensor.detach().clone())
    with warnings.catch_warnings():  # torch's graphs copy their own deprecated classes
        warnings.simplefilter("ignore", FutureWarning)
        # children before parents; asking each attribute how it is to be copied would take longer than copying it
        for module in reversed(modules):
            if id(module) not in held and _is_copied_by_attributes(type(module)):
                held[id(module)] = new = type(module).__new__(type(module))
                state = module.__getstate__()  # type: ignore[no-untyped-call]
                state = {key: _copied(value, held) for key, value in state.items()}
                new.__setstate__(state)  # type: ignore[no-untyped-call]
        return copy.deepcopy(model, held)


def _is_copied_by_attributes(kind: type[nn.Module]) -> bool:
    """Whether a module says nothing itself about how it is copied, and has no attributes but the visible ones."""
    return not any(name in vars(one) for one in kind.__mro__ if one not in (object, nn.Module) for name in ASKED)


def _copied(value: Any, held: dict[int, Any]) -> Any:  # noqa: ANN401 (an attribute of a module)
    """The deep copy of an attribute; plain containers, which most are, take no detour."""
    kind = type(value)
    if kind in PLAIN:
        return value
    if id(value) in held:
        return held[id(value)]
    if kind is tuple and all(type(part) in PLAIN for part in value):
        return value
    if kind in (dict, OrderedDict) and all(type(key) is str for key in value) and not getattr(value, "__dict__", None):
        held[id(value)] = new = kind()
        for key, part in value.items():
            new[key] = _copied(part, held)
        return new
    if kind in (list, set) and all(type(part) in PLAIN for part in value):
        held[id(value)] = made = kind(value)
        return made
    return copy.deepcopy(value, held)


def tensors_within(attributes: Mapping[str, Any]) -> Iterator[Tensor]:
    """Tensors among the attributes of a module, in lists and dicts too; without parameters, buffers and children."""
    for name, value in attributes.items():
        if type(value) in PLAIN or name in ("_parameters", "_buffers", "_modules"):
            continue
        if isinstance(value, (list, tuple, dict, set)) and not value:
            continue
        yield from (leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor))
