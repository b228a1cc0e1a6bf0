"""Every candidate at an equal share of the level."""

import numpy as np
from jaxtyping import Bool, Float64

from prudent.procedures._checks import checked


def bonferroni(p_values: Float64[np.ndarray, " candidates"], *, delta: float) -> Bool[np.ndarray, " candidates"]:
    """Reject each candidate whose p-value is at most an equal share of delta.

        rejected_j = p_j <= delta / m,    m = number of candidates

    Needs no order. `holm` rejects at least as much under the same assumptions, which are none.

    Args:
        p_values: (candidates,) of H0 "risk > alpha", in [0, 1]; NaN counts as 1.
        delta: tolerated chance of any wrong claim, in (0, 1).

    Returns: (candidates,), True = certified.

    Raises:
        BadInput: no candidates, p-values outside [0, 1], delta outside (0, 1).

    Source: Dunn 1961, "Multiple Comparisons Among Means" (arXiv: none).
    """
    p = checked(p_values, delta)
    rejected: Bool[np.ndarray, " candidates"] = p <= delta / len(p)
    return rejected
