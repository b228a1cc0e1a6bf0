"""ReAct: energy after the features are cut off."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from prudent.batches import Batch
from prudent.errors import BadInput
from prudent.ood._answers import Detector, check_above_zero
from prudent.ood._features import Seen, learn_features, of_features

NEEDS = ("data", "features")


def react(
    model: nn.Module,
    batches: Iterable[Batch] | None = None,
    *,
    percentile: float = 90.0,
    clip: float | None = None,
    temperature: float = 1.0,
    layer: str | None = None,
) -> Detector:
    """Free energy of the logits that follow when every feature is cut off at a height that is usual in training.

        score(x) = -T ln sum_c exp((W min(h(x), c) + b)_c / T)
        c = the given percentile of all features of all known examples, units pooled

    Dead units, 0 for every known example, are left out of the pool: else c would fall with sparsity alone, and a masked
    network would be scored otherwise than the smaller network that computes the same.

    Args:
        model: a classifier whose logits W h + b are the answer of a linear layer. Not changed.
        batches: inputs, with labels or without, of the train (or validation) split; read once. Their features are held
            while c is found: 8 N d bytes. Not needed if `clip` is given.
        percentile: in (0, 100], interpolated linearly between the two nearest.
        clip: c itself.
        temperature: T > 0.
        layer: the linear layer, where it is not the one that answers the logits.

    Returns: inputs (n, ...) -> scores (n,), in units of the logits, higher = more OOD.

    Raises:
        BadInput: a percentile outside (0, 100], a clip that is not finite, T that is not above 0, features that are all
            0, and as `mahalanobis`.
        UnknownName, SplitMisuse: as `mahalanobis`.

    Source: Sun, Guo, Li 2021, "ReAct: Out-of-distribution Detection With Rectified Activations", arXiv:2111.12797;
    there all units are pooled.
    """
    check_above_zero(temperature, detector="react", option="temperature")
    if not 0 < percentile <= 100 or not (clip is None or np.isfinite(clip)):
        raise BadInput(
            f"detector 'react' needs a percentile in (0, 100] and a finite clip; got percentile={percentile}, "
            f"clip={clip}"
        )
    height = _usual(model, batches, percentile, layer) if clip is None else clip

    def score(seen: Seen) -> Tensor:
        weight, bias = seen.head
        logits = seen.features.clamp(max=height) @ weight.T + bias
        return -temperature * torch.logsumexp(logits / temperature, dim=1)

    return of_features(model, score, detector="react", layer=layer, head=True)


def _usual(model: nn.Module, batches: Iterable[Batch] | None, percentile: float, layer: str | None) -> float:
    kept: list[np.ndarray] = []

    def learn(seen: Seen, _: Tensor | None) -> None:
        kept.append(seen.features.cpu().numpy())

    learn_features(model, batches, learn, detector="react", layer=layer, head=True)
    features = np.concatenate(kept)
    alive = features[:, features.any(axis=0)]
    if alive.size == 0:
        raise BadInput("detector 'react' needs features that are not all 0; the network's units are all dead")
    return float(np.percentile(alive, percentile))
