"""Errors of ranks against the definition: factorise, put together, subtract, take the norm."""

import numpy as np
import pytest
import torch

from prudent.low_rank import spectra
from prudent.low_rank.folding import Factors, factors_of, fold, product
from prudent.low_rank.spectra import curves, relative_error

SHAPES = [(5, 12), (12, 6), (6, 4, 5), (6, 4, 3, 3), (3, 8, 3, 2), (9, 4, 1, 3), (4, 4, 2, 3, 2)]


def weight_of(shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def by_definition(weight, curve, rank):
    factors = Factors(scheme=curve.scheme, groups=curve.groups, rank=rank)
    off = weight - product(tuple(weight.shape), factors, *factors_of(weight, factors))
    flat = [np.linalg.svd(each.flatten(1).numpy(), compute_uv=False)[0] for each in (off, weight)]
    return flat[0] / flat[1]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_errors_are_those_of_the_definition(shape):
    weight = weight_of(shape)
    found = curves(weight, plain=False)
    assert len({(c.scheme, c.groups) for c in found}) == len(found) > 1
    for curve in found:
        own = fold(shape, curve.scheme)
        assert curve.ranks.tolist() == list(range(1, own.useful(curve.groups) + 1))
        assert curve.costs.tolist() == [rank * own.cost(curve.groups) for rank in curve.ranks.tolist()]
        assert (curve.errors.diff() <= 0).all()
        assert 0 <= curve.errors.min() <= curve.errors.max() <= 1 + 1e-12
        for rank, error in zip(curve.ranks.tolist(), curve.errors.tolist(), strict=True):
            assert error == pytest.approx(by_definition(weight, curve, rank), abs=1e-7)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_plain_svd_has_the_next_singular_value(shape):
    weight = weight_of(shape)
    (curve,) = curves(weight, plain=True)
    values = np.linalg.svd(weight.flatten(1).numpy(), compute_uv=False)
    expected = np.append(values, 0)[curve.ranks.numpy()] / values[0]
    np.testing.assert_allclose(curve.errors.numpy(), expected, rtol=1e-12)
    first = curves(weight, plain=False)[0]
    assert (first.scheme, first.groups) == ("encode", 1)
    assert torch.equal(first.errors, curve.errors)


def test_the_next_singular_value_of_any_group_is_below_the_error():
    weight = weight_of((6, 12))
    for curve in curves(weight, plain=False):
        parts = np.split(weight.numpy(), curve.groups, axis=1)
        following = [np.append(np.linalg.svd(part, compute_uv=False), 0) for part in parts]
        largest = np.linalg.norm(weight.numpy(), 2)
        for rank, error in zip(curve.ranks.tolist(), curve.errors.tolist(), strict=True):
            assert max(values[rank] for values in following) / largest <= error + 1e-12


def test_of_many_ranks_some_are_looked_at(monkeypatch):
    weight = weight_of((6, 4, 3, 3))
    whole = {(c.scheme, c.groups): c for c in curves(weight, plain=False)}
    monkeypatch.setattr(spectra, "POINTS", 3)
    for curve in curves(weight, plain=False):
        full = whole[curve.scheme, curve.groups]
        if (curve.scheme, curve.groups) == ("encode", 1):
            assert torch.equal(curve.ranks, full.ranks)
        assert len(set(curve.ranks.tolist())) == len(curve.ranks) <= max(3, len(full.ranks) * (curve.groups == 1))
        assert curve.ranks[-1] == full.ranks[-1]
        assert torch.allclose(curve.errors, full.errors[curve.ranks - 1], atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_wide_layers_are_bounded_from_above(shape, monkeypatch):
    weight = weight_of(shape)
    exact = curves(weight, plain=False)
    monkeypatch.setattr(spectra, "OUTPUTS", 1)
    for bound, true in zip(curves(weight, plain=False), exact, strict=True):
        assert torch.equal(bound.ranks, true.ranks)
        assert (bound.errors >= true.errors - 1e-9).all()


def test_relative_error_is_the_largest_change_of_a_patch():
    weight, other = weight_of((5, 3, 2, 2)), weight_of((5, 3, 2, 2), seed=1)
    expected = np.linalg.norm((weight - other).flatten(1).numpy(), 2) / np.linalg.norm(weight.flatten(1).numpy(), 2)
    assert relative_error(weight, other) == pytest.approx(expected, rel=1e-12)
    assert relative_error(weight, weight) == 0
    assert relative_error(torch.zeros_like(weight), torch.zeros_like(weight)) == 0


def test_a_layer_of_zeros_loses_nothing():
    for curve in curves(torch.zeros(6, 4, 3, 3, dtype=torch.float64), plain=False):
        assert (curve.errors == 0).all()
