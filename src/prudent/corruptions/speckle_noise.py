"""Speckle noise: the brighter a pixel, the noisier."""

from jaxtyping import Float
from torch import Tensor

from prudent.draws import Draws

CIFAR = (0.06, 0.1, 0.12, 0.16, 0.2)
IMAGENET = (0.15, 0.2, 0.35, 0.45, 0.6)


def speckle_noise(inputs: Float[Tensor, "n c h w"], strength: float, draws: Draws) -> Float[Tensor, "n c h w"]:
    """Normal noise in proportion to the value, independent in every pixel and channel.

        out = clip(x + x * strength * z),    z ~ N(0, 1)

    Args:
        inputs: (n, c, h, w) in [0, 1]. Not changed.
        strength: standard deviation of the noise, relative to the value.
        draws: random numbers of each example.

    Returns: (n, c, h, w) in [0, 1].

    Source: Hendrycks, Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", arXiv:1903.12261, and their published code.
    """
    return draws.normal(*inputs.shape[1:]).mul_(strength).add_(1).mul_(inputs).clamp_(0, 1)
