"""What a trace depends on, as a value to compare: a network whose signature has changed must be traced again."""

from collections import OrderedDict

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
    modules = tuple(
        (
            path,
            type(module),
            tuple(
                [
                    (k, (type(v), v) if type(v) in ATOMS else _told(v))
                    for k, v in vars(module).items()
                    if k not in NOT_TOLD and not (k in HOOKS and not v)
                ]
            ),
        )
        for path, module in paths
    )
    return given, str(spec), state, modules


NOT_TOLD = frozenset(("training", "_parameters", "_buffers", "_modules"))
"""Attributes of modules that a trace does not depend on, or that the signature holds in another way."""


def _told(value: object) -> object:
    """An attribute as far as a change of it can be seen: numbers and words, and what a plain object holds of them."""
    if isinstance(value, PLAIN):
        return repr(value)
    if type(value) in (dict, OrderedDict) and not value:  # as most are
        return []
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype
    if isinstance(value, (list, tuple)):
        return [_told(part) for part in value]
    if isinstance(value, dict):
        return [(repr(key), _told(part)) for key, part in value.items()]
    if isinstance(value, nn.Module):
        return id(value)
    return repr(value), repr(getattr(value, "__dict__", None)) if not callable(value) else None
