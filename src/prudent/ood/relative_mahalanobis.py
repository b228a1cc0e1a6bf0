"""Mahalanobis distance to the nearest class, less that to all the data."""

from collections.abc import Iterable

from torch import Tensor, nn

from prudent.batches import Batch
from prudent.ood._answers import Detector
from prudent.ood._features import Seen, of_features
from prudent.ood._moments import check_shrinkage, moments, squared_distances, whitening

NEEDS = ("data", "labels", "features")


def relative_mahalanobis(
    model: nn.Module, batches: Iterable[Batch] | None = None, *, shrinkage: float = 0.0, layer: str | None = None
) -> Detector:
    """Squared Mahalanobis distance to the nearest class mean, less that to the mean of all examples.

        score(x) = min_c (h - m_c)^T S^+ (h - m_c) - (h - m)^T S_0^+ (h - m),    h = h(x)
        m_c, S as in `mahalanobis`;    m = mean of all h_n,    S_0 = 1/N sum_n (h_n - m) (h_n - m)^T

    What is unusual for every class alike cancels, which helps for near OOD examples. Singular S and S_0 are treated as
    in `mahalanobis`, each by itself.

    Args:
        model: as for `mahalanobis`. Not changed.
        batches: inputs and labels of the train (or validation) split; read once.
        shrinkage: s in [0, 1], of both covariances.
        layer: a module whose input is h instead.

    Returns: inputs (n, ...) -> scores (n,), no unit, of either sign, higher = more OOD.

    Raises:
        BadInput, UnknownName, SplitMisuse: as `mahalanobis`.

    Source: Ren et al. 2021, "A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection", arXiv:2106.09022.
    """
    check_shrinkage(shrinkage, detector="relative_mahalanobis")
    found = moments(model, batches, detector="relative_mahalanobis", layer=layer)
    white = whitening(found.within, size=found.size, shrinkage=shrinkage, detector="relative_mahalanobis")
    background = whitening(found.total, size=found.size, shrinkage=shrinkage, detector="relative_mahalanobis")

    def score(seen: Seen) -> Tensor:
        nearest = squared_distances(seen.features, found.means, white).min(dim=1).values
        return nearest - squared_distances(seen.features, found.mean[None], background)[:, 0]

    return of_features(model, score, detector="relative_mahalanobis", layer=layer)
