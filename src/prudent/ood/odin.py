"""ODIN: temperature, and a step of the input towards the network's own answer."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from prudent.batches import Batch
from prudent.errors import BadInput, reason
from prudent.ood._answers import Detector, check_above_zero, in_parts, log_odds, logits_in

NEEDS = ("gradients",)


def odin(
    model: nn.Module,
    batches: Iterable[Batch] | None = None,  # noqa: ARG001 (the contract's)
    *,
    temperature: float = 1000.0,
    epsilon: float = 0.0014,
) -> Detector:
    """Minus the log odds of the most probable class at a high temperature, after a small step that raises it.

        x' = x - epsilon sign(-d/dx ln p_y(x; T)),    p = softmax(z / T), y = argmax_c z_c(x)
        score(x) = -ln(q / (1 - q)),    q = max_c softmax(z(x') / T)_c

    A strictly decreasing map of q, as in `max_probability`. Two forward passes and one backward pass.

    Args:
        model: answers logits z (n, classes), differentiable with respect to its inputs. Not changed.
        batches: not used; the paper chooses epsilon on OOD examples, which are not there when it matters.
        temperature: T > 0; the paper's 1000.
        epsilon: size of the step in units of the inputs, >= 0; the paper's 0.0014 is for CIFAR images that were
            divided by their standard deviations. 0 leaves the step out.

    Returns: inputs (n, ...) -> scores (n,), nats, no limits, higher = more OOD.

    Raises:
        BadInput: T that is not above 0, an epsilon below 0; when scores are asked for: inputs that are no floating
            point numbers, a network without gradients, and as `max_probability`.

    Source: Liang, Li, Srikant 2018, "Enhancing The Reliability of Out-of-distribution Image Detection in Neural
    Networks", arXiv:1706.02690, equations 1 and 2.
    """
    check_above_zero(temperature, detector="odin", option="temperature")
    if not 0 <= epsilon < float("inf"):
        raise BadInput(f"detector 'odin' needs a finite epsilon >= 0; got {epsilon}")

    def score(inputs: Tensor) -> Tensor:
        if not inputs.is_floating_point():
            raise BadInput(f"detector 'odin' takes a step along gradients of floating point inputs; got {inputs.dtype}")
        moved = inputs if epsilon == 0 else inputs - epsilon * _uphill(model, inputs, temperature).sign()
        with torch.no_grad():
            return log_odds(logits_in(model, moved, detector="odin") / temperature)

    return in_parts(model, score, detector="odin", fitted=False, gradients=True)


def _uphill(model: nn.Module, inputs: Tensor, temperature: float) -> Tensor:
    """Gradient of -ln p of the predicted class with respect to each input."""
    leaf = inputs.detach().requires_grad_()
    # a layer that works in place must not write into a leaf
    logits = logits_in(model, leaf.clone(), detector="odin") / temperature
    loss = torch.logsumexp(logits, dim=1) - logits.max(dim=1).values
    try:
        # not backward(): nothing may stay in .grad
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
    except RuntimeError as error:
        raise BadInput(f"detector 'odin' needs gradients with respect to the inputs: {reason(error)}") from error
    return gradient
