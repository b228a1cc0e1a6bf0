"""How light plays on drops of water."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d, pad

from prudent.corruptions._filters import mirrored

EDGE = 150
"""The steepest slope of grey levels that is no edge."""

FAR = 20
"""Distances to an edge are cut off here, in pixels."""


def ripples(levels: Float[Tensor, "n h w"]) -> Float[Tensor, "n h w"]:
    """Embossed distances to the edges of drops.

    Distances to the nearest edge (at most 20) are averaged over 3 x 3 pixels and rounded down, their histogram is made
    flat, and the result is lit from below right (a filter of 3 x 3) and averaged again.

    Args:
        levels: (n, h, w) whole numbers in 0 .. 255, 0 where there is no drop.

    Returns: (n, h, w) in [0, 255].

    Source: the steps, kernels and thresholds of Hendrycks, Dietterich 2019, arXiv:1903.12261. Distances are exact
    instead of chamfer distances, and weak edges that continue strong ones are not followed.
    """
    far = distances(edges(levels)).clamp(max=FAR)
    flat = equalised((_filtered(far, [[1 / 9] * 3] * 3) + 1e-4).floor())
    lit = _filtered(flat, [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]).clamp(0, 255)
    return _filtered(lit, [[1 / 9] * 3] * 3)


def _filtered(images: Tensor, kernel: list[list[float]]) -> Tensor:
    """Correlation with a kernel of 3 x 3; beyond an edge the image is mirrored at the pixels of the edge."""
    for axis, size in ((1, images.shape[1]), (2, images.shape[2])):
        places = mirrored(torch.arange(-1, size + 1, device=images.device), size, twice=False)
        images = images.index_select(axis, places)
    return conv2d(images.unsqueeze(1), torch.tensor(kernel).to(images)[None, None]).squeeze(1)


def edges(levels: Float[Tensor, "n h w"]) -> Tensor:
    """Where grey levels are steep (Sobel's slopes, |across| + |down| above 150) and steepest along their direction.

    Source: Canny 1986, "A Computational Approach to Edge Detection" (arXiv: none).
    """
    around = pad(levels.unsqueeze(1), (1, 1, 1, 1), mode="replicate")
    sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]).to(levels)
    slopes = conv2d(around, torch.stack([sobel, sobel.T]).unsqueeze(1))
    across, down = slopes[:, 0], slopes[:, 1]
    steep = across.abs() + down.abs()
    height, width = steep.shape[1:]
    beside = pad(steep, (1, 1, 1, 1))

    def at(dy: int, dx: int) -> Tensor:
        return beside[:, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]

    tangent = 0.41421356237309503  # of 22.5 degrees
    flat_way = down.abs() < tangent * across.abs()
    steep_way = across.abs() < tangent * down.abs()
    ridge = torch.where(
        flat_way,
        (steep > at(0, -1)) & (steep >= at(0, 1)),
        torch.where(
            steep_way,
            (steep > at(-1, 0)) & (steep >= at(1, 0)),
            torch.where(
                across * down < 0,
                (steep > at(-1, 1)) & (steep > at(1, -1)),
                (steep > at(-1, -1)) & (steep > at(1, 1)),
            ),
        ),
    )
    return ridge & (steep > EDGE)


def distances(marked: Tensor) -> Tensor:
    """Distance of every pixel to the nearest marked one, in pixels; exact up to 20, and at least 20 where more.

    d(y, x)^2 = min over rows j of (y - j)^2 + min over columns i of (x - i)^2 where (j, i) is marked
    """
    squared = torch.where(marked, 0.0, float(FAR**2))
    for axis in (2, 1):
        best = squared.clone()
        size = squared.shape[axis]
        for k in range(1, min(FAR, size)):
            near = squared.narrow(axis, 0, size - k) + k**2, squared.narrow(axis, k, size - k) + k**2
            best.narrow(axis, k, size - k).copy_(torch.minimum(best.narrow(axis, k, size - k), near[0]))
            best.narrow(axis, 0, size - k).copy_(torch.minimum(best.narrow(axis, 0, size - k), near[1]))
        squared = best
    return squared.sqrt()


def equalised(levels: Float[Tensor, "n h w"]) -> Float[Tensor, "n h w"]:
    """Grey levels 0 .. 255 with a flat histogram, each image by itself; an image of one level stays.

    out = round(255 * (pixels at most this level - pixels at the lowest) / (all pixels - pixels at the lowest))
    """
    flat = levels.flatten(1).long()
    counts = torch.zeros(len(flat), 256, dtype=torch.int64, device=flat.device)
    counts.scatter_add_(1, flat, torch.ones_like(flat))
    lowest = counts.gather(1, flat.amin(1, keepdim=True))
    rest = flat.shape[1] - lowest
    ranks = (counts.cumsum(1) - lowest).gather(1, flat)
    # rounded with halves up, in whole numbers
    spread = torch.where(rest == 0, flat, (510 * ranks + rest) // (2 * rest.clamp(min=1)))
    return spread.reshape(levels.shape).to(levels)
