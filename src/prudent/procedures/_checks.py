"""What every procedure demands of its input."""

import numpy as np
from jaxtyping import Float64

from prudent.errors import BadInput


def checked(p_values: Float64[np.ndarray, " candidates"], delta: float) -> Float64[np.ndarray, " candidates"]:
    """The p-values with undefined ones as 1; refuses none at all, values outside [0, 1], delta outside (0, 1)."""
    given = np.asarray(p_values)
    if given.ndim != 1 or given.size == 0 or given.dtype.kind not in "biuf":
        raise BadInput(
            f"a procedure needs one p-value for each of at least one candidate, shape (candidates,); got shape "
            f"{given.shape} and dtype {given.dtype}"
        )
    if not 0 < delta < 1:
        raise BadInput(f"delta lies in (0, 1); got {delta}")
    # undefined p-values are evidence for nothing, and comparisons with NaN or its place in a sort must not matter
    known: Float64[np.ndarray, " candidates"] = np.where(np.isnan(given), 1.0, given).astype(np.float64)
    if not ((known >= 0) & (known <= 1)).all():
        raise BadInput(f"p-values lie in [0, 1], NaN where undefined; got {known.min()} .. {known.max()}")
    return known
