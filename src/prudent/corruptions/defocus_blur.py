"""Defocus blur: a camera that is out of focus."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d, pad

from prudent.corruptions._filters import mirrored
from prudent.draws import Draws

CIFAR = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1))
IMAGENET = ((3.0, 0.1), (4.0, 0.5), (6.0, 0.5), (8.0, 0.5), (10.0, 0.5))


SMALL = 64
"""Up to this longer side, in pixels, filtering line by line is faster than the convolution."""

NOTHING = 1e-12
"""Eigenvalues of a kernel below it are rounding."""


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
        return _in_lines(inputs, whole).clamp(0, 1)
    kernel = whole.to(inputs)
    around = len(kernel) // 2
    for axis, size in ((2, inputs.shape[2]), (3, inputs.shape[3])):
        places = torch.arange(-around, size + around, device=inputs.device)
        inputs = inputs.index_select(axis, mirrored(places, size, twice=False))
    merged = conv2d(inputs.flatten(0, 1).unsqueeze(1), kernel[None, None])
    return merged.reshape(*inputs.shape[:2], *merged.shape[2:]).clamp(0, 1)


def _in_lines(inputs: Float[Tensor, "n c h w"], kernel: Float[Tensor, "k k"]) -> Float[Tensor, "n c h w"]:
    """The same convolution as a sum over few kernels that are a column times a row: along lines, by matrices.

    kernel = sum of e_i v_i v_i^T over its eigenvectors, of which a disk has few with e_i other than 0
    """
    values, vectors = torch.linalg.eigh(kernel)
    out = torch.zeros_like(inputs)
    for value, vector in zip(values, vectors.T, strict=True):
        if abs(value) > NOTHING:
            rows, columns = (_band(vector, size).to(inputs) for size in inputs.shape[2:])
            out += value.to(inputs) * (rows @ inputs @ columns.T)
    return out


def _band(weights: Float[Tensor, " k"], size: int) -> Float[Tensor, "size size"]:
    """The matrix that filters a line of pixels, mirrored at the pixels of its ends; float64."""
    around = len(weights) // 2
    seen = mirrored(torch.arange(size)[:, None] + torch.arange(-around, around + 1), size, twice=False)
    return torch.zeros(size, size, dtype=weights.dtype).scatter_add_(1, seen, weights.expand(size, -1))


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
