"""Distance to the k-th nearest of the examples that are known."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from prudent.batches import Batch
from prudent.errors import BadInput
from prudent.ood._answers import Detector
from prudent.ood._features import Seen, learn_features, of_features
from prudent.seeds import stream

NEEDS = ("data", "features")

BLOCK = 8192
"""Most known examples that are compared with at a time: memory for distances is bounded whatever their number."""


def knn(
    model: nn.Module,
    batches: Iterable[Batch] | None = None,
    *,
    k: int = 50,
    share: float = 1.0,
    seed: int = 0,
    layer: str | None = None,
) -> Detector:
    """Euclidean distance from the normalised features to their k-th nearest neighbour among the known examples.

        score(x) = |u(x) - u_(k)|,    u = h / |h|, u_(k) = the k-th nearest of u(x_1) .. u(x_N)

    A feature vector of zeros (all units dead) stays zero: its distance to every other is 1.

    Args:
        model: a classifier whose logits are the answer of a linear layer; h (n, d) is what that layer reads. Not
            changed.
        batches: inputs, with labels or without, of the train (or validation) split; read once. Their features are kept:
            8 N d bytes.
        k: which neighbour, >= 1. The paper's 50 is for CIFAR-10, 1000 for all of ImageNet.
        share: of the known examples that are kept, in (0, 1], drawn at random; k should shrink with it.
        seed: of that draw.
        layer: a module whose input is h instead.

    Returns: inputs (n, ...) -> scores (n,), in [0, 2], higher = more OOD. A known example counts itself as the first
        neighbour.

    Raises:
        BadInput: k < 1 or above the number of known examples, share outside (0, 1], and as `mahalanobis`.
        UnknownName, SplitMisuse: as `mahalanobis`.

    Source: Sun et al. 2022, "Out-of-Distribution Detection with Deep Nearest Neighbors", arXiv:2204.06507, equation 3.
    """
    if k < 1 or not 0 < share <= 1:
        raise BadInput(f"detector 'knn' needs k >= 1 and a share in (0, 1]; got k={k}, share={share}")
    generator = np.random.default_rng(stream("known examples of knn", seed))
    kept: list[Tensor] = []

    def learn(seen: Seen, _: Tensor | None) -> None:
        chosen = torch.from_numpy(generator.random(len(seen.features)) < share)
        kept.append(_normalised(seen.features[chosen.to(seen.features.device)]))

    learn_features(model, batches, learn, detector="knn", layer=layer)
    bank = torch.cat(kept)
    if k > len(bank):
        raise BadInput(f"detector 'knn' needs at least k={k} known examples; it kept {len(bank)}: lower k")
    return of_features(model, lambda seen: _kth(_normalised(seen.features), bank, k), detector="knn", layer=layer)


def _normalised(features: Tensor) -> Tensor:
    length = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features / torch.where(length > 0, length, torch.ones_like(length))


def _kth(queries: Tensor, bank: Tensor, k: int) -> Tensor:
    """Distance of each query to the k-th nearest of the bank, block by block: the k nearest so far go along."""
    nearest = queries.new_empty(len(queries), 0)
    own = queries.square().sum(1, keepdim=True)
    for block in torch.split(bank, BLOCK):
        squared = own + block.square().sum(1) - 2 * queries @ block.T
        joined = torch.cat([nearest, squared], dim=1)
        nearest = joined.topk(min(k, joined.shape[1]), dim=1, largest=False).values
    return nearest.max(dim=1).values.clamp(min=0).sqrt()
