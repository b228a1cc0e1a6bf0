"""Gaussian noise: electronic noise in low light."""

from jaxtyping import Float
from torch import Tensor

from prudent.draws import Draws

CIFAR = (0.04, 0.06, 0.08, 0.09, 0.10)
IMAGENET = (0.08, 0.12, 0.18, 0.26, 0.38)


def gaussian_noise(inputs: Float[Tensor, "n c h w"], strength: float, draws: Draws) -> Float[Tensor, "n c h w"]:
    """Normal noise, independent in every pixel and channel.

        out = clip(x + strength * z),    z ~ N(0, 1)

    Args:
        inputs: (n, c, h, w) in [0, 1]. Not changed.
        strength: standard deviation of the noise, of a range of 1.
        draws: random numbers of each example.

    Returns: (n, c, h, w) in [0, 1].

    Source: Hendrycks, Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", arXiv:1903.12261, and their published code.
    """
    return draws.normal(*inputs.shape[1:]).mul_(strength).add_(inputs).clamp_(0, 1)
