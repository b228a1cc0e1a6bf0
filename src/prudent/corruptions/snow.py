"""Snow that falls across the image."""

import torch
from jaxtyping import Float
from torch import Tensor

from prudent.corruptions._colours import grey
from prudent.corruptions._filters import streak, zoomed
from prudent.draws import Draws

CIFAR = (
    (0.1, 0.2, 1.0, 0.6, 8, 3.0, 0.95),
    (0.1, 0.2, 1.0, 0.5, 10, 4.0, 0.9),
    (0.15, 0.3, 1.75, 0.55, 10, 4.0, 0.9),
    (0.25, 0.3, 2.25, 0.6, 12, 6.0, 0.85),
    (0.3, 0.3, 1.25, 0.65, 14, 12.0, 0.8),
)
IMAGENET = (
    (0.1, 0.3, 3.0, 0.5, 10, 4.0, 0.8),
    (0.2, 0.3, 2.0, 0.5, 12, 4.0, 0.7),
    (0.55, 0.3, 4.0, 0.9, 12, 8.0, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12, 8.0, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12, 12.0, 0.55),
)


def snow(
    inputs: Float[Tensor, "n c h w"], strength: tuple[float, float, float, float, int, float, float], draws: Draws
) -> Float[Tensor, "n c h w"]:
    """Streaks of light flakes over an image that is whitened.

        flakes = streak(clip(zoom(mean + deviation * z) where above threshold, else 0))
        out = clip(keep * x + (1 - keep) * max(x, 1.5 * grey(x) + 0.5) + flakes + flakes turned by 180 degrees)

    Args:
        inputs: (n, c, h, w) in [0, 1]. Not changed.
        strength: mean, deviation, zoom and threshold of the flakes; radius and sigma of their streaks in pixels; keep.
        draws: random numbers of each example; the streaks fall at -135 to -45 degrees.

    Returns: (n, c, h, w) in [0, 1].

    Source: Hendrycks, Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", arXiv:1903.12261, and their published code. Flakes are not rounded to 8 bits.
    """
    mean, deviation, zoom, threshold, radius, sigma, keep = strength
    flakes = zoomed(mean + deviation * draws.normal(1, *inputs.shape[2:]), zoom)
    flakes = flakes.masked_fill(flakes < threshold, 0.0).clamp(0, 1)
    flakes = streak(flakes, radius, sigma, -45 - 90 * draws.uniform())
    white = torch.maximum(inputs, 1.5 * grey(inputs) + 0.5)
    return (keep * inputs + (1 - keep) * white + flakes + flakes.flip(2, 3)).clamp(0, 1)
