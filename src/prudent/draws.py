"""Random numbers that belong to examples, whatever batch an example comes in."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import numpy as np
import torch
from torch import Tensor

from prudent.seeds import stream

ODD = np.array([0x9E3779B97F4A7C15, 0xD1B54A32D192ED03, 0x8CB92BA72F3D8DD7], np.uint64)
"""Odd numbers near 2**64 over the golden ratio and over its kin of two and three dimensions."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Draws:
    """Random numbers of n examples: every draw of every example has a stream of its own.

    One generator (SFC64) is put into a state of its own for each example and draw: to make a generator for each would
    take longer than to draw from it. The states are words that a bijection makes of the example's id, so no two
    examples share one.

    Args:
        key: of the purpose and the seed.
        ids: (n,) integers >= 0, which examples these are.
        like: a tensor of the dtype and device that draws shall have. The numbers do not depend on either.
        turns: numbers the draws.
    """

    key: int
    ids: Tensor
    like: Tensor
    turns: Iterator[int] = field(default_factory=count)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers (n, *shape), in pairs.

            z = r cos a, z' = r sin a    r = sqrt(-2 ln((j + 1/2) / 2^31)), a = pi k / 2^31

        Of an example's random words of 32 bits the first half gives j (31 bits) and the second k (32 bits, signed); of
        its numbers the first half are the z, and the second the z'. Nothing lies beyond 6.7, where of 10^10 numbers
        less than one does.

        Source: Box, Muller 1958, "A Note on the Generation of Random Normal Deviates" (arXiv: none).
        """
        size = math.prod(shape)
        pairs = -(-size // 2)
        halves = self._halves(2 * pairs)
        radius = (halves[:, :pairs] & 0x7FFFFFFF).float().add_(0.5).mul_(2.0**-31).log_().mul_(-2).sqrt_()
        angle = halves[:, pairs:] * (math.pi * 2.0**-31)
        out = torch.empty(len(halves), 2, pairs)
        torch.cos(angle, out=out[:, 0])
        torch.sin(angle, out=out[:, 1])
        return out.mul_(radius[:, None]).flatten(1)[:, :size].reshape(-1, *shape).to(self.like)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform numbers (n, *shape) in [0, 1), multiples of 2^-24."""
        halves = self._halves(math.prod(shape))
        return (halves >> 8).bitwise_and_(0xFFFFFF).float().mul_(2.0**-24).reshape(-1, *shape).to(self.like)

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

    def _halves(self, size: int) -> Tensor:
        """Random words (n, size) of 32 bits, signed: halves of words of 64 bits, the low half first."""
        out = np.empty((len(self.ids), -(-size // 2)), "<u8")
        for i, own in self._generators():
            out[i] = own.bit_generator.random_raw(out.shape[1])
        return torch.from_numpy(out.view("<i4"))[:, :size]

    def _generators(self) -> Iterator[tuple[int, np.random.Generator]]:
        """Each example's generator for this draw: the same object, in another state."""
        bits = np.random.SFC64(0)
        own, state = np.random.Generator(bits), bits.state
        for i, words in enumerate(_words(self.key, next(self.turns), self.ids.numpy())):
            state["state"]["state"][:3] = words
            state["state"]["state"][3] = 1
            bits.state = state
            yield i, own


def _words(key: int, turn: int, ids: np.ndarray) -> np.ndarray:
    """Three words (n, 3) of 64 bits for each example, from which SFC64 goes on.

    start = mix(mix(key) + turn),    word k = mix(start + k-th odd constant * (id + 1) + k),    mix of SplitMix64

    Source: Steele, Lea, Flood 2014, "Fast Splittable Pseudorandom Number Generators" (arXiv: none), for mix.
    """
    start = _mix(_mix(np.array([key], np.uint64)) + np.uint64(turn))
    each = ids.astype(np.uint64)[:, None] + np.uint64(1)
    return _mix(start + each * ODD + np.arange(3, dtype=np.uint64))


def _mix(words: np.ndarray) -> np.ndarray:
    """A bijection of 64 bits, after which neighbours have nothing in common."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = words ^ (words >> np.uint64(31))
    return mixed


def draws_of(purpose: str, seed: int, ids: Tensor, like: Tensor) -> Draws:
    """The random numbers of the examples `ids`, for one purpose.

    Args:
        purpose: what is drawn ("corruption fog").
        seed: the user's.
        ids: (n,) integers >= 0, which examples these are.
        like: a tensor of the dtype and device that draws shall have.
    """
    return Draws(key=stream(purpose, seed), ids=ids, like=like)
