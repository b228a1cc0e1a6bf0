"""Elastic transform: the image is sheared, and then stretched here and squeezed there."""

import torch
from jaxtyping import Float
from torch import Tensor

from prudent.corruptions._filters import between, smooth
from prudent.draws import Draws

CIFAR = ((0.0, 0.0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03))
IMAGENET = (
    (2.1785714285714284, 0.7625, 0.10892857142857143),
    (2.1785714285714284, 0.08714285714285715, 0.21785714285714286),
    (0.05446428571428571, 0.010892857142857143, 0.021785714285714287),
    (0.07625, 0.010892857142857143, 0.021785714285714287),
    (0.13071428571428573, 0.010892857142857143, 0.021785714285714287),
)


def elastic_transform(
    inputs: Float[Tensor, "n c h w"], strength: tuple[float, float, float], draws: Draws
) -> Float[Tensor, "n c h w"]:
    """A random affine map, and then smooth random displacements; both by bilinear interpolation.

        three corners of a square of a third of the side move by uniform numbers in [-corner, corner]
        pixel (y, x) is taken from (y, x) + displacement * smooth(uniform numbers in [-1, 1], sigma)

    Args:
        inputs: (n, c, h, w) in [0, 1]. Not changed.
        strength: displacement, sigma and corner, as fractions of the shorter side.
        draws: random numbers of each example.

    Returns: (n, c, h, w) in [0, 1].

    Source: Hendrycks, Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", arXiv:1903.12261, and their published code. The table for ImageNet is theirs for 224 pixels, in
    which a side was taken for 244: its fractions are theirs times 244 / 224. After Simard et al. 2003, "Best
    Practices for Convolutional Neural Networks".
    """
    height, width = inputs.shape[2:]
    side = min(height, width)
    displacement, sigma, corner = (side * fraction for fraction in strength)
    y, x = torch.arange(height).to(inputs)[None, :, None], torch.arange(width).to(inputs)[None, None, :]
    sheared = between(inputs, *_affine(draws, y, x, side // 3, corner), twice=False)
    field = smooth(2 * draws.uniform(2, height, width) - 1, sigma, truncate=3.0, mirror=True) * displacement
    return between(sheared, y + field[:, 1], x + field[:, 0], twice=True).clamp(0, 1)


def _affine(draws: Draws, y: Tensor, x: Tensor, third: int, corner: float) -> tuple[Tensor, Tensor]:
    """Where each pixel (y, x) comes from, if three corners of a square around the middle are moved.

    Args:
        draws: of n examples.
        y, x: (1, h, 1) and (1, 1, w), numbers of the rows and columns.
        third, corner: half the side of the square, and how far its corners move at most.

    Returns: rows and columns (n, h, w).
    """
    height, width = y.shape[1], x.shape[2]
    middle = torch.tensor([width // 2, height // 2], dtype=torch.float64)
    before = middle + third * torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]], dtype=torch.float64)
    moves = corner * (2 * draws.uniform(3, 2).double() - 1)
    after = torch.cat([before.to(moves.device) + moves, torch.ones_like(moves[..., :1])], dim=2)
    # from where a corner went to where it was: the map of the result's pixels to the image's
    back = torch.linalg.solve(after, before.to(moves.device).expand(len(after), -1, -1)).to(x)
    along_x, along_y, start = (back[:, i, None, None, :] for i in range(3))
    source_x, source_y = (x * along_x[..., i] + (y * along_y[..., i] + start[..., i]) for i in (0, 1))
    return source_y, source_x
