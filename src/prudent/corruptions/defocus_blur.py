"""Defocus blur: a camera that is out of focus."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import conv2d, pad

from prudent.corruptions._filters import mirrored
from prudent.draws import Draws

CIFAR = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1))
IMAGENET = ((3.0, 0.1), (4.0, 0.5), (6.0, 0.5), (8.0, 0.5), (10.0, 0.5))


SMALL = 64
"""Up to this longer side, in pixels, cosines are faster than the convolution."""


def defocus_blur(
    inputs: Float[Tensor, "n c h w"],
    strength: tuple[float, float],
    draws: Draws,  # noqa: ARG001 (the contract's)
) -> Float[Tensor, "n c h w"]:
    """Convolution with a disk; beyond an edge the image is mirrored at the pixels of the edge.

    Args:
        inputs: (n, c, h, w) in [0, 1]. Not changed.
        strength: radius of the disk in pixels, sigma of the Gaussian that softens its rim.
        draws: not used.

    Returns: (n, c, h, w) in [0, 1].

    Source: Hendrycks, Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", arXiv:1903.12261, and their published code. There the kernels of radius 8 and 10 are folded back
    where softening them leaves their square; here the square is as large as they need.
    """
    whole = disk(*strength)
    if max(inputs.shape[2:]) <= SMALL:
        return _in_waves(inputs, whole).clamp_(0, 1)
    kernel = whole.to(inputs)
    around = len(kernel) // 2
    for axis, size in ((2, inputs.shape[2]), (3, inputs.shape[3])):
        places = torch.arange(-around, size + around, device=inputs.device)
        inputs = inputs.index_select(axis, mirrored(places, size, twice=False))
    merged = conv2d(inputs.flatten(0, 1).unsqueeze(1), kernel[None, None])
    return merged.reshape(*inputs.shape[:2], *merged.shape[2:]).clamp(0, 1)


def _in_waves(inputs: Float[Tensor, "n c h w"], kernel: Float[Tensor, "k k"]) -> Float[Tensor, "n c h w"]:
    """The same convolution by cosines, which a symmetric kernel between mirrors changes in size only.

    image = sum over i, j of a_ij cos(pi i y / (h - 1)) cos(pi j x / (w - 1))  ->  each a_ij times
    sum over (u, v) of kernel(u, v) cos(pi i u / (h - 1)) cos(pi j v / (w - 1))
    """
    places = torch.arange(len(kernel)) - len(kernel) // 2
    rows, columns = (_waves(torch.arange(size), size) for size in inputs.shape[2:])
    above, beside = (_waves(places, size) for size in inputs.shape[2:])
    there = (above.T @ kernel @ beside).to(inputs)
    of_rows, of_columns = (torch.linalg.inv(waves).to(inputs) for waves in (rows, columns))
    sizes = of_rows @ (inputs @ of_columns.T)
    heard: Tensor = rows.to(inputs) @ (sizes.mul_(there) @ columns.T.to(inputs))
    return heard


def _waves(places: Int64[Tensor, " k"], size: int) -> Float[Tensor, "k size"]:
    """The cosines that a line of pixels between mirrors is made of, at these places; float64."""
    waves = torch.arange(size, dtype=torch.float64)
    return torch.cos(math.pi / max(1, size - 1) * torch.outer(places.double(), waves))


def disk(radius: float, softness: float) -> Float[Tensor, "k k"]:
    """A disk on the grid of pixels with a softened rim, summing to 1, in float64.

    All pixels within `radius` weigh the same; a Gaussian of sigma `softness` on 3 x 3 pixels (5 x 5 for a radius above
    8) then softens them.
    """
    around = int(radius)
    places = torch.arange(-around, around + 1, dtype=torch.float64)
    flat = (places[:, None] ** 2 + places**2 <= radius**2).double()
    soft = torch.arange(-1.0, 2.0) if radius <= 8 else torch.arange(-2.0, 3.0)
    line = torch.exp(-(soft.double() ** 2) / (2 * softness**2))
    line = line / line.sum()
    reach = len(line) // 2
    # a full convolution: the symmetric kernel slides over all places where it touches the disk
    padded = pad(flat / flat.sum(), (2 * reach,) * 4)
    return conv2d(padded[None, None], torch.outer(line, line)[None, None])[0, 0]
