"""Gradients of the loss with respect to prunable weights, with nothing left behind in the network."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from prudent.batches import Batch
from prudent.errors import CannotPrune
from prudent.network import prunable
from prudent.observation import labelled


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The prunable weights, all of which must take part in training.

    Raises:
        CannotPrune: nothing prunable, or a weight that is frozen.
    """
    weights = prunable(model)
    frozen = [name for name, weight in weights.items() if not weight.requires_grad]
    if frozen:
        raise CannotPrune(
            f"gradients are needed of every prunable weight; {frozen[0]!r} is frozen (requires_grad=False)"
            + (f", and {len(frozen) - 1} more" if len(frozen) > 1 else "")
        )
    return weights


def mean_gradient(model: nn.Module, batches: Iterable[Batch], *, score: str) -> dict[str, Tensor]:
    """Gradient of the mean cross-entropy (nats) over all examples, in the modes that the network is in.

    The batches are read once, for all weights together. `.grad` is not touched.

    Args:
        model: maps inputs (batch, ...) to logits (batch, classes).
        batches: inputs and labels.
        score: who asks, for messages.

    Returns: name of each prunable weight -> tensor of its shape; zero for a weight that the loss does not depend on.

    Raises:
        BadInput: no data, or no labels.
        CannotPrune: a frozen weight.
    """
    weights = trainable(model)
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    seen = 0
    with torch.enable_grad():
        for inputs, labels in labelled(batches, model, score=score):
            loss = cross_entropy(model(inputs), labels, reduction="sum")
            # not backward(): nothing may stay in .grad
            parts = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
            for name, part in zip(weights, parts, strict=True):
                if part is not None:
                    total[name] += part
            seen += len(labels)
    return {name: value / seen for name, value in total.items()}
