"""Searches that every bound shares: the smallest tolerated risk that is rejected, and the largest counts."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from jaxtyping import Int64

from prudent.bounds._sums import Numbers

HALVINGS = 45
"""How often (0, 1) is halved: what is found lies at most 2^-45, about 3e-14, above the exact value."""


def smallest_rejected(
    rejects: Callable[[Numbers], npt.NDArray[np.bool_]], shape: tuple[int, ...] = ()
) -> npt.NDArray[np.float64]:
    """The smallest alpha in (0, 1] that is rejected, for many at a time; never too small.

    What comes back was itself found to be rejected, or is 1, which needs no evidence.

    Args:
        rejects: tells of an array of alphas of this shape which are rejected. One that is rejected stays so for every
            larger alpha.
        shape: of the array.
    """
    low, high = np.zeros(shape), np.ones(shape)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        rejected = rejects(middle)
        low, high = np.where(rejected, low, middle), np.where(rejected, middle, high)
    return np.asarray(high)


Counts = Int64[np.ndarray, " k"]


def largest_counts(holds: Callable[[Counts], np.ndarray], most: Counts) -> Counts:
    """For each entry the largest k in 0 .. most for which a condition holds that only small k meet; -1 if none does.

    Args:
        holds: tells of one count for each entry whether the condition holds there.
        most: (entries,) the largest count of each.
    """
    low, high = np.full(len(most), -1), most + 1
    while (high - low > 1).any():
        middle = (low + high) // 2
        # ends of finished entries are not asked about again: -1 and most + 1 are no counts
        open_ = high - low > 1
        met = holds(np.where(open_, middle, 0)) & open_
        low, high = np.where(met, middle, low), np.where(open_ & ~met, middle, high)
    return low
