"""Fixed sequences from several starts, which share the level."""

import operator
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64

from prudent.errors import BadInput
from prudent.procedures._checks import checked


def fixed_sequence_starts(
    p_values: Float64[np.ndarray, " candidates"], *, delta: float, starts: Sequence[int] | None = None
) -> Bool[np.ndarray, " candidates"]:
    """Reject candidates in the order given, from several starts that share delta; walks that meet go on together.

        level_j    = delta (s_j + w_j) / S,    s_j = 1 at a start else 0,    S = number of starts
        w_{j+1}    = s_j + w_j if p_j <= level_j else 0,    w_1 = 0
        rejected_j = p_j <= level_j and level_j > 0

    One start early in the sequence protects against a candidate that fails by chance, or because the risk is not
    monotone; it costs power, since no walk has the whole level until all have met.

    Args:
        p_values: (candidates,) of H0 "risk > alpha", in [0, 1], in the order of testing; NaN counts as 1.
        delta: tolerated chance of any wrong claim, in (0, 1).
        starts: positions in 0 .. candidates - 1 at which walks begin, each once, fixed without the examples that the
            p-values come from. By default the first candidate and the one in the middle.

    Returns: (candidates,), True = certified.

    Raises:
        BadInput: no starts, starts that are no positions or come twice, no candidates, p-values outside [0, 1], delta
            outside (0, 1).

    Source: Angelopoulos et al. 2021, "Learn then Test", arXiv:2110.01052, section 2.2, where walks never join. That
    they may is Wiens 2003, "A fixed sequence Bonferroni procedure for testing multiple endpoints", and a case of Bretz
    et al. 2009, "A graphical approach to sequentially rejective multiple test procedures".
    """
    p = checked(p_values, delta)
    first = _positions(starts, len(p))
    rejected = np.zeros(len(p), dtype=np.bool_)
    # whole shares are counted and divided before delta comes in, so that walks which have all met hold exactly delta
    carried = 0
    for j in range(len(p)):
        held = carried + (j in first)
        # p-values that underflowed to 0 must not pass where no walk stands
        rejected[j] = held > 0 and p[j] <= delta * (held / len(first))
        carried = held if rejected[j] else 0
    return rejected


def _positions(starts: Sequence[int] | None, candidates: int) -> frozenset[int]:
    """The starts, if each is a position and none comes twice."""
    if starts is None:
        return frozenset({0, candidates // 2})
    try:
        places = [operator.index(s) for s in starts]
    except TypeError as error:
        raise BadInput(f"starts are positions of candidates, whole numbers; got {starts!r}") from error
    if not places or len(set(places)) != len(places) or min(places) < 0 or max(places) >= candidates:
        raise BadInput(f"starts are different positions in 0 .. {candidates - 1}, at least one; got {places}")
    return frozenset(places)
