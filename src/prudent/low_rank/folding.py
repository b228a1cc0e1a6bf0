"""A layer's weight as a matrix that can be factorised, and what each rank of it costs.

A convolution's weight (outputs, inputs, *kernel) becomes a matrix whose rows are (outputs x the kernel sides that the
second module spans) and whose columns are (inputs x the sides that the first one spans). A product of two thin matrices
then is two convolutions in a row, exactly:

    scheme    first module spans       second module spans
    encode    the whole kernel         1 x 1
    split1    its rows (height x 1)    its columns (1 x width)
    split2    its columns              its rows
    decode    1 x 1                    the whole kernel

The columns are split into `groups` of input channels, each with a factorisation of its own, so that the first module is
a grouped convolution.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from prudent.errors import BadInput
from prudent.scopes import check_choice

Scheme = Literal["encode", "split1", "split2", "decode"]


@dataclass(frozen=True, kw_only=True)
class Factors:
    """How one layer becomes two.

    Args:
        scheme: which sides of the kernel belong to the first module; "encode" for linear layers.
        groups: number of groups of input channels, a divisor of it.
        rank: of each group, >= 1. The two modules meet in groups * rank channels.
    """

    scheme: Scheme
    groups: int
    rank: int


@dataclass(frozen=True)
class Fold:
    """One way to make a matrix of a weight.

    Args:
        scheme: its name.
        shape: of the weight, (outputs, inputs, *kernel).
        first: for each side of the kernel, whether the first module spans it.
    """

    scheme: Scheme
    shape: tuple[int, ...]
    first: tuple[bool, ...]

    @property
    def inner(self) -> int:
        """Kernel positions of the first module."""
        return math.prod(side for side, own in zip(self.shape[2:], self.first, strict=True) if own)

    @property
    def outer(self) -> int:
        """Kernel positions of the second module."""
        return math.prod(self.shape[2:]) // self.inner

    def _order(self) -> tuple[int, ...]:
        axes = range(2, len(self.shape))
        second = tuple(axis for axis in axes if not self.first[axis - 2])
        return (0, *second, 1, *(axis for axis in axes if self.first[axis - 2]))

    def matrix(self, weight: Tensor) -> Tensor:
        """(outputs, inputs, *kernel) -> (outputs * outer, inputs * inner)."""
        return weight.permute(self._order()).reshape(self.shape[0] * self.outer, self.shape[1] * self.inner)

    def weight(self, matrix: Tensor) -> Tensor:
        """The inverse of `matrix`."""
        order = self._order()
        back = tuple(order.index(axis) for axis in range(len(order)))
        return matrix.reshape(tuple(self.shape[axis] for axis in order)).permute(back)

    def blocks(self, weight: Tensor, groups: int) -> Tensor:
        """The matrix of each group of input channels: (groups, outputs * outer, inputs / groups * inner)."""
        matrix = self.matrix(weight)
        return matrix.reshape(len(matrix), groups, -1).transpose(0, 1)

    def full_rank(self, groups: int) -> int:
        """The rank at which nothing is lost."""
        return min(self.shape[0] * self.outer, self.shape[1] // groups * self.inner)

    def cost(self, groups: int) -> int:
        """Weights of both modules together for each rank."""
        return self.shape[1] * self.inner + groups * self.shape[0] * self.outer

    def useful(self, groups: int) -> int:
        """The highest rank that needs fewer weights than the layer has; 0 if none does."""
        return min(self.full_rank(groups), (math.prod(self.shape) - 1) // self.cost(groups))


def folds(shape: tuple[int, ...]) -> tuple[Fold, ...]:
    """The different ways to fold a weight, "encode" first; those that come to the same as an earlier one are left out.

    Args:
        shape: (outputs, inputs) or (outputs, inputs, *kernel) with 1, 2 or 3 sides.
    """
    sides = len(shape) - 2
    spans: dict[Scheme, tuple[bool, ...]] = {"encode": (True,) * sides}
    if sides:
        spans["decode"] = (False,) * sides
    if sides == 2:
        spans |= {"split1": (True, False), "split2": (False, True)}
    found: dict[tuple[bool, ...], Fold] = {}
    for scheme, first in spans.items():
        # a side of length 1 is the same in either module
        found.setdefault(tuple(f or n == 1 for f, n in zip(first, shape[2:], strict=True)), Fold(scheme, shape, first))
    return tuple(found.values())


def fold(shape: tuple[int, ...], scheme: Scheme) -> Fold:
    """The fold of that name.

    Raises:
        UnknownName: no such scheme.
        BadInput: a layer of this shape does not have it, or it comes to the same as another one.
    """
    check_choice("scheme", scheme, Scheme)
    own = {each.scheme: each for each in folds(shape)}
    if scheme not in own:
        raise BadInput(f"a weight of shape {shape} is folded by {', '.join(own)}; got {scheme!r}")
    return own[scheme]


def splits(inputs: int) -> Iterator[int]:
    """The numbers of groups that input channels can be split into: the divisors, ascending."""
    return (groups for groups in range(1, inputs + 1) if inputs % groups == 0)


def factors_of(weight: Tensor, factors: Factors) -> tuple[Tensor, Tensor]:
    """The best two matrices of each group, by singular values: (groups, rank, columns) and (rows, groups * rank).

    Each singular value is shared evenly between the two, so that fine-tuning moves both alike.

    Args:
        weight: (outputs, inputs, *kernel), float64.
        factors: that fit the shape.

    Source: Eckart & Young 1936, "The approximation of one matrix by another of lower rank" (arXiv: none).
    """
    left, values, right = torch.linalg.svd(
        fold(tuple(weight.shape), factors.scheme).blocks(weight, factors.groups), full_matrices=False
    )
    root = values[:, : factors.rank].sqrt()
    first = root[:, :, None] * right[:, : factors.rank]
    second = left[:, :, : factors.rank] * root[:, None, :]  # (groups, rows, rank)
    return first, second.transpose(0, 1).flatten(1)


def product(shape: tuple[int, ...], factors: Factors, first: Tensor, second: Tensor) -> Tensor:
    """The weight, of the layer's shape, that two modules in a row amount to; inverts `factors_of` at full rank."""
    parts = second.reshape(len(second), factors.groups, factors.rank)
    matrix = torch.einsum("rgk,gkc->rgc", parts, first).flatten(1)
    return fold(shape, factors.scheme).weight(matrix)
