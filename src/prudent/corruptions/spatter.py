"""Spatter: water or mud on the lens."""

from jaxtyping import Float
from torch import Tensor

from prudent.corruptions._colours import painted
from prudent.corruptions._filters import smooth
from prudent.corruptions._water import ripples
from prudent.draws import Draws

CIFAR = (
    (0.62, 0.1, 0.7, 0.7, 0.5, 0),
    (0.65, 0.1, 0.8, 0.7, 0.5, 0),
    (0.65, 0.3, 1.0, 0.69, 0.5, 0),
    (0.65, 0.1, 0.7, 0.69, 0.6, 1),
    (0.65, 0.1, 0.5, 0.68, 0.6, 1),
)
IMAGENET = (
    (0.65, 0.3, 4.0, 0.69, 0.6, 0),
    (0.65, 0.3, 3.0, 0.68, 0.6, 0),
    (0.65, 0.3, 2.0, 0.68, 0.5, 0),
    (0.65, 0.3, 1.0, 0.65, 1.5, 1),
    (0.67, 0.4, 1.0, 0.65, 1.5, 1),
)

WATER = (175, 238, 238)
MUD = (63, 42, 20)


def spatter(
    inputs: Float[Tensor, "n c h w"], strength: tuple[float, float, float, float, float, int], draws: Draws
) -> Float[Tensor, "n c h w"]:
    """Drops where smoothed random numbers are high: pale turquoise water up to severity 3, brown mud beyond.

        drops = smooth(mean + deviation * z, sigma), 0 where below threshold
        water: out = clip(x + amount * m / max(m) * colour),    m = drops * ripples(drops)
        mud: out = (1 - m) x + m * colour,    m = smooth(drops > threshold, amount), 0 where below 0.8

    Args:
        inputs: (n, c, h, w) in [0, 1]. Not changed. One channel gets the luminance of the colours.
        strength: mean, deviation, sigma in pixels, threshold; amount (of water, or sigma of mud's rim); 1 for mud.
        draws: random numbers of each example.

    Returns: (n, c, h, w) in [0, 1].

    Source: Hendrycks, Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", arXiv:1903.12261, and their published code. The ripples of water, which are OpenCV's there, are
    simplified (see `ripples`). A lens without a drop stays clean, where theirs divides by 0.
    """
    mean, deviation, sigma, threshold, amount, mud = strength
    drops = smooth(mean + deviation * draws.normal(*inputs.shape[2:]), sigma)
    if mud:
        covered = smooth((drops > threshold).to(inputs), amount)
        covered = covered.masked_fill(covered < 0.8, 0.0).unsqueeze(1)
        return ((1 - covered) * inputs + covered * painted(inputs, MUD)).clamp(0, 1)
    levels = (drops.masked_fill(drops < threshold, 0.0).clamp(0, 1) * 255).floor()
    water = levels * ripples(levels)
    largest = water.amax((1, 2), keepdim=True)
    water = amount * water / largest.masked_fill(largest == 0, 1.0)
    return (inputs + water.unsqueeze(1) * painted(inputs, WATER)).clamp(0, 1)
