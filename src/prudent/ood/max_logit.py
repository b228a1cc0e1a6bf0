"""Maximum logit."""

from collections.abc import Iterable

from torch import nn

from prudent.batches import Batch
from prudent.ood._answers import Detector, of_logits

NEEDS = ()


def max_logit(model: nn.Module, batches: Iterable[Batch] | None = None) -> Detector:  # noqa: ARG001 (the contract's)
    """Minus the largest logit.

        score(x) = -max_c z_c(x)

    Args:
        model: answers logits z (n, classes). Not changed. One that answers log probabilities is scored by these, which
            ranks as the maximum probability does.
        batches: not used.

    Returns: inputs (n, ...) -> scores (n,), in units of the logits, higher = more OOD.

    Raises:
        BadInput: when scores are asked for: as `max_probability`.

    Source: Hendrycks et al. 2022, "Scaling Out-of-Distribution Detection for Real-World Settings", arXiv:1911.11132.
    """
    return of_logits(model, lambda logits: -logits.max(dim=1).values, detector="max_logit")
