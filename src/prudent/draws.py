"""Random numbers that belong to examples, whatever batch an example comes in."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import numpy as np
import torch
from torch import Tensor

from prudent.seeds import stream


@dataclass(frozen=True, kw_only=True, eq=False)
class Draws:
    """Random numbers of n examples: every draw of every example has a stream of its own.

    Streams are places on one counter (of the generator Philox), which is moved from example to example: to make a
    generator for each would take longer than to draw from it.

    Args:
        key: of the counter.
        ids: (n,) integers >= 0, which examples these are.
        like: a tensor of the dtype and device that draws shall have. The numbers do not depend on either.
        turns: numbers the draws.
    """

    key: int
    ids: Tensor
    like: Tensor
    turns: Iterator[int] = field(default_factory=count)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers (n, *shape)."""
        out = np.empty((len(self.ids), *shape), np.float32)
        for i, own in self._generators():
            own.standard_normal(out=out[i : i + 1], dtype=np.float32)
        return torch.from_numpy(out).to(self.like)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform numbers (n, *shape) in [0, 1)."""
        out = np.empty((len(self.ids), *shape), np.float32)
        for i, own in self._generators():
            own.random(out=out[i : i + 1], dtype=np.float32)
        return torch.from_numpy(out).to(self.like)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Integers (n, *shape), low <= k < high."""
        out = np.empty((len(self.ids), *shape), np.int64)
        for i, own in self._generators():
            out[i] = own.integers(low, high, size=shape)
        return torch.from_numpy(out).to(self.like.device)

    def poisson(self, rates: Tensor) -> Tensor:
        """Poisson counts of the given rates (n, ...)."""
        given = rates.detach().cpu().double().numpy()
        out = np.empty(given.shape, np.float32)
        for i, own in self._generators():
            out[i] = own.poisson(given[i])
        return torch.from_numpy(out).to(self.like)

    def _generators(self) -> Iterator[tuple[int, np.random.Generator]]:
        """Each example's generator for this draw: the same object, at another place."""
        bits = np.random.Philox(key=np.array([self.key, 0], np.uint64))
        own, state, turn = np.random.Generator(bits), bits.state, next(self.turns)
        for i, number in enumerate(self.ids.tolist()):
            state["state"]["counter"][:] = (0, 0, turn, number)
            bits.state = state
            yield i, own


def draws_of(purpose: str, seed: int, ids: Tensor, like: Tensor) -> Draws:
    """The random numbers of the examples `ids`, for one purpose.

    Args:
        purpose: what is drawn ("corruption fog").
        seed: the user's.
        ids: (n,) integers >= 0, which examples these are.
        like: a tensor of the dtype and device that draws shall have.
    """
    return Draws(key=stream(purpose, seed), ids=ids, like=like)
