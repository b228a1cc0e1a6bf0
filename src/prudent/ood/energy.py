"""Free energy of the logits."""

from collections.abc import Iterable

import torch
from torch import nn

from prudent.batches import Batch
from prudent.ood._answers import Detector, check_above_zero, of_logits

NEEDS = ()


def energy(
    model: nn.Module,
    batches: Iterable[Batch] | None = None,  # noqa: ARG001 (the contract's)
    *,
    temperature: float = 1.0,
) -> Detector:
    """Free energy of the logits.

        score(x) = -T ln sum_c exp(z_c(x) / T)

    Args:
        model: answers logits z (n, classes). Not changed. Log probabilities will not do: their energy is 0 everywhere.
        batches: not used.
        temperature: T > 0.

    Returns: inputs (n, ...) -> scores (n,), in units of the logits, higher = more OOD.

    Raises:
        BadInput: T that is not above 0; when scores are asked for: as `max_probability`.

    Source: Liu et al. 2020, "Energy-based Out-of-distribution Detection", arXiv:2010.03759, equation 4.
    """
    check_above_zero(temperature, detector="energy", option="temperature")
    return of_logits(model, lambda z: -temperature * torch.logsumexp(z / temperature, dim=1), detector="energy")
