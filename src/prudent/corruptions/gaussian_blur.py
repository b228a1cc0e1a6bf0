"""Gaussian blur."""

from jaxtyping import Float
from torch import Tensor

from prudent.corruptions._filters import smooth
from prudent.draws import Draws

CIFAR = (0.4, 0.6, 0.7, 0.8, 1.0)
IMAGENET = (1.0, 2.0, 3.0, 4.0, 6.0)


def gaussian_blur(
    inputs: Float[Tensor, "n c h w"],
    strength: float,
    draws: Draws,  # noqa: ARG001 (the contract's)
) -> Float[Tensor, "n c h w"]:
    """Convolution with a Gaussian that ends at four sigmas; beyond an edge is the pixel at the edge.

    Args:
        inputs: (n, c, h, w) in [0, 1]. Not changed.
        strength: sigma in pixels.
        draws: not used.

    Returns: (n, c, h, w) in [0, 1].

    Source: Hendrycks, Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", arXiv:1903.12261, and their published code.
    """
    return smooth(inputs, strength).clamp(0, 1)
