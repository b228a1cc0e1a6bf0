"""What the channels of a network answer on data."""

from collections.abc import Callable, Iterable, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from prudent.batches import Batch
from prudent.couplings import Couplings, mean_of_places
from prudent.observation import observe
from prudent.surgery.chain import Link, in_a_row


def channel_means(
    model: nn.Module, chain: Sequence[Link], batches: Iterable[Batch], measure: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """Mean of a measure of the activations, for each channel, over the examples and the positions of its map.

        mean(c) = 1/(N M) sum_n sum_m measure(a_c(x_n, m))

    Args:
        model: the network. Not changed.
        chain: its links; a is the output of `link.activation`.
        batches: inputs, with labels or without; read once, in evaluation mode.
        measure: from an activation to a tensor of its shape, element by element.

    Returns: link.weight -> float64 tensor (channels,).

    Raises:
        BadInput: no examples.
    """
    sums: dict[str, Tensor] = {}
    seen: dict[str, int] = {}

    def take(name: str, values: Tensor) -> None:
        _add(sums, seen, name, values)

    _watch(model, chain, batches, measure, take)
    return {name: total / seen[name] for name, total in sums.items()}


def channel_percentiles(
    model: nn.Module,
    chain: Sequence[Link],
    batches: Iterable[Batch],
    measure: Callable[[Tensor], Tensor],
    percentile: float,
) -> dict[str, Tensor]:
    """Percentile over the examples of the mean of a measure over the positions of a channel's map.

    Arguments, errors and result as for `channel_means`. One number for each channel and example is held in memory.
    """
    each: dict[str, list[Tensor]] = {}

    def take(name: str, values: Tensor) -> None:
        each.setdefault(name, []).append(values.mean(dim=2, dtype=torch.float64))

    _watch(model, chain, batches, measure, take)
    return {name: _percentile(parts, percentile) for name, parts in each.items()}


def _add(sums: dict[str, Tensor], seen: dict[str, int], name: str, values: Tensor) -> None:
    total = values.flatten(1).sum(dim=1, dtype=torch.float64)
    sums[name] = total if name not in sums else sums[name] + total
    seen[name] = seen.get(name, 0) + values[0].numel()


def _percentile(parts: list[Tensor], percentile: float) -> Tensor:
    return torch.from_numpy(np.percentile(torch.cat(parts, dim=1).cpu().numpy(), percentile, axis=1))


def _watch(
    model: nn.Module,
    chain: Sequence[Link],
    batches: Iterable[Batch],
    measure: Callable[[Tensor], Tensor],
    take: Callable[[str, Tensor], None],
) -> None:
    """Call `take` with (link.weight, measured activations (channels, batch, positions)), batch by batch."""
    modules = dict(in_a_row(model))
    # the features of a linear layer are on the last axis, whatever axes come between
    axis = {link.weight: -1 if isinstance(modules[link.layer], nn.Linear) else 1 for link in chain}

    # a module that runs at several places of the row is asked which time it is
    turns: dict[int, list[str]] = {}
    for name, module in modules.items():
        turns.setdefault(id(module), []).append(name)
    weights = {link.activation: link.weight for link in chain}
    waiting = {names[0]: names for names in turns.values()}

    def see(first: str, _: Tensor, activation: Tensor) -> None:
        place, waiting[first] = waiting[first][0], [*waiting[first][1:], waiting[first][0]]
        if place not in weights:
            return
        name = weights[place]
        values = measure(activation).movedim(axis[name], 0)
        take(name, values.reshape(*values.shape[:2], -1))

    watched = {id(modules[place]) for place in weights}
    layers = {names[0]: modules[names[0]] for names in turns.values() if id(modules[names[0]]) in watched}
    observe(model, batches, layers, see)


def read_means(
    model: nn.Module, coupled: Couplings, batches: Iterable[Batch], measure: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """Mean of a measure of what is read of each unit, over the examples and positions, then over the layers that read.

        mean(u) = mean over readers r of 1/(N M) sum_n sum_m measure(x_r,u(x_n, m))

    Args:
        model: the network. Not changed.
        coupled: its units; x_r,u is what stands at unit u's place of the inputs of layer r. Where a unit has several
            places (after a flatten), they count as positions.
        batches: inputs, with labels or without; read once, in evaluation mode.
        measure: from an activation to a tensor of its shape, element by element.

    Returns: name of the units -> float64 tensor of their shape.

    Raises:
        BadInput: no examples.
    """
    sums: dict[str, Tensor] = {}
    seen: dict[str, int] = {}

    def take(name: str, values: Tensor) -> None:
        _add(sums, seen, name, values)

    _read(model, coupled, batches, measure, take)
    # first over the places of a unit within a layer, so that each layer counts once
    parts = [mean_of_places(reader.units, sums[reader.reader] / seen[reader.reader])
             for reader in coupled.readers]  # fmt: skip
    return coupled.means(parts)


def read_percentiles(
    model: nn.Module,
    coupled: Couplings,
    batches: Iterable[Batch],
    measure: Callable[[Tensor], Tensor],
    percentile: float,
) -> dict[str, Tensor]:
    """Percentile over the examples of the mean over positions, then the means that `read_means` takes.

    Arguments, errors and result as for `read_means`. One number for each place and example is held in memory.
    """
    each: dict[str, list[Tensor]] = {}

    def take(name: str, values: Tensor) -> None:
        each.setdefault(name, []).append(values.mean(dim=2, dtype=torch.float64))

    _read(model, coupled, batches, measure, take)
    return coupled.means(
        [mean_of_places(r.units, _percentile(each[r.reader], percentile)) for r in coupled.readers]
    )  # fmt: skip


def _read(
    model: nn.Module,
    coupled: Couplings,
    batches: Iterable[Batch],
    measure: Callable[[Tensor], Tensor],
    take: Callable[[str, Tensor], None],
) -> None:
    """Call `take` with (name of a reader, what it reads, measured (places, batch, positions)), batch by batch."""
    layers = {reader.reader: model.get_submodule(reader.reader) for reader in coupled.readers}

    def see(name: str, inputs: Tensor, _: Tensor) -> None:
        layer = layers[name]
        axis = inputs.ndim - (1 if isinstance(layer, nn.Linear) else cast("Tensor", layer.weight).ndim - 1)
        values = measure(inputs).movedim(axis, 0)
        take(name, values.reshape(*values.shape[:2], -1))

    observe(model, batches, layers, see)
