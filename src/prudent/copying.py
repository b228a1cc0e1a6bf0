"""Copies of networks: whole, or with other tensors in the places of some."""

import copy
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

PLAIN = (int, float, bool, str, type(None))
"""Types of most attributes of modules, which hold no tensor: told apart before anything slow is asked of them."""
ATOMS = frozenset(PLAIN)
"""The same, to look up quickly."""

HOOKS = frozenset(name for name, value in vars(nn.Module()).items() if type(value) is OrderedDict)
"""Torch's own dictionaries of hooks: empty in most modules, and never shared by two."""

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
    held: dict[Any, Any] = dict(instead or {})
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
                state: dict[str, Any] = module.__getstate__()  # type: ignore[no-untyped-call]
                state = {
                    key: value if type(value) in ATOMS
                    else OrderedDict() if key in HOOKS and type(value) is OrderedDict and not value
                    else _copied(value, held)
                    for key, value in state.items()
                }  # fmt: skip
                new.__setstate__(state)  # type: ignore[no-untyped-call]
        return copy.deepcopy(model, held)


def converted(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A deep copy of a network in another type of numbers, cast while it is copied. Whole numbers stay what they are.

    Args:
        model: any network. Not changed.
        dtype: of the copy's parameters and buffers.
    """
    instead: dict[int, Tensor] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point() and tensor.dtype != dtype and type(tensor) in (Tensor, nn.Parameter):
            value = tensor.detach().to(dtype)
            instead[id(tensor)] = nn.Parameter(value, tensor.requires_grad) if type(tensor) is nn.Parameter else value
    return duplicate(model, instead=instead).to(dtype)


def _is_copied_by_attributes(kind: type[nn.Module]) -> bool:
    """Whether a module says nothing itself about how it is copied, and has no attributes but the visible ones."""
    return not any(name in vars(one) for one in kind.__mro__ if one not in (object, nn.Module) for name in ASKED)


def _copied(value: Any, held: dict[Any, Any]) -> Any:  # noqa: ANN401 (an attribute of a module)
    """The deep copy of an attribute; plain containers, which most are, take no detour."""
    kind = type(value)
    if kind in ATOMS or (kind is tuple and ATOMS.issuperset(map(type, value))):
        return value
    found = held.get(id(value))
    if found is not None:
        return found
    if kind is dict or (kind is OrderedDict and not vars(value)):
        if {str}.issuperset(map(type, value)):
            held[id(value)] = new = kind()
            for key, part in value.items():
                new[key] = _copied(part, held)
            return new
    elif kind is Tensor and value.ndim == 0 and _stands_alone(value):
        return _copied_number(value, held)
    elif kind in (list, set) and ATOMS.issuperset(map(type, value)):
        held[id(value)] = made = kind(value)
        return made
    return copy.deepcopy(value, held)


def _stands_alone(value: Tensor) -> bool:
    """Whether nothing but this number is in its storage, and nothing else belongs to it: a counter of batches, say."""
    own = value.device.type == "cpu" and value.layout is torch.strided and not value.requires_grad
    return own and value.untyped_storage().nbytes() == value.element_size() and not vars(value)


def _copied_number(value: Tensor, held: dict[Any, Any]) -> Tensor:
    """A copy of a number, without torch's detour; of one that shares its storage with another, the same."""
    place = ("number", value.data_ptr())
    first = held.get(place)
    made = value.clone() if first is None else first.detach()
    held.setdefault(place, made)
    held[id(value)] = made
    return made


def tensors_within(attributes: Mapping[str, Any]) -> Iterator[Tensor]:
    """Tensors among the attributes of a module, in lists and dicts too; without parameters, buffers and children."""
    for name, value in attributes.items():
        kind = type(value)
        if kind in ATOMS or name in ("_parameters", "_buffers", "_modules"):
            continue
        if isinstance(value, (list, tuple, dict, set)) and not value:
            continue
        if kind in (list, tuple, set) and ATOMS.issuperset(map(type, value)):
            continue
        yield from (leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor))
