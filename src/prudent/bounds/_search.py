"""The smallest tolerated risk that is rejected."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

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
