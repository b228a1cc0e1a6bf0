"""Plasma: a random landscape that fog and frost are made of."""

import torch
from torch import Tensor

from prudent.draws import Draws


def plasma(draws: Draws, height: int, width: int, decay: float) -> Tensor:
    """Random landscapes in [0, 1] by midpoint displacement on a torus (the diamond-square algorithm).

    Each new point is the mean of its four neighbours plus a uniform number in [-1, 1) times 100^2; this amplitude falls
    by decay^2 from each grid to the next finer one. A landscape is stretched to [0, 1] on the smallest square
    of 2^k >= max(height, width) points, of which the upper left corner is taken.

    Args:
        draws: random numbers of n examples.
        height, width: of the landscapes.
        decay: > 1; the smaller, the rougher.

    Returns: (n, height, width).

    Source: Fournier, Fussell, Carpenter 1982, "Computer Rendering of Stochastic Models" (arXiv: none), with the
    amplitudes of Hendrycks, Dietterich 2019, arXiv:1903.12261.
    """
    side = 1 << (max(height, width) - 1).bit_length()
    noise = 2 * draws.uniform(side, side) - 1
    heights = torch.zeros_like(noise)
    step, amplitude = side, 100.0**2
    while step >= 2:
        half = step // 2
        corners = heights[:, ::step, ::step]
        beside, below = corners + corners.roll(-1, 2), corners + corners.roll(-1, 1)
        centres = (beside + beside.roll(-1, 1)) / 4 + amplitude * noise[:, half::step, half::step]
        heights[:, half::step, half::step] = centres
        tops = (centres + centres.roll(1, 1) + beside) / 4
        lefts = (centres + centres.roll(1, 2) + below) / 4
        heights[:, ::step, half::step] = tops + amplitude * noise[:, ::step, half::step]
        heights[:, half::step, ::step] = lefts + amplitude * noise[:, half::step, ::step]
        step, amplitude = half, amplitude / decay**2
    low, high = heights.amin((1, 2), keepdim=True), heights.amax((1, 2), keepdim=True)
    # one single point has no range to be stretched
    return ((heights - low) / (high - low).clamp(min=torch.finfo(heights.dtype).tiny))[:, :height, :width]
