"""Synaptic flow."""

import copy
import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from prudent.batches import Batch
from prudent.errors import BadInput
from prudent.gradients import trainable
from prudent.network import Scores, is_sequence, prunable
from prudent.observation import device_of, quiet
from prudent.surgery.chain import ELEMENTWISE
from prudent.thinning import thin

NEEDS = ("gradients", "example")
UNIT = "weight"


def synflow(
    model: nn.Module,
    batches: Iterable[Batch] | None = None,
    *,
    sparsity: float = 0.9,
    steps: int = 100,
    example: Tensor | None = None,
) -> Scores:
    """Share of the flow from inputs to outputs that runs through each weight, over many steps of pruning.

        score(w) = w * dR/dw / R,    R = sum of the outputs for an input of ones, of the network with weights |w|

    What flows into a hidden unit flows out of it, and in a network without skip connections each layer's scores sum to
    1, since R is linear in the weights of a layer. After step t a share (1 - sparsity) ** (t / steps) of the weights is
    kept, and the scores are those of what is left: so no layer is emptied that all flow must pass (one that a skip
    connection goes around may be). No data are needed, only an input's shape.

    Args:
        model: linear and convolution layers, batch normalisations (in evaluation mode), and activations that let
            positive values pass. Not changed: the flow runs through a copy in float64, without biases and shifts.
        batches: the shape of the inputs is read off the first batch if there is no `example`.
        sparsity: what is to be removed in the end, in [0, 1). Under global scope this many of the lowest scores are
            exactly what the last step removes; for another sparsity or scope the scores are only a ranking.
        steps: >= 1.
        example: inputs (batch, ...), whose shape counts. Not needed for nn.Sequential that starts with a linear layer.

    Returns: one float64 tensor for each prunable weight, of its shape, in [0, 1], without unit; higher = keep. What was
    removed before the last step scores below all others, in the order of removal.

    Raises:
        BadInput: no shape to be had, inputs that are not real numbers, steps < 1, or sparsity outside [0, 1); a flow
            that is not finite.
        CannotPrune: nothing to prune, or a frozen weight.

    Source: Tanaka et al. 2020, "Pruning neural networks without any data by iteratively conserving synaptic flow",
    arXiv:2006.05467, algorithm 1. The authors' code keeps |bias|, |running mean| and saturating
    activations; here they are left out, as in the formula, without which the flow would not be conserved.
    """
    weights = trainable(model)
    ones = torch.ones(1, *_shape(model, batches, example), dtype=torch.float64, device=device_of(model))
    positive = _positive(model)
    inside = prunable(positive)
    dense = {name: weight.detach().clone() for name, weight in inside.items()}

    def flow(kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with torch.no_grad():
            for name, weight in inside.items():
                weight.copy_(dense[name] * kept[name])
        with torch.enable_grad():
            total = positive(ones).sum()
            size = float(total.detach())
            parts = torch.autograd.grad(total, list(inside.values()), allow_unused=True, materialize_grads=True)
        if not math.isfinite(size):
            raise BadInput(f"the flow through the network must be finite; it is {size:g}: scale the weights")
        return {
            name: (weight.detach() * part).abs() / max(abs(size), torch.finfo(torch.float64).tiny)
            for (name, weight), part in zip(inside.items(), parts, strict=True)
        }

    return thin(flow, weights, sparsity=sparsity, steps=steps)


def _shape(model: nn.Module, batches: Iterable[Batch] | None, example: Tensor | None) -> tuple[int, ...]:
    """The shape of one input."""
    inputs = example
    if inputs is None and batches is not None:
        batch = next(quiet(batches), None)
        inputs = batch if batch is None or isinstance(batch, Tensor) else batch[0]
    if inputs is not None:
        if not inputs.is_floating_point():
            raise BadInput(f"score 'synflow' sends ones through the network: its inputs are real; got {inputs.dtype}")
        return tuple(inputs.shape[1:])
    passive = (nn.Flatten, nn.Identity, nn.Dropout)
    first = next((m for m in model.modules() if not is_sequence(m) and not isinstance(m, passive)), None)
    if isinstance(first, nn.Linear) and (is_sequence(model) or first is model):
        return (first.in_features,)
    raise BadInput("score 'synflow' needs an example of the input, for its shape: pass example=... or batches=...")


def _positive(model: nn.Module) -> nn.Module:
    """A copy in float64 and evaluation mode through which only |weights| act: no signs, no biases, no saturation."""
    positive = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        for name, parameter in positive.named_parameters():
            parameter.abs_()
            if name.endswith("bias"):
                parameter.zero_()
    for module in list(positive.modules()):
        for name, child in module._modules.items():
            if isinstance(child, ELEMENTWISE):
                module._modules[name] = nn.Identity()
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            # one that keeps no running statistics would subtract the flow from itself
            scale = torch.ones(module.num_features, dtype=torch.float64, device=device_of(model))
            module.running_var = scale if module.running_var is None else module.running_var
            module.running_mean = torch.zeros_like(scale)
    return positive
