"""Which layers make the channels of a network, which normalise them, and which read them.

A *unit* is what is removed as one channel. In a plain network one layer makes it and the next one reads it. In a traced
network several layers may make it (those of a residual sum) and several may read it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from prudent.errors import CannotPrune
from prudent.surgery.chain import links
from prudent.surgery.layouts import Layout
from prudent.surgery.neighbours import Reader, Stand, neighbours


@dataclass(frozen=True, eq=False)
class Couplings:
    """What the channels of a network are made, normalised and read by.

    Args:
        shapes: name under which a mask files units -> their shape; units are numbered from 1 in this order.
        makers: weights of the layers that make units.
        scales: scales of batch normalisations.
        readers: layers that read units and do not only hand each on by itself, as depthwise convolutions do.
        unwatched: units that something else reads, too -> what does.
    """

    shapes: Mapping[str, tuple[int, ...]]
    makers: tuple[Stand, ...]
    scales: tuple[Stand, ...]
    readers: tuple[Reader, ...]
    unwatched: Mapping[int, str]

    @property
    def total(self) -> int:
        """Number of units."""
        return sum(prod(shape) for shape in self.shapes.values())

    @property
    def ranges(self) -> dict[str, slice]:
        """Name -> where its units are in a vector that has something else at place 0."""
        ends = accumulate((prod(shape) for shape in self.shapes.values()), initial=1)
        return {name: slice(a, b) for name, (a, b) in zip(self.shapes, pairwise(ends), strict=True)}

    def named(self, values: Tensor) -> dict[str, Tensor]:
        """A vector (1 + units,) under the names and in the shapes that a mask has."""
        return {name: values[part].reshape(self.shapes[name]).clone() for name, part in self.ranges.items()}

    def means(self, parts: Sequence[tuple[np.ndarray, Tensor]]) -> dict[str, Tensor]:
        """The mean of all that belongs to a unit.

        Args:
            parts: unit numbers (n,) and values (n,), of one or of several layers.

        Returns: name -> values in the shape of the units; NaN for units that nothing belongs to.
        """
        first = parts[0][1]
        total, count = first.new_zeros(1 + self.total), first.new_zeros(1 + self.total)
        for units, values in parts:
            at = torch.from_numpy(units).to(values.device)
            total.index_add_(0, at, values.to(total))
            count.index_add_(0, at, torch.ones_like(values).to(count))
        return self.named(total / count)

    def alive(self, kept: Mapping[str, Tensor]) -> Tensor:
        """Bool for each unit number: whether a mask of its makers' weights leaves any; what no weight makes stays."""
        seen, left = (torch.zeros(1 + self.total, dtype=torch.long) for _ in range(2))
        for stand in self.makers:
            if stand.name in kept:
                at = torch.from_numpy(stand.units)
                stays = kept[stand.name].movedim(stand.dim, 0).flatten(1).any(dim=1).cpu()
                left.index_add_(0, at, stays.long())
                seen.index_add_(0, at, torch.ones_like(at))
        return (left > 0) | (seen == 0)

    def names_of(self, units: np.ndarray) -> list[str]:
        """The names under which these units are filed."""
        return [name for name, part in self.ranges.items() if ((units >= part.start) & (units < part.stop)).any()]

    def key(self, name: str) -> str:
        """What tells the units of a name from all others: the layer that reads them, where one reads them alone."""
        readers = [reader for reader in self.readers if name in self.names_of(reader.found)]
        alone = len(readers) == 1 and self.names_of(readers[0].found) == [name]
        return readers[0].reader if alone else f"{name} of several"

    def without(self, places: Sequence[Stand | Reader], *, but: Sequence[int] = ()) -> dict[str, int]:
        """Names of units that stand at none of these places, or are in `but`, with the first such unit of each."""
        there = np.zeros(1 + self.total, dtype=bool)
        for place in places:
            there[place.units] = True
        there[list(but)] = False
        return {name: p.start + int(np.argmin(there[p])) for name, p in self.ranges.items() if not there[p].all()}

    def check_normalised(self, score: str) -> None:
        """Refuse units that no batch normalisation follows. Raises CannotPrune, with names."""
        without = self.without(self.scales)
        if without:
            first = next(iter(without)).removesuffix(".weight")
            rest = f" and {len(without) - 1} more have none" if len(without) > 1 else " has none"
            raise CannotPrune(
                f"score {score!r} needs batch normalisation after every layer but the last; {first!r}{rest}"
                ": use another score, 'geometric_median' for one"
            )

    def check_read(self, score: str) -> None:
        """Refuse units that no layer reads whose inputs could be watched. Raises CannotPrune, with names."""
        lost = self.without(self.readers, but=tuple(self.unwatched))
        if lost:
            name, unit = next(iter(lost.items()))
            why = f"{self.unwatched[unit]!r} reads them" if unit in self.unwatched else "none reads them"
            more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
            raise CannotPrune(
                f"score {score!r} judges channels by the linear and convolution layers that read them; of "
                f"{name.removesuffix('.weight')!r}{more}, {why}: name the other layers (layers=...), or use score "
                "'magnitude', 'geometric_median' or 'oracle'"
            )


def mean_of_places(units: np.ndarray, values: Tensor) -> tuple[np.ndarray, Tensor]:
    """The units that occur among `units` (n,), each once, and the mean of the values (n,) at its places."""
    found, place = np.unique(units, return_inverse=True)
    at = torch.from_numpy(place).to(values.device)
    total = values.new_zeros(len(found)).index_add_(0, at, values)
    return found, total / torch.bincount(at, minlength=len(found))


def couplings(model: nn.Module, layout: Layout | None = None) -> Couplings:
    """What the channels of a network are made, normalised and read by.

    Args:
        model: the network. Not changed.
        layout: its units, if it was traced for them; None for plain networks (layers in a row).

    Raises:
        CannotPrune: without a layout, a network that is not plain.
    """
    return _of_chain(model) if layout is None else _of_layout(model, layout)


def _of_chain(model: nn.Module) -> Couplings:
    chain = links(model)
    starts = [0, *accumulate(link.channels for link in chain)]
    own = {link.layer: start + np.arange(1, link.channels + 1) for link, start in zip(chain, starts, strict=False)}
    return Couplings(
        shapes={link.weight: (link.channels,) for link in chain},
        makers=tuple(Stand(link.weight, 0, own[link.layer]) for link in chain),
        scales=tuple(Stand(f"{link.norms[-1]}.weight", 0, own[link.layer]) for link in chain if link.norms),
        readers=tuple(Reader(link.reader, start + link.units) for link, start in zip(chain, starts, strict=False)),
        unwatched={},
    )


def _of_layout(model: nn.Module, layout: Layout) -> Couplings:
    found = neighbours(model, layout)
    return Couplings(
        shapes={entry.name: entry.families.shape for entry in layout.entries},
        makers=found.makers,
        scales=found.scales,
        readers=found.readers,
        unwatched=found.unwatched,
    )
