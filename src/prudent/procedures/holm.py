"""From the smallest p-value on, with what the rejected ones leave."""

import numpy as np
from jaxtyping import Bool, Float64

from prudent.procedures._checks import checked


def holm(p_values: Float64[np.ndarray, " candidates"], *, delta: float) -> Bool[np.ndarray, " candidates"]:
    """Reject candidates from the smallest p-value on, dividing delta among those not yet rejected.

        p_(1) <= ... <= p_(m);    the j-th smallest is rejected if p_(i) <= delta / (m - i + 1) for all i <= j

    Needs no order of the candidates and no assumption about their dependence.

    Args:
        p_values: (candidates,) of H0 "risk > alpha", in [0, 1]; NaN counts as 1.
        delta: tolerated chance of any wrong claim, in (0, 1).

    Returns: (candidates,), True = certified.

    Raises:
        BadInput: no candidates, p-values outside [0, 1], delta outside (0, 1).

    Source: Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure" (arXiv: none).
    """
    p = checked(p_values, delta)
    order = np.argsort(p, kind="stable")
    left = np.arange(len(p), 0, -1)
    rejected = np.zeros(len(p), dtype=np.bool_)
    rejected[order] = np.logical_and.accumulate(p[order] <= delta / left)
    return rejected
