"""Traced networks, kept for the next time that they are asked: only as long as nothing about them has changed."""

import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prudent.dropout_graph import Halves

MOST = 4
"""So many traces are kept; the one that was made first goes first."""


@dataclass(frozen=True, eq=False)
class Trace:
    """A network's halves, and what the network was like when they were made.

    Args:
        model: the network; it is not kept alive.
        words: everything about it that can be written down.
        things: everything else, which must be the very same objects.
        rate: of the dropout that was put before its head; None if none was.
        halves: its graph, cut.
        silent: names of modules with functional dropout that stays off.
    """

    model: "weakref.ref[nn.Module]"
    words: list[str]
    things: list[object]
    rate: float | None
    halves: Halves
    silent: tuple[str, ...]


_kept: list[Trace] = []


def recalled(model: nn.Module, inputs: Tensor, *, rate: float | None = None) -> Trace | None:
    """What was kept of this network for such inputs; None if nothing was, or anything has changed.

    Compared are all modules with their classes, forward passes, hooks and attributes, rates among them, every tensor
    with its place in memory and how often it was written to, and shape, dtype and device of the inputs. What a forward
    pass reads from elsewhere is not seen: whoever uses the halves tries them on the network first.

    Args:
        model: the network as the caller has it, without the dropout that is put before its head.
        inputs: (n, ...).
        rate: of that dropout; None for a network that is sampled as it is.
    """
    found = next((trace for trace in _kept if trace.model() is model and trace.rate == rate), None)
    if found is None:
        return None
    words, things = _described(model, inputs)
    same = words == found.words and len(things) == len(found.things)
    if same and all(one is other for one, other in zip(things, found.things, strict=True)):
        return found
    forget(model)
    return None


def keep(
    model: nn.Module, inputs: Tensor, halves: Halves, *, rate: float | None = None, silent: tuple[str, ...] = ()
) -> None:
    """Keep the halves of a network, if they compute with its own tensors: a copy would not follow them.

    Args:
        model: the network as the caller has it.
        inputs: (n, ...), such as the halves were made for.
        halves: of the network, or of one that has dropout before its head and otherwise the same tensors.
        rate: of that dropout.
        silent: names of modules with functional dropout that stays off.
    """
    _kept[:] = [trace for trace in _kept if trace.model() is not model or trace.rate != rate]
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    inside = [t for half in (halves.before, halves.after) for t in (*half.parameters(), *half.buffers())]
    tensors = (*model.parameters(), *model.buffers())
    if any(t.is_inference() for t in tensors) or any(t.untyped_storage().data_ptr() not in own for t in inside):
        return
    words, things = _described(model, inputs)
    _kept.append(Trace(weakref.ref(model, _gone), words, things, rate, halves, silent))
    del _kept[:-MOST]


def forget(model: nn.Module | None = None) -> None:
    """Let go of what was kept of a network; of all networks for None."""
    _kept[:] = [] if model is None else [trace for trace in _kept if trace.model() is not model]


def _gone(model: "weakref.ref[nn.Module]") -> None:
    _kept[:] = [trace for trace in _kept if trace.model is not model]


def _described(model: nn.Module, inputs: Tensor) -> tuple[list[str], list[object]]:
    words = [f"inputs {tuple(inputs.shape[1:])} {inputs.dtype} {inputs.device}"]
    things: list[object] = []
    for name, module in model.named_modules(remove_duplicate=False):
        things += [type(module), type(module).forward]
        # submodules come by themselves, under their names
        waiting = [(f"{name}:{key}", value) for key, value in sorted(vars(module).items()) if key != "_modules"]
        while waiting:
            place, value = waiting.pop()
            inner = _inside(value)
            words.append(f"{place} {_word(value)}")
            if inner is None and not isinstance(value, (bool, int, float, str, type(None))):
                things.append(value)
            waiting += [(f"{place}.{key!r}", one) for key, one in inner or ()]
    return words, things


def _inside(value: object) -> list[tuple[Any, Any]] | None:
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, (list, tuple)) else None


def _word(value: object) -> str:
    if isinstance(value, (bool, int, float, str, type(None))):
        return repr(value)
    if isinstance(value, Tensor):
        written = "?" if value.is_inference() else value._version
        where = value.data_ptr() if value.layout == torch.strided else id(value)
        return f"{tuple(value.shape)} {value.stride()} {value.dtype} {value.device} {where} {written}"
    if isinstance(value, (set, frozenset)):
        return repr(sorted(map(repr, value)))
    return f"{type(value).__name__} {len(value) if isinstance(value, (dict, list, tuple)) else ''}"
