"""Connection sensitivity at initialisation."""

from collections.abc import Iterable

from torch import nn

from prudent.batches import Batch
from prudent.gradients import mean_gradient, trainable
from prudent.network import Scores, batch_statistics
from prudent.observation import needed

NEEDS = ("data", "labels", "gradients")
UNIT = "weight"


def snip(model: nn.Module, batches: Iterable[Batch] | None = None) -> Scores:
    """How much the loss reacts to each connection of a network that was not trained yet.

        score(w) = | w * dL/dw | = | dL/dc at c = 1 of the network with weights c * w |,    L = mean cross-entropy, nats

    The sign is kept until the gradient was averaged over all examples. Batch normalisations use the batch's statistics
    and dropout is off.

    Args:
        model: maps inputs (batch, ...) to logits (batch, classes). Not changed.
        batches: inputs (batch, ...) and labels (batch,). Read once, for all layers together.

    Returns: one tensor for each prunable weight, of its shape, in nats; higher = keep.

    Raises:
        BadInput: no data, no labels, or a batch that is too small for the batch normalisations.
        CannotPrune: nothing to prune, or a frozen weight.

    Source: Lee et al. 2019, "SNIP: Single-shot Network Pruning based on Connection Sensitivity", arXiv:1810.02340,
    without the division by the sum over all weights, which changes no ranking.
    """
    batches = needed(batches, score="snip")
    weights = trainable(model)
    with batch_statistics(model):
        gradient = mean_gradient(model, batches, score="snip")
    return {name: (weight.detach() * gradient[name]).abs() for name, weight in weights.items()}
