"""Gradients of the loss with respect to prunable weights, with nothing left behind in the network."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from prudent.batches import Batch
from prudent.errors import BadInput, CannotPrune, reason
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


def mean_gradient(
    model: nn.Module, batches: Iterable[Batch], *, score: str, temperature: float = 1.0
) -> dict[str, Tensor]:
    """Gradient of the mean cross-entropy (nats) over all examples, in the modes that the network is in.

    The batches are read once, for all weights together. `.grad` is not touched.

    Args:
        model: maps inputs (batch, ...) to logits (batch, classes).
        batches: inputs and labels.
        score: who asks, for messages.
        temperature: what the logits are divided by, > 0.

    Returns: name of each prunable weight -> tensor of its shape; zero for a weight that the loss does not depend on.

    Raises:
        BadInput: no data, no labels, or a network that does not run on them.
        CannotPrune: a frozen weight.
    """
    weights = trainable(model)
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    seen = 0
    with torch.enable_grad():
        for inputs, labels in labelled(batches, model, score=score):
            loss = summed_loss(model, inputs, labels, temperature=temperature)
            # not backward(): nothing may stay in .grad
            parts = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
            for name, part in zip(weights, parts, strict=True):
                if part is not None:
                    total[name] += part
            seen += len(labels)
    return {name: value / seen for name, value in total.items()}


def hessian_product(
    model: nn.Module,
    batches: Iterable[Batch],
    direction: Mapping[str, Tensor],
    *,
    score: str,
    temperature: float = 1.0,
) -> dict[str, Tensor]:
    """Hessian of the mean cross-entropy (nats) over all examples times a direction, by two backward passes.

        H d = d/dw (g(w) . d),    g = gradient of the mean loss

    The batches are read once. The Hessian is that of the prunable weights alone. `.grad` is not touched.

    Args:
        model: maps inputs (batch, ...) to logits (batch, classes).
        batches: inputs and labels.
        direction: name of each prunable weight -> tensor of its shape.
        score: who asks, for messages.
        temperature: what the logits are divided by, > 0.

    Returns: name of each prunable weight -> tensor of its shape.

    Raises:
        BadInput: no data, no labels, or a network that does not run on them.
        CannotPrune: a frozen weight.
    """
    weights = trainable(model)
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    seen = 0
    # the fused attention kernels have no second derivative
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        for inputs, labels in labelled(batches, model, score=score):
            loss = summed_loss(model, inputs, labels, temperature=temperature)
            first = torch.autograd.grad(loss, list(weights.values()), create_graph=True, allow_unused=True)
            terms = [(g * direction[n]).sum() for n, g in zip(weights, first, strict=True) if g is not None]
            seen += len(labels)
            if not terms:
                continue
            second = torch.autograd.grad(torch.stack(terms).sum(), list(weights.values()), allow_unused=True)
            for name, part in zip(weights, second, strict=True):
                if part is not None:
                    total[name] += part
    return {name: value / seen for name, value in total.items()}


def summed_loss(model: nn.Module, inputs: Tensor, labels: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Cross-entropy (nats) of the logits over `temperature`, summed over the examples of a batch.

    Raises:
        BadInput: the network does not run on the batch (a batch normalisation that normalises by the batch wants more
            than one example), or a label is outside of its classes.
    """
    try:
        return cross_entropy(model(inputs) / temperature, labels, reduction="sum")
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise BadInput(f"a batch of {len(labels)} examples has no cross-entropy: {reason(error)}") from error
