"""Mahalanobis distance to the nearest class."""

from collections.abc import Iterable

from torch import Tensor, nn

from prudent.batches import Batch
from prudent.ood._answers import Detector
from prudent.ood._features import Seen, of_features
from prudent.ood._moments import check_shrinkage, moments, squared_distances, whitening

NEEDS = ("data", "labels", "features")


def mahalanobis(
    model: nn.Module, batches: Iterable[Batch] | None = None, *, shrinkage: float = 0.0, layer: str | None = None
) -> Detector:
    """Squared Mahalanobis distance of the features to the nearest class mean, one covariance for all classes.

        score(x) = min_c (h(x) - m_c)^T S^+ (h(x) - m_c)
        m_c = mean of h over class c,    S = 1/N sum_n (h_n - m_y(n)) (h_n - m_y(n))^T

    Dead units, or fewer examples than features, make S singular. Then the distance is taken where the features vary
    (pseudo-inverse), and a warning says in how many directions; with shrinkage > 0 the other directions count too.

    Args:
        model: a classifier whose logits are the answer of a linear layer; h (n, d) is what that layer reads. Not
            changed.
        batches: inputs and labels of the train (or validation) split; read once. Classes without examples are left out.
        shrinkage: s in [0, 1]: S becomes (1 - s) S + s trace(S) / d I.
        layer: a module whose input is h instead; maps (n, channels, ...) are averaged over their positions.

    Returns: inputs (n, ...) -> scores (n,), >= 0, no unit (its mean on the fitted examples is about the rank of S),
        higher = more OOD.

    Raises:
        BadInput: no batches, no labels, NaN, shrinkage outside [0, 1], no linear layer at the end and no `layer`,
            features that do not vary; a network that was changed since.
        UnknownName: no such layer.
        SplitMisuse: examples of the certification or test split.

    Source: Lee et al. 2018, "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial
    Attacks", arXiv:1807.03888, equations 1 and 2; one layer, without the step of the input.
    """
    check_shrinkage(shrinkage, detector="mahalanobis")
    found = moments(model, batches, detector="mahalanobis", layer=layer)
    white = whitening(found.within, size=found.size, shrinkage=shrinkage, detector="mahalanobis")

    def score(seen: Seen) -> Tensor:
        return squared_distances(seen.features, found.means, white).min(dim=1).values

    return of_features(model, score, detector="mahalanobis", layer=layer)
