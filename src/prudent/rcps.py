"""Risk-controlling prediction sets: how bold may a family of candidates be, by upper bounds of their risks."""

import numpy as np
from jaxtyping import Float64

from prudent.errors import BadInput


def last_controlled(upper_bounds: Float64[np.ndarray, " candidates"], *, alpha: float) -> int | None:
    """The boldest candidate that is reached from the conservative end before an upper bound exceeds alpha.

        selected = max { j : u_i <= alpha for all i <= j }

    If each u_j by itself lies above its candidate's risk with probability at least 1 - delta, then
    P(risk of the selected candidate <= alpha) >= 1 - delta. Neither the risks nor the bounds need be monotone: a
    candidate whose bound is below alpha behind one whose bound is not is never selected.

    Args:
        upper_bounds: (candidates,) one-sided upper confidence bounds at level 1 - delta each, conservative candidates
            first, an order fixed beforehand; NaN where there is none, which ends the walk. They may exceed 1.
        alpha: tolerated risk, in (0, 1).

    Returns: index of the boldest controlled candidate, None if not even the most conservative one is controlled.

    Raises:
        BadInput: no candidates, negative bounds, alpha outside (0, 1).

    Source: Bates et al. 2021, "Distribution-Free, Risk-Controlling Prediction Sets", arXiv:2101.02703.
    There u < alpha and a family whose risk is monotone; on a list of candidates the argument of fixed sequences allows
    equality and any risks.
    """
    u = np.asarray(upper_bounds)
    if u.ndim != 1 or u.size == 0 or u.dtype.kind not in "biuf":
        raise BadInput(f"upper bounds have shape (candidates,), at least one; got shape {u.shape} and dtype {u.dtype}")
    if (u < 0).any():
        raise BadInput(f"an upper bound of a risk is not negative; got {np.nanmin(u)}")
    if not 0 < alpha < 1:
        raise BadInput(f"alpha lies in (0, 1); got {alpha}")
    controlled = np.logical_and.accumulate(u <= alpha)
    return int(np.count_nonzero(controlled)) - 1 if controlled[0] else None
