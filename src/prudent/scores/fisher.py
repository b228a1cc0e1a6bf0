"""Diagonal of the empirical Fisher information."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

from prudent.batches import Batch
from prudent.gradients import summed_loss, trainable
from prudent.network import Scores, evaluating
from prudent.observation import labelled, needed

NEEDS = ("data", "labels", "gradients")
UNIT = "weight"

AT_ONCE = 2**25
"""Elements of the per-example gradients that are held at once."""

Gradients = Mapping[str, Tensor]
PerExample = Callable[[Gradients, Tensor, Tensor], Gradients]


def fisher(model: nn.Module, batches: Iterable[Batch] | None = None) -> Scores:
    """Second-order estimate of how much the loss rises when a weight of a trained network is set to zero.

        score(w) = 1/2 * w ** 2 * mean over examples of (dL_i/dw) ** 2,    L_i = cross-entropy of example i, in nats

    The mean of the squared gradients of single examples, with the data's labels, stands for the Hessian's diagonal (it
    is not the square of a batch's gradient, which is near zero after training). The network is in evaluation mode.

    Args:
        model: maps inputs (batch, ...) to logits (batch, classes). Not changed. One whose decisions depend on values
            of its input is taken one example at a time, which is slower.
        batches: inputs (batch, ...) and labels (batch,). Read once.

    Returns: one float64 tensor for each prunable weight, of its shape, in nats; higher = keep.

    Raises:
        BadInput: no data, no labels, or a network that does not run on them.
        CannotPrune: nothing to prune, or a frozen weight.

    Source: LeCun et al. 1990, "Optimal Brain Damage" (arXiv: none), with the empirical Fisher information
    as in Theis et al. 2018, "Faster gaze prediction with dense networks and Fisher pruning", arXiv:1801.05787.
    """
    batches = needed(batches, score="fisher")
    parameters = trainable(model)
    weights = {name: weight.detach() for name, weight in parameters.items()}
    total = {name: torch.zeros_like(weight, dtype=torch.float64) for name, weight in weights.items()}
    chunk = max(1, AT_ONCE // sum(weight.numel() for weight in weights.values()))
    fast = _together(model)
    seen = 0
    with evaluating(model):
        for inputs, labels in labelled(batches, model, score="fisher"):
            for x, y in zip(torch.split(inputs, chunk), torch.split(labels, chunk), strict=True):
                try:
                    with torch.no_grad():
                        gradients = fast(weights, x, y)
                except (RuntimeError, ValueError, TypeError, IndexError):
                    # what vmap cannot follow; the input's own faults come up again here, and are named
                    gradients = _one_by_one(model, parameters, x, y)
                for name, value in gradients.items():
                    total[name] += value.double().square().sum(0)
            seen += len(labels)
    return {name: 0.5 * weight.double().square() * (total[name] / seen) for name, weight in weights.items()}


def _together(model: nn.Module) -> PerExample:
    """Gradients of all examples in one pass: name -> (examples, *shape of the weight)."""

    def loss(weights: Gradients, x: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(functional_call(model, dict(weights), (x.unsqueeze(0),)), y.unsqueeze(0))

    together: PerExample = vmap(grad(loss), in_dims=(None, 0, 0))
    return together


def _one_by_one(model: nn.Module, weights: Gradients, inputs: Tensor, labels: Tensor) -> Gradients:
    found: dict[str, list[Tensor]] = {name: [] for name in weights}
    for i in range(len(labels)):
        with torch.enable_grad():
            loss = summed_loss(model, inputs[i : i + 1], labels[i : i + 1])
            parts = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
        for (name, weight), part in zip(weights.items(), parts, strict=True):
            found[name].append(torch.zeros_like(weight) if part is None else part)
    return {name: torch.stack(parts).detach() for name, parts in found.items()}
