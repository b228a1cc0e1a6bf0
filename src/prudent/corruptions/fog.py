"""Fog."""

from jaxtyping import Float
from torch import Tensor

from prudent.corruptions._plasma import plasma
from prudent.draws import Draws

CIFAR = ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))
IMAGENET = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))


def fog(inputs: Float[Tensor, "n c h w"], strength: tuple[float, float], draws: Draws) -> Float[Tensor, "n c h w"]:
    """A random landscape of white over the image, scaled back to the image's largest value.

        out = clip((x + thickness * plasma) * m / (m + thickness)),    m = largest value of the image

    Args:
        inputs: (n, c, h, w) in [0, 1]. Not changed.
        strength: thickness, and the decay of the landscape (smaller is rougher).
        draws: random numbers of each example.

    Returns: (n, c, h, w) in [0, 1].

    Source: Hendrycks, Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", arXiv:1903.12261, and their published code. The landscape is drawn on the smallest power of two
    that the image fits into, which is their 32 and 256 for 32 and 224 pixels.
    """
    thickness, decay = strength
    veil = plasma(draws, inputs.shape[2], inputs.shape[3], decay).unsqueeze(1)
    largest = inputs.amax((1, 2, 3), keepdim=True)
    return ((inputs + thickness * veil) * largest / (largest + thickness)).clamp(0, 1)
