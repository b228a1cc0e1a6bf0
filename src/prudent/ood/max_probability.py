"""Maximum softmax probability."""

from collections.abc import Iterable

from torch import nn

from prudent.batches import Batch
from prudent.ood._answers import Detector, log_odds, of_logits

NEEDS = ()


def max_probability(model: nn.Module, batches: Iterable[Batch] | None = None) -> Detector:  # noqa: ARG001 (the contract's)
    """Minus the log odds of the most probable class, the baseline of OOD detection.

        score(x) = -ln(p / (1 - p)),    p = max_c softmax(z(x))_c

    A strictly decreasing map of p, so that examples rank as by -p; unlike p it does not round to 1, where the surest
    examples would tie.

    Args:
        model: answers logits z (n, classes). Not changed.
        batches: not used.

    Returns: inputs (n, ...) -> scores (n,), nats, no limits, higher = more OOD.

    Raises:
        BadInput: when scores are asked for: inputs that are no finite numbers, that the network does not run on or
            answers no finite logits of 2 or more classes to.

    Source: Hendrycks, Gimpel 2017, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural
    Networks", arXiv:1610.02136; there p itself.
    """
    return of_logits(model, log_odds, detector="max_probability")
