"""What the channels of a network answer on data."""

from collections.abc import Callable, Iterable, Sequence
from typing import cast

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
    modules = dict(in_a_row(model))
    # the features of a linear layer are on the last axis, whatever axes come between
    axis = {link.weight: -1 if isinstance(modules[link.layer], nn.Linear) else 1 for link in chain}
    sums: dict[str, Tensor] = {}
    seen = dict.fromkeys(axis, 0)

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
        values = measure(activation).movedim(axis[name], 0).flatten(1)
        total = values.sum(dim=1, dtype=torch.float64)
        sums[name] = total if name not in sums else sums[name] + total
        seen[name] += values.shape[1]

    watched = {id(modules[place]) for place in weights}
    layers = {names[0]: modules[names[0]] for names in turns.values() if id(modules[names[0]]) in watched}
    observe(model, batches, layers, see)
    return {name: total / seen[name] for name, total in sums.items()}


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
    layers = {reader.reader: model.get_submodule(reader.reader) for reader in coupled.readers}
    sums: dict[str, Tensor] = {}
    seen = dict.fromkeys(layers, 0)

    def see(name: str, inputs: Tensor, _: Tensor) -> None:
        layer = layers[name]
        axis = inputs.ndim - (1 if isinstance(layer, nn.Linear) else cast("Tensor", layer.weight).ndim - 1)
        values = measure(inputs).movedim(axis, 0).flatten(1)
        total = values.sum(dim=1, dtype=torch.float64)
        sums[name] = total if name not in sums else sums[name] + total
        seen[name] += values.shape[1]

    observe(model, batches, layers, see)
    # first over the places of a unit within a layer, so that each layer counts once
    parts = [mean_of_places(reader.units, sums[reader.reader] / seen[reader.reader])
             for reader in coupled.readers]  # fmt: skip
    return coupled.means(parts)
