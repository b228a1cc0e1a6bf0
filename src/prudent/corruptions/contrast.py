"""Contrast."""

from jaxtyping import Float
from torch import Tensor

from prudent.draws import Draws

CIFAR = (0.75, 0.5, 0.4, 0.3, 0.15)
IMAGENET = (0.4, 0.3, 0.2, 0.1, 0.05)


def contrast(
    inputs: Float[Tensor, "n c h w"],
    strength: float,
    draws: Draws,  # noqa: ARG001 (the contract's)
) -> Float[Tensor, "n c h w"]:
    """Every channel moves towards its mean over the image.

        out = (x - mean) * strength + mean

    Args:
        inputs: (n, c, h, w) in [0, 1]. Not changed.
        strength: what is left of the contrast.
        draws: not used.

    Returns: (n, c, h, w) in [0, 1].

    Source: Hendrycks, Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", arXiv:1903.12261, and their published code.
    """
    mean = inputs.mean((2, 3), keepdim=True)
    return ((inputs - mean) * strength + mean).clamp(0, 1)
