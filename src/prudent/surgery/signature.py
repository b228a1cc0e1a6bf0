"""What a trace depends on, as a value to compare: a network whose signature has changed must be traced again."""

from types import CellType, FunctionType, MethodType, ModuleType

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from prudent.copying import ATOMS, HOOKS, PLAIN
from prudent.examples import Example, arguments
from prudent.submodules import modules_by_path


def signature_of(model: nn.Module, example: Example) -> object:
    """All that a trace depends on, as far as it can be told: sizes, ties, and the plain attributes of each module."""
    leaves, spec = pytree.tree_flatten(arguments(example))
    given = tuple((tuple(t.shape), t.dtype, t.device) if isinstance(t, Tensor) else repr(t) for t in leaves)
    paths = modules_by_path(model)
    state = tuple(
        (path, key, value.shape, value.dtype, value.device, value.data_ptr())
        for path, module in paths
        for own in (module._parameters, module._buffers)
        for key, value in own.items()
        if value is not None
    )
    held = {id(module) for _, module in paths}
    modules: list[object] = []  # one row of all: thousands of small tuples would keep the garbage collector busy
    for path, module in paths:
        modules += (path, type(module))
        for key, value in vars(module).items():
            if type(value) in ATOMS:
                if key != "training":
                    modules += (key, type(value), value)
            elif key not in NOT_TOLD and not (key in HOOKS and not value):
                modules += (key, _told(value, held))
    return given, str(spec), state, modules


NOT_TOLD = frozenset(("training", "_parameters", "_buffers", "_modules"))
"""Attributes of modules that a trace does not depend on, or that the signature holds in another way."""

SHOWN, DEEP = 10_000, 8
"""Numbers of an array that are told one by one, larger ones being data and no settings; objects within objects."""


def _told(value: object, held: set[int], depth: int = 0) -> object:
    """An attribute as far as a change of it can be seen: numbers and words, and what objects hold of them.

    Args:
        value: it.
        held: ids of the modules and objects that were met, which are not told again; gets this one.
        depth: of objects around it.
    """
    if isinstance(value, PLAIN):
        return type(value), repr(value)
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype
    if isinstance(value, (list, tuple)):
        if ATOMS.issuperset(map(type, value)):
            return type(value), repr(value)
        return type(value), [_told(part, held, depth) for part in value]
    if isinstance(value, dict):
        return type(value), [(repr(key), _told(part, held, depth)) for key, part in value.items()]
    if isinstance(value, (set, frozenset)):
        return type(value), repr(value)
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype, value.tobytes() if value.size <= SHOWN and value.dtype != object else None
    if id(value) in held:
        return id(value)
    held.add(id(value))
    return (id(value) if isinstance(value, nn.Module) else repr(value)), _within(value, held, depth + 1)


def _within(value: object, held: set[int], depth: int) -> object:
    """What an object holds: its attributes, of a function what it closes over, of a method whose it is."""
    if isinstance(value, (type, ModuleType, torch.dtype)) or depth > DEEP:
        return None
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if cell != CellType()]
        return _told([*cells, value.__defaults__], held, depth)
    if isinstance(value, MethodType):
        return _told(value.__self__, held, depth)
    slots = [key for kind in type(value).__mro__ for key in _slots(kind) if hasattr(value, key)]
    own = {**{key: getattr(value, key) for key in slots}, **getattr(value, "__dict__", {})}
    return _told({key: part for key, part in own.items() if key != "training"}, held, depth)


def _slots(kind: type) -> tuple[str, ...]:
    own = vars(kind).get("__slots__", ())
    return (own,) if isinstance(own, str) else tuple(own)
