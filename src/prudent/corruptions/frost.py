"""Frost: crystals of ice on a window."""

from jaxtyping import Float
from torch import Tensor

from prudent.corruptions._plasma import plasma
from prudent.draws import Draws

CIFAR = ((1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))
IMAGENET = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))

DECAY = 1.7
"""How fast the landscape that the crystals are the ridges of becomes smooth."""


def frost(inputs: Float[Tensor, "n c h w"], strength: tuple[float, float], draws: Draws) -> Float[Tensor, "n c h w"]:
    """The image, and white crystals over it: the ridges of a random landscape.

        out = clip(keep * x + weight * (1 - |2 p - 1|)),    p = plasma in [0, 1]

    Args:
        inputs: (n, c, h, w) in [0, 1]. Not changed.
        strength: keep and weight.
        draws: random numbers of each example.

    Returns: (n, c, h, w) in [0, 1].

    Source: Hendrycks, Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", arXiv:1903.12261, and their published code. The weights are theirs. The crystals are not: theirs
    are parts of six photographs, these are generated and grey, so errors under frost are not comparable with
    published ones.
    """
    keep, weight = strength
    crystals = 1 - (2 * plasma(draws, inputs.shape[2], inputs.shape[3], DECAY) - 1).abs()
    return (keep * inputs + weight * crystals.unsqueeze(1)).clamp(0, 1)
