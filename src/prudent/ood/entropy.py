"""Entropy of the softmax."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from prudent.batches import Batch
from prudent.ood._answers import Detector, of_logits
from prudent.types import log_softmax

NEEDS = ()


def entropy(model: nn.Module, batches: Iterable[Batch] | None = None) -> Detector:  # noqa: ARG001 (the contract's)
    """Entropy of the predicted probabilities.

        score(x) = -sum_c p_c ln p_c,    p = softmax(z(x))

    Args:
        model: answers logits z (n, classes). Not changed.
        batches: not used.

    Returns: inputs (n, ...) -> scores (n,), nats, in [0, ln classes], higher = more OOD.

    Raises:
        BadInput: when scores are asked for: as `max_probability`.

    Source: Shannon entropy as an OOD score, used since Hendrycks, Gimpel 2017, arXiv:1610.02136; among the baselines of
    Hendrycks et al. 2019, "Deep Anomaly Detection with Outlier Exposure", arXiv:1812.04606.
    """

    def score(logits: Tensor) -> Tensor:
        log_p = torch.from_numpy(log_softmax(logits.cpu().numpy()))
        return -(log_p.exp() * log_p).sum(dim=1)

    return of_logits(model, score, detector="entropy")
