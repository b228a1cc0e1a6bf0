"""Several risks, or the risks of several groups, in one claim."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from prudent.errors import BadInput


@dataclass(frozen=True, kw_only=True, eq=False)
class JoinedRisks:
    """What `join_risks` found.

    Args:
        p_values: (candidates,) of H0 "at least one of the risks is above its alpha", NaN nowhere.
        binding: (candidates,) index of the risk that each p-value comes from: the one hardest to show.
    """

    p_values: Float64[np.ndarray, " candidates"]
    binding: Int64[np.ndarray, " candidates"]


def join_risks(p_values: Float64[np.ndarray, "risks candidates"]) -> JoinedRisks:
    """The p-values of "all risks are controlled" by the intersection-union test, and which risk binds.

        p_j = max over r of p_rj

    The claim is wrong if any one risk is too high, and then already that risk's p-value is rarely small: no correction
    for the number of risks, whatever their dependence. The same holds for groups, and for a risk measured in two ways.
    It does not allow to claim afterwards only those risks that passed: that is a choice, and needs a procedure.

    Args:
        p_values: (risks, candidates) of H0 "risk r of candidate j is above its alpha", in [0, 1]; NaN, such as for a
            group without examples, counts as 1.

    Returns: p-values (candidates,), lower = stronger evidence that all are controlled, with the binding risk; the first
    of several that tie.

    Raises:
        BadInput: no risks or candidates, p-values outside [0, 1].

    Source: Berger 1982, "Multiparameter Hypothesis Testing and Acceptance Sampling"; for risk control Angelopoulos et
    al. 2021, "Learn then Test", arXiv:2110.01052.
    """
    given = np.asarray(p_values)
    if given.ndim != 2 or 0 in given.shape or given.dtype.kind not in "biuf":
        raise BadInput(f"p-values of several risks have shape (risks, candidates), at least one; got {given.shape}")
    known = np.where(np.isnan(given), 1.0, given).astype(np.float64)
    if not ((known >= 0) & (known <= 1)).all():
        raise BadInput(f"p-values lie in [0, 1], NaN where undefined; got {known.min()} .. {known.max()}")
    return JoinedRisks(p_values=known.max(axis=0), binding=known.argmax(axis=0).astype(np.int64))
