"""Glass blur: what frosted glass does, by moving pixels about."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from prudent.corruptions._filters import smooth
from prudent.draws import Draws

CIFAR = ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2))
IMAGENET = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))


def glass_blur(
    inputs: Float[Tensor, "n c h w"], strength: tuple[float, int, int], draws: Draws
) -> Float[Tensor, "n c h w"]:
    """A Gaussian blur, pixels that are replaced by others nearby, and the same blur again.

        pixel (y, x), from the last to the first, at least `reach` from the edges:
        becomes pixel (y + dy, x + dx) as that is by then,    dy, dx uniform in -reach .. reach - 1

    Args:
        inputs: (n, c, h, w) in [0, 1]. Not changed.
        strength: sigma of the blur in pixels, reach in pixels, rounds of replacing.
        draws: random numbers of each example.

    Returns: (n, c, h, w) in [0, 1].

    Source: Hendrycks, Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", arXiv:1903.12261, and their published code. There pixels were to be swapped, but one of the two
    is overwritten before it is read. The published sets hold the result of that, and so it is what is done here.
    Nothing is rounded to 8 bits.
    """
    sigma, reach, rounds = strength
    images = smooth(inputs, sigma)
    height, width = images.shape[-2:]
    for _ in range(rounds):
        shifts = draws.integers(-reach, reach, 2, height, width)
        sources = replaced_by(shifts, reach).unsqueeze(1).expand(-1, images.shape[1], -1)
        images = images.flatten(2).gather(2, sources).reshape(images.shape)
    return smooth(images, sigma).clamp(0, 1)


def replaced_by(shifts: Int64[Tensor, "n 2 h w"], reach: int) -> Int64[Tensor, "n hw"]:
    """Which pixel of the image each pixel shows after one round of replacing.

    A pixel that is replaced by one that came earlier shows what that one shows; by one that comes later, what was there
    at the start. So the answer is at the end of a chain of earlier pixels, and all chains are followed at once by
    doubling the steps: no loop over pixels.
    """
    n, _, height, width = shifts.shape
    total = height * width
    rows, columns = torch.arange(height, device=shifts.device), torch.arange(width, device=shifts.device)
    inside = ((rows > reach) & (rows <= height - reach))[:, None] & ((columns > reach) & (columns <= width - reach))
    own = torch.arange(total, device=shifts.device)
    moved = (own + (shifts[:, 0] * width + shifts[:, 1]).reshape(n, total)) * inside.reshape(-1)
    target = torch.where(inside.reshape(-1), moved, own)
    earlier = (target > own) & inside.reshape(-1)[target]
    # links below total lead on; from total on they are what was there at the start, and lead to themselves
    links = torch.cat([torch.where(earlier, target, target + total), (own + total).expand(n, -1)], dim=1)
    while bool((links[:, :total] < total).any()):
        links = links.gather(1, links)
    return links[:, :total] - total
