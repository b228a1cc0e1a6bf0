"""Saturation."""

import torch
from jaxtyping import Float
from torch import Tensor

from prudent.draws import Draws

CIFAR = ((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2))
IMAGENET = ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2))


def saturate(
    inputs: Float[Tensor, "n c h w"],
    strength: tuple[float, float],
    draws: Draws,  # noqa: ARG001 (the contract's)
) -> Float[Tensor, "n c h w"]:
    """The saturation of the colour (HSV) changes; hue and value stay.

        s' = clip(s * factor + shift),    s = 1 - smallest channel / v,    v = largest channel
        out = v - (v - x) * s' / s

    Args:
        inputs: (n, c, h, w) in [0, 1]. Not changed. One channel has no saturation, and stays as it is.
        strength: factor and shift. The first two severities take colour away, the others add some.
        draws: not used.

    Returns: (n, c, h, w) in [0, 1].

    Source: Hendrycks, Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", arXiv:1903.12261, and their published code. A grey pixel of three channels has hue 0 there, so
    that a shift makes it red; so it is here.
    """
    if inputs.shape[1] == 1:
        return inputs.clone()
    factor, shift = strength
    value = inputs.amax(1, keepdim=True)
    # how far each channel is below the value, relative to the farthest: 0 .. 1, which is the hue
    below = value - inputs
    range_of = below.amax(1, keepdim=True)
    red = torch.tensor([0.0, 1.0, 1.0]).to(inputs)[:, None, None]
    hue = torch.where(range_of == 0, red, below / range_of.masked_fill(range_of == 0, 1.0))
    saturation = range_of / value.masked_fill(value == 0, 1.0)
    changed = (saturation * factor + shift).clamp(0, 1)
    return (value - value * changed * hue).clamp(0, 1)
