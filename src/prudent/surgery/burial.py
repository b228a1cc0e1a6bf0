"""Units that a mask of single weights has killed: nothing reads them, or what they say is always the same.

What a unit says all the time is added to the biases of the layers that read it, so that it can be removed.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from prudent.errors import CannotPrune
from prudent.examples import Example, arguments, mapped
from prudent.network import evaluating
from prudent.surgery.layouts import Layout
from prudent.surgery.proving import CannotTell, prove

READERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Layers into whose bias a constant input can be folded; a convolution must not pad, or its borders would differ."""

UNPADDED = (0, (0,), (0, 0), (0, 0, 0), "valid")


@dataclass(frozen=True, kw_only=True, eq=False)
class Burial:
    """A network whose dead units are silent.

    Args:
        model: computes what the given one does; everything of its dead units is zero.
        dead: entry of the layout -> bool for each unit.
    """

    model: nn.Module
    dead: Mapping[str, np.ndarray]


def bury(model: nn.Module, units: Layout, example: Example) -> Burial:
    """Find the dead units of a masked network and silence them, without a change of what it computes.

    A unit is dead if all weights that read it are zero, or if all weights that make it are: then it is constant, and
    what it adds to its readers goes into their biases. A unit whose death makes others die takes them along.

    Args:
        model: masked. Not changed.
        units: its channels.
        example: inputs, on which constants are read off; that they are constant follows from the zeros.

    Returns: the silenced copy and the dead units; none may be dead.

    Raises:
        CannotTell: the network answers the same whatever it is shown, so that nothing can be proved of it.
    """
    # in float64, where constants can be folded without an error that the proof would have to forgive
    current = copy.deepcopy(model).double()
    example = mapped(lambda t: t.double() if t.is_floating_point() else t, example)
    dead = {entry.name: np.zeros(entry.families.shape, dtype=bool) for entry in units.entries}
    while True:
        found = _found(current, units, dead)
        every = np.concatenate([_numbers(units, name, which) for name, which in found.items()])
        together = _silenced(current, units, every, example)
        changed = False
        for name, which in found.items():
            for place in zip(*np.nonzero(which), strict=True):
                one = np.zeros_like(which)
                one[place] = True
                tried = together or _silenced(current, units, _numbers(units, name, one), example)
                if tried is not None:
                    dead[name][place], current, changed = True, tried, True
        if not changed:
            return Burial(model=_in_types_of(model, current), dead=dead)


def _in_types_of(model: nn.Module, double: nn.Module) -> nn.Module:
    """The network in the types of numbers that the original has; a new bias in that of its weight."""
    types = {name: value.dtype for name, value in model.state_dict().items()}
    kinds = {name.rpartition(".")[0]: dtype for name, dtype in types.items() if name.endswith("weight")}
    for name, value in double.state_dict(keep_vars=True).items():
        value.data = value.data.to(types.get(name, kinds.get(name.rpartition(".")[0], value.dtype)))
    return double


