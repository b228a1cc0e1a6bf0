"""Zoom blur: a camera that moves towards what it sees."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from prudent.corruptions._filters import zoomed
from prudent.draws import Draws

CIFAR = ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01))
IMAGENET = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))


def zoom_blur(
    inputs: Float[Tensor, "n c h w"],
    strength: tuple[float, float],
    draws: Draws,  # noqa: ARG001 (the contract's)
) -> Float[Tensor, "n c h w"]:
    """The mean of the image and of the image at a range of zooms.

        out = (x + sum over z of zoom(x, z)) / (1 + number of z),    z = 1, 1 + step, ... below stop

    Args:
        inputs: (n, c, h, w) in [0, 1]. Not changed.
        strength: stop and step of the zooms.
        draws: not used.

    Returns: (n, c, h, w) in [0, 1].

    Source: Hendrycks, Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", arXiv:1903.12261, and their published code. Rows and columns are each zoomed about their own
    middle, so that images need not be square.
    """
    zooms = zooms_of(*strength)
    total = inputs.clone()
    for factor in zooms:
        total += zoomed(inputs, factor)
    return (total / (len(zooms) + 1)).clamp(0, 1)


def zooms_of(stop: float, step: float) -> tuple[float, ...]:
    """1, 1 + step, ... below stop, counted in floating point as the published code does.

    (1.06 - 1) / 0.01 is a little more than 6 there, so that these are seven zooms and the last is 1.06.
    """
    count = math.ceil((stop - 1) / step)
    values: list[float] = (1 + step * torch.arange(count, dtype=torch.float64)).tolist()
    return tuple(values)
