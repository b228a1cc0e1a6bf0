"""ViM: a virtual logit for what the features have outside of their principal space."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from prudent.batches import Batch
from prudent.errors import BadInput
from prudent.ood._answers import Detector
from prudent.ood._features import Seen, learn_features, of_features
from prudent.ood._moments import ROUNDINGS

NEEDS = ("data", "features")


def vim(
    model: nn.Module, batches: Iterable[Batch] | None = None, *, dimension: int | None = None, layer: str | None = None
) -> Detector:
    """Length of the features outside of the principal space of the known ones, on the scale of logits, plus energy.

        score(x) = alpha |R^T (h(x) - u)| - ln sum_c exp z_c(x),    u = -W^+ b
        R = eigenvectors of 1/N sum_n (h_n - u) (h_n - u)^T but the D largest
        alpha = sum_n max_c z_c(x_n) / sum_n |R^T (h_n - u)|

    It ranks as the probability of a further class with the logit alpha |R^T (h - u)| does. Columns of W that read dead
    units, 0 for every known example, count as 0, so that a masked network is scored as the smaller one that computes
    the same.

    Args:
        model: a classifier whose logits z = W h + b are the answer of a linear layer. Not changed.
        batches: inputs, with labels or without, of the train (or validation) split; read once. Their features are held
            while it is fitted: 8 N d bytes.
        dimension: D >= 0, below the number r of directions that the known features use. By default 1000 if r >= 2048,
            512 if r >= 768, else r // 2, but room for every class where r - 1 directions have it. The authors' rule
            (1000 or 512) counts all d features; where none is dead r = d, and where pruning left fewer, D must shrink
            with them or nothing would lie outside.
        layer: the linear layer, where it is not the one that answers the logits.

    Returns: inputs (n, ...) -> scores (n,), in units of the logits, higher = more OOD.

    Raises:
        BadInput: a dimension that leaves no direction, maximum logits that are not positive on average (alpha would
            turn the score around), and as `mahalanobis`.
        UnknownName, SplitMisuse: as `mahalanobis`.

    Source: Wang et al. 2022, "ViM: Out-Of-Distribution with Virtual-logit Matching", arXiv:2203.10807, section 4; the
    second moment is around u and not centred, as in the authors' code.
    """
    if dimension is not None and dimension < 0:
        raise BadInput(f"detector 'vim' needs a dimension >= 0; got {dimension}")
    parts: list[tuple[Tensor, Tensor]] = []
    heads: list[tuple[Tensor, Tensor]] = []

    def learn(seen: Seen, _: Tensor | None) -> None:
        parts.append((seen.features, seen.logits))
        heads[:] = [seen.head]

    learn_features(model, batches, learn, detector="vim", layer=layer, head=True)
    weight, bias = heads[0]
    known = torch.cat([h for h, _ in parts])
    origin = -torch.linalg.pinv(weight * known.any(dim=0)) @ bias
    features = known - origin
    outside = _outside(features, dimension, classes=len(bias))
    lengths, tops = (features @ outside).norm(dim=1).sum(), torch.cat([z for _, z in parts]).max(dim=1).values.sum()
    if not tops > 0:
        raise BadInput(
            "detector 'vim' needs maximum logits that are positive on average, to scale its virtual logit; on the "
            f"known examples they sum to {float(tops):.4g}: use a network that answers logits, not log probabilities"
        )
    alpha = float(tops / lengths)

    def score(seen: Seen) -> Tensor:
        residual = ((seen.features - origin) @ outside).norm(dim=1)
        combined: Tensor = alpha * residual - torch.logsumexp(seen.logits, dim=1)
        return combined

    return of_features(model, score, detector="vim", layer=layer, head=True)


def _outside(features: Tensor, dimension: int | None, *, classes: int) -> Tensor:
    """(d, d - D) orthonormal directions that are not among the D principal ones of features (n, d)."""
    values, vectors = torch.linalg.eigh(features.T @ features / len(features))
    size = float(features.square().mean(0).max().sqrt())
    used = int((values > (ROUNDINGS * size) ** 2).sum())
    by_rule = 1000 if used >= 2048 else 512 if used >= 768 else max(used // 2, min(classes, used - 1))
    principal = by_rule if dimension is None else dimension
    if principal >= used:
        raise BadInput(
            f"detector 'vim' needs features outside of the principal space; the known ones use {used} of "
            f"{len(values)} directions, and dimension={principal}: give it a smaller dimension, or a network that is "
            "pruned less"
        )
    outside: Tensor = vectors[:, : len(values) - principal]
    return outside
