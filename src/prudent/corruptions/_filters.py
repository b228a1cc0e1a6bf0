"""What several corruptions filter images with: edges, Gaussians, streaks, zooms, places between pixels."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def mirrored(places: Int64[Tensor, "..."], size: int, *, twice: bool) -> Int64[Tensor, "..."]:
    """Places outside of 0 .. size - 1, seen in mirrors at both ends.

    twice: d c b a | a b c d | d c b a    (mirrors between pixels; SciPy's "reflect")
    once:  d c b | a b c d | c b a        (mirrors on the pixels at the ends; OpenCV's default)
    """
    period = 2 * size if twice else max(1, 2 * size - 2)
    turned = places.remainder(period)
    return torch.minimum(turned, period - 1 - turned if twice else period - turned) if size > 1 else turned * 0


def gaussian_kernel(sigma: float, truncate: float) -> Float[Tensor, " k"]:
    """Weights of a Gaussian at -radius .. radius, summing to 1, in float64; radius is truncate * sigma, rounded."""
    radius = int(truncate * sigma + 0.5)
    places = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.exp(-(places**2) / (2 * sigma**2)) if radius else torch.ones(1, dtype=torch.float64)
    return weights / weights.sum()


def smooth(
    images: Float[Tensor, "*n h w"], sigma: float, *, truncate: float = 4.0, mirror: bool = False
) -> Float[Tensor, "*n h w"]:
    """Gaussian blur.

    Args:
        images: (..., h, w) of any size, also smaller than the kernel.
        sigma: in pixels, >= 0; 0 changes nothing.
        truncate: where the kernel ends, in sigmas.
        mirror: beyond an edge are the pixels inside of it, mirrored; else the pixel at the edge again.
    """
    kernel = gaussian_kernel(sigma, truncate).to(images.device)
    rows, columns = (_band(kernel, size, mirror=mirror).to(images.dtype) for size in images.shape[-2:])
    return rows @ images @ columns.T


def _band(kernel: Tensor, size: int, *, mirror: bool) -> Tensor:
    """The matrix (size, size) that filters a line of pixels, edges included: exact whatever the kernel's length."""
    radius = len(kernel) // 2
    here = torch.arange(size, device=kernel.device)
    seen = here[:, None] + torch.arange(-radius, radius + 1, device=kernel.device)
    seen = mirrored(seen, size, twice=True) if mirror else seen.clamp(0, size - 1)
    weights = kernel.expand(size, -1)
    return torch.zeros(size, size, dtype=kernel.dtype, device=kernel.device).scatter_add_(1, seen, weights)


def streak(
    images: Float[Tensor, "n c h w"], radius: int, sigma: float, degrees: Float[Tensor, " n"]
) -> Float[Tensor, "n c h w"]:
    """Motion blur: half a Gaussian along a line that starts at each pixel. Beyond an edge is the pixel at the edge.

        out(x, y) = sum over i = 0 .. 2 radius of k(i) in(x + round(i cos a), y + round(i sin a)),
        k(i) proportional to exp(-i^2 / (2 sigma^2)), halves rounded down

    Args:
        images: (n, c, h, w).
        radius, sigma: in pixels.
        degrees: (n,) the angle a of each image.
    """
    n, channels, height, width = images.shape
    kernel = torch.exp(-(torch.arange(2 * radius + 1, dtype=torch.float64) ** 2) / (2 * sigma**2))
    kernel /= kernel.sum()
    angle = torch.deg2rad(degrees.double())
    rows = torch.arange(height, device=images.device)[None, :, None]
    columns = torch.arange(width, device=images.device)[None, None, :]
    flat = images.flatten(2)
    out = torch.zeros_like(flat)
    for i, weight in enumerate(kernel.tolist()):
        down, right = (torch.ceil(i * way - 0.5).long()[:, None, None] for way in (angle.sin(), angle.cos()))
        places = (rows + down).clamp(0, height - 1) * width + (columns + right).clamp(0, width - 1)
        out += weight * flat.gather(2, places.reshape(n, 1, -1).expand(-1, channels, -1))
    return out.reshape(images.shape)


def zoomed(images: Float[Tensor, "*n h w"], factor: float) -> Float[Tensor, "*n h w"]:
    """The middle of each image, enlarged to the image's size by linear interpolation.

    Of a line of `size` pixels the middle ceil(size / factor) are stretched to round(that * factor), first pixel on
    first and last on last, and what is more than `size` is cut off at both ends.
    """
    rows, columns = (_zoom(size, factor).to(images) for size in images.shape[-2:])
    return rows @ images @ columns.T


def _zoom(size: int, factor: float) -> Tensor:
    """The matrix (size, size) that enlarges the middle of a line of pixels."""
    crop = math.ceil(size / factor)
    whole = round(crop * factor)
    step = (crop - 1) / max(1, whole - 1)
    places = (torch.arange(size, dtype=torch.float64) + (whole - size) // 2) * step
    low = places.floor().long().clamp(0, crop - 1)
    part = places - low
    top = (size - crop) // 2
    matrix = torch.zeros(size, size, dtype=torch.float64)
    matrix.scatter_add_(1, (top + low)[:, None], (1 - part)[:, None])
    return matrix.scatter_add_(1, (top + (low + 1).clamp(max=crop - 1))[:, None], part[:, None])


def between(
    images: Float[Tensor, "n c h w"], y: Float[Tensor, "n h w"], x: Float[Tensor, "n h w"], *, twice: bool
) -> Float[Tensor, "n c h w"]:
    """Images at places between pixels, by bilinear interpolation; beyond an edge they are mirrored (see `mirrored`).

    Args:
        images: (n, c, h, w).
        y, x: (n, h, w) where each pixel of the result is taken from, in rows and columns.
        twice: which mirror.
    """
    n, channels, height, width = images.shape
    top, left = y.floor(), x.floor()
    down, right = ((line - start).reshape(n, 1, -1) for line, start in ((y, top), (x, left)))
    rows = [_mirrored(top + below, height, twice=twice).long() * width for below in (0, 1)]
    columns = [_mirrored(left + beside, width, twice=twice).long() for beside in (0, 1)]
    flat = images.flatten(2)

    def seen(row: Tensor, column: Tensor) -> Tensor:
        return flat.gather(2, (row + column).reshape(n, 1, -1).expand(-1, channels, -1))

    above, below = (seen(row, columns[0]).lerp_(seen(row, columns[1]), right) for row in rows)
    return above.lerp_(below, down).reshape(images.shape)


def _mirrored(places: Float[Tensor, "..."], size: int, *, twice: bool) -> Float[Tensor, "..."]:
    """`mirrored` of whole numbers held as floats, whose division is many times as fast as that of integers."""
    if size == 1:
        return torch.zeros_like(places)
    period = 2 * size if twice else 2 * size - 2
    turned = places - (places / period).floor_().mul_(period)
    return torch.minimum(turned, (period - 1 if twice else period) - turned)
