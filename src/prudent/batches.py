"""Examples on their way into a network."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from prudent.errors import BadInput, SplitMisuse
from prudent.seeds import stream
from prudent.types import Split, check_split

Batch = tuple[Tensor, Tensor] | list[Tensor] | Tensor
"""Inputs (batch, ...) with labels (batch,), or inputs alone."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Batches:
    """Examples in memory, cut into batches. Iterating gives (inputs, labels) in a fixed order, or inputs if unlabelled.

    Args:
        inputs: (n, ...) of any dtype.
        labels: (n,) classes, or None.
        size: examples in a batch; the last batch may be smaller.
        split: what the examples are for; None for examples whose use is the caller's business.
        data: fingerprint of the examples, "" if unknown.

    Raises:
        BadInput: no examples, lengths that differ, size < 1.
    """

    inputs: Tensor
    labels: Int64[Tensor, " n"] | None = None
    size: int = 256
    split: Split | None = None
    data: str = ""

    def __post_init__(self) -> None:
        if len(self.inputs) == 0:
            raise BadInput(f"batches need at least one example; the {self.split or 'given'} split is empty")
        if self.labels is not None and len(self.labels) != len(self.inputs):
            raise BadInput(f"{len(self.inputs)} inputs need as many labels; got {len(self.labels)}")
        if self.size < 1:
            raise BadInput(f"a batch needs at least one example; got size={self.size}")
        if self.split is not None:
            check_split(self.split)

    def __len__(self) -> int:
        """Number of batches."""
        return math.ceil(len(self.inputs) / self.size)

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over the batches."""
        for start in range(0, len(self.inputs), self.size):
            part = slice(start, start + self.size)
            yield self.inputs[part] if self.labels is None else (self.inputs[part], self.labels[part])

    def order(self, *, seed: int, epoch: int) -> Int64[Tensor, " n"]:
        """Which example comes when in `shuffled`: a permutation that depends on seed and epoch alone."""
        # one generator for each (seed, epoch): an epoch's order does not depend on how many came before it
        generator = torch.Generator().manual_seed(stream(f"order of epoch {epoch}", seed))
        return torch.randperm(len(self.inputs), generator=generator)

    def shuffled(self, *, seed: int, epoch: int) -> Iterator[Batch]:
        """The same examples, in batches of an order that depends on seed and epoch alone."""
        for part in torch.split(self.order(seed=seed, epoch=epoch), self.size):
            yield self.inputs[part] if self.labels is None else (self.inputs[part], self.labels[part])


def check_purpose(batches: Iterable[Batch], *, purpose: str, allowed: tuple[Split, ...]) -> None:
    """Refuse batches of a split that is not there for `purpose` ("training", "scoring weights")."""
    split = batches.split if isinstance(batches, Batches) else None
    if split is not None and split not in allowed:
        raise SplitMisuse(f"{purpose} may use the {' or '.join(allowed)} split; these batches are of {split!r}")


def check_repeatable(batches: Iterable[Batch]) -> None:
    """Refuse an iterator, which would be empty from the second pass on."""
    # asking a DataLoader, which is none, for its iterator would move the global random generator
    if isinstance(batches, Iterator) and iter(batches) is batches:
        raise BadInput("batches are read more than once: pass a list, a DataLoader or Batches, not an iterator")
