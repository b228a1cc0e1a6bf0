"""Motion blur: a camera that moves."""

from jaxtyping import Float
from torch import Tensor

from prudent.corruptions._filters import streak
from prudent.draws import Draws

CIFAR = ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5))
IMAGENET = ((10, 3.0), (15, 5.0), (15, 8.0), (15, 12.0), (20, 15.0))


def motion_blur(
    inputs: Float[Tensor, "n c h w"], strength: tuple[int, float], draws: Draws
) -> Float[Tensor, "n c h w"]:
    """Half a Gaussian along a line, at an angle between -45 and 45 degrees that is drawn for each image.

    Args:
        inputs: (n, c, h, w) in [0, 1]. Not changed.
        strength: radius (the line has 2 * radius + 1 pixels) and sigma, in pixels.
        draws: random numbers of each example.

    Returns: (n, c, h, w) in [0, 1].

    Source: Hendrycks, Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", arXiv:1903.12261, and their published code. There it is done by ImageMagick, whose kernel and
    rounding are followed, except that nothing is rounded to 8 bits.
    """
    radius, sigma = strength
    return streak(inputs, radius, sigma, 90 * draws.uniform() - 45).clamp(0, 1)
