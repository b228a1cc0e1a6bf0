"""Pixelation: a small image, enlarged."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import one_hot

from prudent.draws import Draws

CIFAR = (0.95, 0.9, 0.85, 0.75, 0.65)
IMAGENET = (0.6, 0.5, 0.4, 0.3, 0.25)


def pixelate(
    inputs: Float[Tensor, "n c h w"],
    strength: float,
    draws: Draws,  # noqa: ARG001 (the contract's)
) -> Float[Tensor, "n c h w"]:
    """Reduced to means of boxes of pixels, and enlarged to the size it had by repeating them.

        a line of `size` pixels becomes one of small = int(strength * size), at least 1
        mean of the pixels whose middle is in ((i size/small), (i + 1) size/small], and back: the nearest

    Args:
        inputs: (n, c, h, w) in [0, 1]. Not changed.
        strength: small / size.
        draws: not used.

    Returns: (n, c, h, w) in [0, 1].

    Source: Hendrycks, Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", arXiv:1903.12261, and their published code. There it is done by Pillow's box filter, which is
    followed, except that nothing is rounded to 8 bits.
    """
    (rows, down), (columns, across) = (boxes(size, max(1, int(strength * size))) for size in inputs.shape[2:])
    small = (rows.to(inputs) @ (inputs @ columns.T.to(inputs))).clamp_(0, 1)
    # numbers are repeated along a line by a matrix of zeros and ones, which is faster than picking them
    repeat = one_hot(across, len(columns)).T.to(inputs)
    return (small @ repeat).index_select(2, down.to(inputs.device))


def boxes(size: int, small: int) -> tuple[Float[Tensor, "small size"], Int64[Tensor, " size"]]:
    """The matrix that reduces a line of `size` pixels to `small` (float64, rows sum to 1), and which shows where."""
    middles = torch.arange(size, dtype=torch.float64) + 0.5
    edges = torch.arange(small, dtype=torch.float64)[:, None] * (size / small)
    reduce = ((middles > edges) & (middles <= edges + size / small)).double()
    return reduce / reduce.sum(1, keepdim=True), (middles * (small / size)).ceil().long() - 1
