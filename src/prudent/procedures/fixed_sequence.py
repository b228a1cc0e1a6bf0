"""Test in the order given, each at the full level, and stop at the first failure."""

import numpy as np
from jaxtyping import Bool, Float64

from prudent.procedures._checks import checked


def fixed_sequence(p_values: Float64[np.ndarray, " candidates"], *, delta: float) -> Bool[np.ndarray, " candidates"]:
    """Reject candidates in the order given, each at level delta, until one is not rejected.

        rejected_j = p_1 <= delta and ... and p_j <= delta

    No correction for the number of candidates: a wrong claim needs the first candidate of too high risk to pass, and
    which one that is does not depend on the examples. The order must be fixed without the examples that the p-values
    come from; sparsity is such an order.

    Args:
        p_values: (candidates,) of H0 "risk > alpha", in [0, 1], in the order of testing; NaN counts as 1.
        delta: tolerated chance of any wrong claim, in (0, 1).

    Returns: (candidates,), True = certified; a prefix of the order.

    Raises:
        BadInput: no candidates, p-values outside [0, 1], delta outside (0, 1).

    Source: Maurer, Hothorn, Lehmacher 1995, "Multiple comparisons in drug clinical trials and preclinical assays:
    a-priori ordered hypotheses"; for risk control Angelopoulos et al. 2021, "Learn then Test", arXiv:2110.01052.
    """
    rejected: Bool[np.ndarray, " candidates"] = np.logical_and.accumulate(checked(p_values, delta) <= delta)
    return rejected
