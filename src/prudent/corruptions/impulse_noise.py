"""Impulse noise: salt and pepper, as from bit errors."""

import torch
from jaxtyping import Float
from torch import Tensor

from prudent.draws import Draws

CIFAR = (0.01, 0.02, 0.03, 0.05, 0.07)
IMAGENET = (0.03, 0.06, 0.09, 0.17, 0.27)


def impulse_noise(inputs: Float[Tensor, "n c h w"], strength: float, draws: Draws) -> Float[Tensor, "n c h w"]:
    """Some values become 0 or 1, independently in every pixel and channel.

        out = 0 with chance strength / 2,    1 with chance strength / 2,    x otherwise

    Args:
        inputs: (n, c, h, w) in [0, 1]. Not changed.
        strength: the chance that a value is replaced.
        draws: random numbers of each example.

    Returns: (n, c, h, w) in [0, 1].

    Source: Hendrycks, Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", arXiv:1903.12261, and their published code.
    """
    chance = draws.uniform(*inputs.shape[1:])
    # twice as fast as masked_fill
    return torch.where(chance < strength / 2, 0.0, torch.where(chance >= 1 - strength / 2, 1.0, inputs))
