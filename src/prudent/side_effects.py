"""What a forward pass leaves behind on the modules of a network: undone, or told."""

import copy
import random
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ELSEWHERE = ("_parameters", "_buffers", "_modules")
"""Attributes of torch's own in which it keeps what is no plain attribute."""

DEEP = 4
"""So many objects within objects are looked into: a meter in a dictionary of a module, say."""


@contextmanager
def attributes_kept(model: nn.Module) -> Iterator[None]:
    """What a forward pass sets on modules, or puts into their lists and dictionaries (counters, caches), is undone."""
    before = [(module, dict(vars(module))) for module in model.modules()]
    held = [(one, copy.copy(one)) for one in _containers([own for _, own in before])]
    try:
        yield
    finally:
        for module, attributes in before:
            vars(module).clear()
            vars(module).update(attributes)
        for one, contents in held:
            one.clear()
            one.extend(contents) if isinstance(one, list) else one.update(contents)


def _containers(attributes: list[dict[str, Any]]) -> list[Any]:
    """The lists, dictionaries and sets among the attributes of modules, and those inside of them."""
    hooks = vars(nn.Module()).keys() - set(ELSEWHERE)
    left = [value for own in attributes for name, value in own.items() if name not in hooks]
    found: dict[int, Any] = {}
    while left:
        one = left.pop()
        if isinstance(one, dict | list | set | tuple) and id(one) not in found:
            found[id(one)] = one
            left += one.values() if isinstance(one, dict) else one
    return [one for one in found.values() if not isinstance(one, tuple)]


def attributes_of(model: nn.Module) -> dict[str, list[Any]]:
    """What modules hold beside parameters, buffers, children and their mode, in a form that outlives a change of it.

    Args:
        model: not changed.

    Returns: "module:attribute" -> what is in it: numbers and texts, copies of tensors and arrays, the states of random
    generators, and everything in lists, dictionaries and objects of the user's own; of all else, which object it is.
    """
    return {
        f"{name}:{key}": list(_contents(value, DEEP))
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if key not in (*ELSEWHERE, "training")
    }


def written(before: dict[str, list[Any]], after: dict[str, list[Any]]) -> frozenset[str]:
    """The attributes that are not what they were, by two answers of `attributes_of`."""
    return frozenset(
        place
        for place in before.keys() | after.keys()
        if not (place in before and place in after and _alike(before[place], after[place]))
    )


def _contents(value: Any, deep: int) -> Iterator[Any]:  # noqa: ANN401 (an attribute of a module)
    state = _state_of_generator(value)
    if state is not None:
        yield from _contents(state, DEEP)
    elif isinstance(value, (bool, int, float, str, bytes, complex, type(None))):
        yield repr(value)
    elif isinstance(value, Tensor):
        yield value.detach().clone() if value.layout is torch.strided else value
    elif isinstance(value, np.ndarray):
        yield value.copy()
    else:
        inside = _inside(value) if deep else None
        yield value if inside is None else (type(value), len(inside))
        for one in inside or ():
            yield from _contents(one, deep - 1)


def _inside(value: Any) -> list[Any] | None:  # noqa: ANN401 (an attribute of a module)
    if isinstance(value, dict):
        return [part for item in value.items() for part in item]
    if isinstance(value, (list, tuple, deque)):
        return list(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    known = isinstance(value, (type, FunctionType, MethodType, ModuleType, nn.Module))
    if known or type(value).__module__.partition(".")[0] == "torch" or not hasattr(value, "__dict__"):
        return None
    return [part for item in vars(value).items() for part in item]


def _state_of_generator(value: Any) -> Any:  # noqa: ANN401 (an attribute of a module, and what its state is made of)
    if isinstance(value, torch.Generator):
        return bytes(value.get_state().numpy())
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if isinstance(value, np.random.RandomState):
        return value.get_state(legacy=False)
    return repr(value.getstate()) if type(value) is random.Random else None


def _alike(one: Any, other: Any) -> bool:  # noqa: ANN401 (what an attribute holds)
    if type(one) is not type(other):
        return False
    if type(one) in (str, bytes, tuple):
        return bool(one == other)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, Tensor):
        return one is other or same_numbers(one, other)
    if isinstance(one, np.ndarray):
        return bool(one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes())
    return one is other


def same_numbers(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same numbers; NaN is the same as NaN, of sparse ones the form is compared."""
    if one.layout is not torch.strided:
        return one.layout is other.layout and one.shape == other.shape
    if one.shape != other.shape or one.dtype != other.dtype or one.device != other.device:
        return False
    return bool(((one == other) | ((one != one) & (other != other))).all())
