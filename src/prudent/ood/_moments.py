"""Means and covariances of features, and distances in their units."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prudent.batches import Batch
from prudent.errors import BadInput
from prudent.ood._features import Seen, learn_features

ROUNDINGS = 16 * torch.finfo(torch.float32).eps
"""A direction in which features vary less than this, relative to the largest root mean square of a feature, counts as
one in which they do not vary: what is left there is how the network rounds."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of the features of N examples, in float64; a covariance is a mean, so divided by N.

    Args:
        means: (classes, d), of those classes that have examples.
        mean: (d,), of all.
        within: (d, d), mean over all examples of (h - m_y)(h - m_y)^T, m_y = mean of the example's own class.
        total: (d, d), mean of (h - m)(h - m)^T, m = mean of all.
        size: largest root mean square of a feature.
    """

    means: Tensor
    mean: Tensor
    within: Tensor
    total: Tensor
    size: float


def moments(model: nn.Module, batches: Iterable[Batch] | None, *, detector: str, layer: str | None) -> Moments:
    """Moments of the features, read once.

    Raises:
        BadInput, SplitMisuse, UnknownName: as `learn_features`.
    """
    sums: list[Tensor] = []

    def learn(seen: Seen, labels: Tensor | None) -> None:
        assert labels is not None  # noqa: S101 (they are asked for below)
        classes, d = seen.logits.shape[1], seen.features.shape[1]
        if not sums:
            # sums around a point among the examples: sums around 0 would lose the digits that the features share
            origin = seen.features.mean(0)
            sums.extend([origin, origin.new_zeros(classes), origin.new_zeros(classes, d), origin.new_zeros(d, d)])
        h = seen.features - sums[0]
        sums[1] += torch.bincount(labels, minlength=classes)
        sums[2].index_add_(0, labels, h)
        sums[3] += h.T @ h

    learn_features(model, batches, learn, detector=detector, layer=layer, labels=True)
    origin, counts, by_class, second = sums
    n, here = counts.sum(), counts > 0
    means, mean = by_class[here] / counts[here, None], by_class.sum(0) / n
    total = second / n - torch.outer(mean, mean)
    within = second / n - (means * (counts[here, None] / n)).T @ means
    square = (second / n).diagonal() + 2 * origin * mean + origin.square()
    size = float(square.clamp(min=0).max().sqrt())
    return Moments(means=means + origin, mean=mean + origin, within=within, total=total, size=size)


def whitening(covariance: Tensor, *, size: float, shrinkage: float, detector: str) -> Tensor:
    """The map (d, rank) from features to coordinates in which distances are Mahalanobis distances.

        |(x - y) A|^2 = (x - y)^T S^+ (x - y),    S = (1 - s) covariance + s trace(covariance) / d I

    S^+ is the inverse in the directions in which the features vary, and 0 in all others: standard deviation at most
    ROUNDINGS `size`. Dead units, which are frequent after pruning, and fewer examples than features make such
    directions; a warning says how many. With s > 0 there are none, and what stirs a dead unit is far away.

    Args:
        covariance: (d, d).
        size: largest root mean square of a feature.
        shrinkage: s in [0, 1].
        detector: who asks, for messages.

    Raises:
        BadInput: features that do not vary at all.
    """
    d = len(covariance)
    even = covariance.diagonal().mean() * torch.eye(d, dtype=covariance.dtype, device=covariance.device)
    values, vectors = torch.linalg.eigh((1 - shrinkage) * covariance + shrinkage * even)
    used = values > (ROUNDINGS * size) ** 2
    rank = int(used.sum())
    if rank == 0:
        raise BadInput(
            f"detector {detector!r} needs features that differ between examples; the network's {d} do not, within a "
            "class: it is pruned or collapsed too far"
        )
    if rank < d:
        warnings.warn(
            f"detector {detector!r}: the covariance of {d} features has rank {rank} (dead units, or too few examples); "
            f"distances are taken in these {rank} directions, by pseudo-inverse: shrinkage=0.01 counts the others too",
            stacklevel=3,
        )
    white: Tensor = vectors[:, used] / values[used].sqrt()
    return white


def squared_distances(features: Tensor, means: Tensor, white: Tensor) -> Tensor:
    """(n, classes) squared Mahalanobis distances of features (n, d) from means (classes, d)."""
    # differences first: by products, a small distance of far points would be lost in rounding
    return torch.cdist(features @ white, means @ white, compute_mode="donot_use_mm_for_euclid_dist").square()


def check_shrinkage(shrinkage: float, *, detector: str) -> None:
    """Refuse a share that is none."""
    if not 0 <= shrinkage <= 1:
        raise BadInput(f"detector {detector!r} needs shrinkage in [0, 1]; got {shrinkage}")
