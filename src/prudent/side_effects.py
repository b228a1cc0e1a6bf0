"""What a forward pass leaves behind on the modules of a network, undone."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


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
    hooks = vars(nn.Module()).keys() - {"_parameters", "_buffers", "_modules"}
    left = [value for own in attributes for name, value in own.items() if name not in hooks]
    found: dict[int, Any] = {}
    while left:
        one = left.pop()
        if isinstance(one, dict | list | set | tuple) and id(one) not in found:
            found[id(one)] = one
            left += one.values() if isinstance(one, dict) else one
    return [one for one in found.values() if not isinstance(one, tuple)]
