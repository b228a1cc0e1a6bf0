"""Foldings against their definition by loops, and costs against the modules that are really made."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from prudent.errors import BadInput
from prudent.low_rank.folding import Factors, factors_of, fold, folds, product, splits
from prudent.low_rank.replacement import pair

LAYERS = [nn.Linear(12, 5), nn.Conv1d(4, 6, 3), nn.Conv2d(4, 6, (3, 2)), nn.Conv3d(4, 3, (2, 3, 1))]


def spread(scheme, sides):
    """Which axes of the kernel the first module spans, written out."""
    return {"encode": range(sides), "decode": (), "split1": (0,), "split2": (1,)}[scheme]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_every_entry_is_where_the_scheme_says(layer):
    weight = torch.randn_like(layer.weight, dtype=torch.float64)
    shape = tuple(weight.shape)
    for each in folds(shape):
        first = spread(each.scheme, len(shape) - 2)
        rows = list(itertools.product(range(shape[0]), *(range(n) for i, n in enumerate(shape[2:]) if i not in first)))
        columns = list(itertools.product(range(shape[1]), *(range(n) for i, n in enumerate(shape[2:]) if i in first)))
        matrix = each.matrix(weight)
        assert matrix.shape == (len(rows), len(columns))
        for (r, row), (c, column) in itertools.product(enumerate(rows), enumerate(columns)):
            inside, outside = iter(column[1:]), iter(row[1:])
            kernel = [next(inside) if i in first else next(outside) for i in range(len(shape) - 2)]
            assert matrix[r, c] == weight[(row[0], column[0], *kernel)]
        assert torch.equal(each.weight(matrix), weight)


def test_foldings_that_come_to_the_same_are_listed_once():
    names = lambda *shape: [each.scheme for each in folds(shape)]  # noqa: E731
    assert names(5, 4) == ["encode"]
    assert names(5, 4, 3) == ["encode", "decode"]
    assert names(5, 4, 3, 3) == ["encode", "decode", "split1", "split2"]
    assert names(5, 4, 1, 1) == ["encode"]
    assert names(5, 4, 1, 3) == ["encode", "decode"]
    assert names(5, 4, 3, 1) == ["encode", "decode"]
    assert names(5, 4, 3, 3, 3) == ["encode", "decode"]
    with pytest.raises(BadInput, match="folded by encode; got 'decode'"):
        fold((5, 4), "decode")


def test_splits_are_the_divisors():
    assert list(splits(12)) == [1, 2, 3, 4, 6, 12]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_costs_are_those_of_the_modules(layer):
    size = layer.weight.numel()
    for each, groups in itertools.product(folds(tuple(layer.weight.shape)), splits(layer.weight.shape[1])):
        for rank in range(1, each.full_rank(groups) + 1):
            both = pair(layer, Factors(scheme=each.scheme, groups=groups, rank=rank))
            count = sum(p.numel() for p in both.parameters()) - len(layer.bias)
            assert count == rank * each.cost(groups)
            assert (count < size) == (rank <= each.useful(groups))


def test_factors_are_the_best_of_each_group():
    weight = torch.randn(6, 4, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for each, groups in itertools.product(folds(tuple(weight.shape)), (1, 2, 4)):
        rank = min(2, each.full_rank(groups))
        factors = Factors(scheme=each.scheme, groups=groups, rank=rank)
        got = each.matrix(product(tuple(weight.shape), factors, *factors_of(weight, factors))).numpy()
        parts = np.split(each.matrix(weight).numpy(), groups, axis=1)
        for part, approximated in zip(parts, np.split(got, groups, axis=1), strict=True):
            u, s, v = np.linalg.svd(part, full_matrices=False)
            np.testing.assert_allclose(approximated, (u[:, :rank] * s[:rank]) @ v[:rank], atol=1e-12)
