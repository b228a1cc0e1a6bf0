"""Shot noise: light comes in photons."""

from jaxtyping import Float
from torch import Tensor

from prudent.draws import Draws

CIFAR = (500, 250, 100, 75, 50)
IMAGENET = (60, 25, 12, 5, 3)


def shot_noise(inputs: Float[Tensor, "n c h w"], strength: float, draws: Draws) -> Float[Tensor, "n c h w"]:
    """Poisson noise, independent in every pixel and channel.

        out = clip(k / strength),    k ~ Poisson(strength * x)

    Args:
        inputs: (n, c, h, w) in [0, 1]. Not changed.
        strength: photons that a pixel of value 1 receives on average; fewer are noisier.
        draws: random numbers of each example.

    Returns: (n, c, h, w) in [0, 1].

    Source: Hendrycks, Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", arXiv:1903.12261, and their published code.
    """
    return (draws.poisson(inputs * strength) / strength).clamp(0, 1)
