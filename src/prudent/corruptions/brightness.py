"""Brightness."""

import torch
from jaxtyping import Float
from torch import Tensor

from prudent.draws import Draws

CIFAR = (0.05, 0.1, 0.15, 0.2, 0.3)
IMAGENET = (0.1, 0.2, 0.3, 0.4, 0.5)


def brightness(
    inputs: Float[Tensor, "n c h w"],
    strength: float,
    draws: Draws,  # noqa: ARG001 (the contract's)
) -> Float[Tensor, "n c h w"]:
    """The value of the colour (HSV) is raised; hue and saturation stay.

        out = x * v' / v,    v = largest channel,    v' = min(v + strength, 1);    black becomes grey of v'

    Args:
        inputs: (n, c, h, w) in [0, 1]. Not changed.
        strength: how much the value is raised.
        draws: not used.

    Returns: (n, c, h, w) in [0, 1].

    Source: Hendrycks, Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", arXiv:1903.12261, and their published code.
    """
    value = inputs.amax(1, keepdim=True)
    raised = (value + strength).clamp(max=1)
    black = value == 0
    return torch.where(black, raised, inputs / value.masked_fill(black, 1.0) * raised).clamp(0, 1)