def _found(model: nn.Module, units: Layout, dead: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Units that are unread or unmade by the weights, and not known to be dead yet."""
    total = 1 + sum(entry.families.size for entry in units.entries)
    made, read, readers = (np.zeros(total, dtype=bool) for _ in range(3))
    for name, dim, numbers, weight in _weights(model, units):
        lines = weight.detach().movedim(dim, 0).flatten(1).abs().amax(dim=1).cpu().numpy() > 0
        if (name, dim) in units.trace.makers:
            np.logical_or.at(made, numbers, lines)
        else:
            np.logical_or.at(read, numbers, lines)
            readers[numbers] = True
    gone = ~made | (readers & ~read)
    found, start = {}, 1
    for entry in units.entries:
        end = start + entry.families.size
        found[entry.name] = gone[start:end].reshape(entry.families.shape) & ~dead[entry.name]
        start = end
    return found


def _weights(model: nn.Module, units: Layout) -> Iterator[tuple[str, int, np.ndarray, Tensor]]:
    """Parameters of at least two dimensions, with the unit numbers along one of them."""
    own = dict(model.named_parameters(remove_duplicate=False))
    for name, arrays in units.cover.items():
        for numbers in arrays:
            live = [d for d, n in enumerate(numbers.shape) if n > 1]
            if name in own and own[name].ndim > 1 and len(live) == 1:
                yield name, live[0], numbers.reshape(-1), own[name]


def _silenced(model: nn.Module, units: Layout, numbers: np.ndarray, example: Example) -> nn.Module | None:
    """The network without the voices of these units, if it can be proved to compute the same; else None."""
    constants = _constants(model, units, numbers, example)
    if constants is None or not numbers.size:
        return None
    quiet = copy.deepcopy(model)
    modules = dict(quiet.named_modules())
    with torch.no_grad():
        for path, extra in constants.items():
            module = modules[path]
            if module.bias is None:
                module.bias = nn.Parameter(torch.zeros_like(extra))
            module.bias += extra
        own = dict(quiet.named_parameters(remove_duplicate=False))
        for parameter, arrays in units.cover.items():
            for given in arrays if parameter in own else ():
                gone = torch.from_numpy(np.isin(given, numbers)).to(own[parameter].device)
                own[parameter].masked_fill_(gone, 0.0)
    try:
        prove(model, quiet, example)
    except CannotTell:
        raise
    except CannotPrune:
        return None
    return quiet


def _numbers(units: Layout, name: str, which: np.ndarray) -> np.ndarray:
    """Numbers of the marked units of an entry."""
    start = 1
    for entry in units.entries:
        if entry.name == name:
            return start + np.flatnonzero(which)
        start += entry.families.size
    raise KeyError(name)


def _constants(model: nn.Module, units: Layout, numbers: np.ndarray, example: Example) -> dict[str, Tensor] | None:
    """Reading layer -> what these units add to its outputs, always; None if that is not a constant."""
    modules = dict(model.named_modules())
    wanted: dict[str, np.ndarray] = {}
    for name, dim, given, weight in _weights(model, units):
        if (name, dim) in units.trace.makers:
            continue
        heard = weight.detach().movedim(dim, 0).flatten(1).any(dim=1).cpu().numpy()
        columns = np.flatnonzero(np.isin(given, numbers) & heard)
        path = name.rpartition(".")[0]
        if not columns.size:
            continue
        if not isinstance(modules.get(path), READERS) or dim != 1:
            return None
        wanted[path] = columns
    found: dict[str, Tensor] = {}
    for path, inputs in _inputs_of(model, tuple(wanted), example).items():
        extra = _contribution(modules[path], inputs, wanted[path])
        if extra is None:
            return None
        found[path] = extra
    return found


def _contribution(module: nn.Module, inputs: Tensor, columns: np.ndarray) -> Tensor | None:
    weight = module.weight
    assert isinstance(weight, Tensor)  # noqa: S101 (READERS have one)
    channel = -1 if isinstance(module, nn.Linear) else 1
    parts = inputs.index_select(channel, torch.from_numpy(columns)).movedim(channel, 0).flatten(1)
    first = parts[:, :1]
    if not torch.allclose(parts, first.expand_as(parts), rtol=1e-12, atol=1e-300):
        return None
    if (
        bool(first.any())
        and not isinstance(module, nn.Linear)
        and module.padding not in (0, (0,), (0, 0), (0, 0, 0), "valid")
    ):
        return None
    read = weight.detach().double()[:, torch.from_numpy(columns)].flatten(2).sum(2) if weight.ndim > 2 else None
    read = weight.detach().double()[:, torch.from_numpy(columns)] if read is None else read
    return (read @ first[:, 0]).to(weight.dtype)


def _inputs_of(model: nn.Module, paths: tuple[str, ...], example: Example) -> dict[str, Tensor]:
    """What layers get, on the example and on random inputs."""
    modules = dict(model.named_modules())
    seen: dict[str, list[Tensor]] = {path: [] for path in paths}
    handles = [
        modules[path].register_forward_pre_hook(lambda _, given, path=path: seen[path].append(given[0].detach()))
        for path in paths
    ]
    generator = torch.Generator().manual_seed(0)

    def drawn(value: Tensor) -> Tensor:
        noise = torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value.device)
        return noise if value.is_floating_point() else value

    try:
        with torch.no_grad(), evaluating(model):
            for one in (example, mapped(drawn, example)):
                args, kwargs = arguments(one)
                model(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return {path: torch.cat(found) for path, found in seen.items() if found}
