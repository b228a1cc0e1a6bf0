"""Architectures by name, freshly initialised."""

import inspect
from typing import Any

from torch import nn

from prudent.catalogue import check_options
from prudent.errors import BadInput
from prudent.models import MODELS
from prudent.network import seeded


def build(name: str, shape: tuple[int, ...], classes: int, *, seed: int, options: dict[str, Any]) -> nn.Module:
    """A freshly initialised network; the same for the same arguments, the global generators untouched.

    Args:
        name: a file of this folder, or "package.module:callable"; `shape` and `classes` are passed if it takes them.
        shape: of one input.
        classes: number of logits.
        seed: of the initial weights.
        options: the architecture's own.

    Raises:
        UnknownName: no such model or option.
        BadInput: the callable does not return a torch.nn.Module.
    """
    function = MODELS.find(name)
    check_options(function, options, noun=f"model {name!r}", given=("shape", "classes"))
    takes = inspect.signature(function).parameters
    given: dict[str, Any] = {k: v for k, v in (("shape", shape), ("classes", classes)) if k in takes}
    with seeded(seed):
        model = MODELS.call(name, **given, **options)
    if not isinstance(model, nn.Module):
        raise BadInput(f"model {name!r} must return a torch.nn.Module; it returned {type(model).__name__}")
    return model
