"""First-order Taylor expansion of the loss."""

from collections.abc import Iterable

from torch import nn

from prudent.batches import Batch
from prudent.errors import BadInput
from prudent.gradients import mean_gradient, trainable
from prudent.network import Scores, evaluating
from prudent.observation import needed

NEEDS = ("data", "labels", "gradients")
UNIT = "weight"


def taylor(model: nn.Module, batches: Iterable[Batch] | None = None, *, power: int = 1) -> Scores:
    """First-order estimate of how much the loss moves when a weight is set to zero.

        score(w) = | w * dL/dw | ** power,    L = mean cross-entropy over `batches`, in nats

    The network is in evaluation mode: this is a score for trained networks (for new ones see `snip`).

    Args:
        model: maps inputs (batch, ...) to logits (batch, classes). Not changed.
        batches: inputs (batch, ...) and labels (batch,). Read once.
        power: 1 ranks by absolute change, 2 by squared change; >= 1. It matters for channels, where scores are summed.

    Returns: one tensor for each prunable weight, of its shape, in nats ** power; higher = keep.

    Raises:
        BadInput: no data, no labels, power < 1.
        CannotPrune: nothing to prune, or a frozen weight.

    Source: Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning", arXiv:1906.10771;
    there squared, and on gates behind batch normalisations, here on single weights.
    """
    batches = needed(batches, score="taylor")
    if power < 1:
        raise BadInput(f"the power of a change of the loss is 1 or more; got power={power}")
    weights = trainable(model)
    with evaluating(model):
        gradient = mean_gradient(model, batches, score="taylor")
    return {name: (weight.detach() * gradient[name]).abs() ** power for name, weight in weights.items()}
