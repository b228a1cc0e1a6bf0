"""Gradient signal preservation."""

from collections.abc import Iterable

from torch import nn

from prudent.batches import Batch, check_repeatable
from prudent.errors import BadInput
from prudent.gradients import hessian_product, mean_gradient, trainable
from prudent.network import Scores, batch_statistics
from prudent.observation import needed

NEEDS = ("data", "labels", "gradients")
UNIT = "weight"


def grasp(model: nn.Module, batches: Iterable[Batch] | None = None, *, temperature: float = 200.0) -> Scores:
    """How much of the gradient's squared norm is lost, to first order, when a weight is set to zero.

        score(w) = w * (H g),    g = dL/dw, H = d2L/dw2,    L = mean cross-entropy of logits / temperature, in nats

    The paper's measure is S(-w) = -w * (H g), half the change of |g| ** 2 when w is removed, and what is highest in S
    is removed. So the score, higher = keep, is -S. It is negative for weights whose removal makes the gradient larger.
    Batch normalisations use the batch's statistics and dropout is off.

    Args:
        model: maps inputs (batch, ...) to logits (batch, classes). Not changed.
        batches: inputs (batch, ...) and labels (batch,). Read twice: for g, and for H g in one graph.
        temperature: what the logits are divided by, > 0; it makes the classes nearly equally likely.

    Returns: one tensor for each prunable weight, of its shape, of either sign; higher = keep.

    Raises:
        BadInput: no data, no labels, batches that can be read only once, temperature <= 0, or a batch that is too small
            for the batch normalisations.
        CannotPrune: nothing to prune, or a frozen weight.

    Source: Wang et al. 2020, "Picking Winning Tickets Before Training by Preserving Gradient Flow", arXiv:2002.07376,
    algorithm 1; there on a few examples of each class, here on all that are given.
    """
    batches = needed(batches, score="grasp")
    check_repeatable(batches)
    if not temperature > 0:
        raise BadInput(f"the temperature divides the logits and is positive; got temperature={temperature}")
    weights = trainable(model)
    with batch_statistics(model):
        gradient = mean_gradient(model, batches, score="grasp", temperature=temperature)
        product = hessian_product(model, batches, gradient, score="grasp", temperature=temperature)
    return {name: weight.detach() * product[name] for name, weight in weights.items()}
