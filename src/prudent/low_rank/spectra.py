"""How far a layer moves at each rank: relative spectral errors, of all schemes in one norm."""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from prudent.low_rank.folding import Fold, Scheme, folds, splits

POINTS = 48
"""At most so many ranks of a split or separated layer are looked at; plain SVD has all of them for nothing."""

OUTPUTS = 1024
"""Layers with more outputs have their errors bounded from above instead, since each takes outputs ** 3 operations."""

ROUNDING = 1e-7
"""Smaller errors count as none: float32 weights have them, and float64 squares do not tell them from 0."""


@dataclass(frozen=True, eq=False)
class Curve:
    """What one scheme and number of groups offers for one layer.

    Args:
        scheme: of folding.
        groups: of input channels.
        ranks: int64 (points,), ascending; each needs fewer weights than the layer has.
        costs: int64 (points,), weights of both modules.
        errors: float64 (points,), relative spectral errors (never less than the true ones), not increasing.
    """

    scheme: Scheme
    groups: int
    ranks: Tensor
    costs: Tensor
    errors: Tensor


def relative_error(weight: Tensor, other: Tensor) -> float:
    """How far a layer with other weights can be from the layer, relative to the largest value that it can have.

        || W - W' ||_2 / || W ||_2,    W as (outputs, inputs * kernel positions)

    that is the largest change of the outputs (in the Euclidean norm) at one position that a patch of length 1 can
    cause, over the largest output that such a patch can cause. 0 for two layers of zeros.

    Args:
        weight: (outputs, inputs, *kernel), float64.
        other: of the same shape.
    """
    largest = torch.linalg.matrix_norm(weight.flatten(1), 2)
    off = torch.linalg.matrix_norm((weight - other).flatten(1), 2)
    return float(off / largest) if off > 0 else 0.0


def curves(weight: Tensor, *, plain: bool) -> list[Curve]:
    """Every scheme and number of groups that can save weights, with the errors of its ranks.

        E E^T = sum over groups and singular values beyond the rank of sigma ** 2 sum over x of u(x) u(x)^T
        error = sqrt(largest eigenvalue of E E^T) / || W ||_2

    where u(x) is the part of the left singular vector at position x of the second module's kernel; right singular
    vectors are orthogonal and drop out. So the error cannot grow with the rank. For plain SVD it is the next singular
    value. Above OUTPUTS outputs sqrt(positions * sum over groups of the next sigma ** 2), which is not below it, stands
    in its place.

    Args:
        weight: (outputs, inputs, *kernel), float64, finite.
        plain: only "encode" without groups, which is SVD.

    Returns: "encode" without groups first, if it can save anything.

    Source: Liebenwein et al. 2021, "Compressing Neural Networks: Towards Determining the Optimal Layer-wise
    Decomposition", arXiv:2107.11442. There each scheme has the norm of its own matrix, and the largest next singular
    value of any group stands for the error, which is below the true one; here errors are true, and of one norm, so
    that schemes and numbers of groups can be compared.
    """
    shape = tuple(weight.shape)
    return [
        _curve(weight, fold, groups)
        for fold in folds(shape)[: 1 if plain else None]
        for groups in ((1,) if plain else splits(shape[1]))
        if fold.useful(groups) > 0
    ]


def _curve(weight: Tensor, fold: Fold, groups: int) -> Curve:
    blocks = fold.blocks(weight, groups)
    useful, exact = fold.useful(groups), groups * fold.outer == 1
    if exact or len(weight) > OUTPUTS:
        ranks = torch.arange(1, useful + 1)
        values = torch.linalg.svdvals(blocks)
        squares = torch.nn.functional.pad(values, (0, 1)).square().sum(dim=0)[1 : useful + 1] * fold.outer
    else:
        points = min(useful, POINTS)
        ranks = torch.linspace(useful / points, useful, points, dtype=torch.float64).round().long()
        squares = _largest_eigenvalues(_scaled_left(blocks), ranks, outputs=len(weight))
    largest = torch.linalg.matrix_norm(weight.flatten(1), 2).clamp_min(torch.finfo(torch.float64).tiny)
    errors = (squares.clamp_min(0).sqrt() / largest).cpu()
    errors = torch.where(errors < ROUNDING, 0.0, errors)
    # nor may the rounding of eigenvalues make a higher rank look worse
    errors = errors.flip(0).cummax(0).values.flip(0)
    return Curve(fold.scheme, groups, ranks, ranks * fold.cost(groups), errors)


def _scaled_left(blocks: Tensor) -> Tensor:
    """Left singular vectors times singular values, largest first: (groups, rows, full rank).

    From the smaller matrix of products, faster than a singular value decomposition; what the squares lose
    is below ROUNDING.
    """
    wide = blocks.shape[1] <= blocks.shape[2]
    values, vectors = torch.linalg.eigh(blocks @ blocks.mT if wide else blocks.mT @ blocks)
    vectors = vectors.flip(-1)
    scaled: Tensor = vectors * values.flip(-1).clamp_min(0).sqrt()[:, None, :] if wide else blocks @ vectors
    return scaled


def _largest_eigenvalues(scaled: Tensor, ranks: Tensor, *, outputs: int) -> Tensor:
    """Largest eigenvalue of E E^T at each rank, from left vectors times singular values (groups, rows, full rank)."""
    groups, rows, full = scaled.shape
    parts = scaled.reshape(groups, outputs, rows // outputs, full).transpose(0, 1).flatten(1, 2)
    gram = scaled.new_zeros(outputs, outputs)
    found = []
    bounds = [*ranks.tolist(), full]
    for start, stop in reversed(list(itertools.pairwise(bounds))):
        more = parts[:, :, start:stop].flatten(1)
        gram = gram + more @ more.T
        found.append(torch.linalg.eigvalsh(gram)[-1])
    return torch.stack(found[::-1])
