"""Ranks of order statistics that are, with a guarantee, not below a quantile or a new value."""

import math
from fractions import Fraction

import numpy as np
from jaxtyping import Float64

from prudent.errors import BadInput


def conformal_rank(n: int, *, alpha: float) -> int | None:
    """Which of n sorted scores a new, exchangeable score exceeds with probability at most alpha.

        rank = ceil((n + 1) (1 - alpha))

    Args:
        n: number of scores, at least 1.
        alpha: tolerated chance that the new score is larger, in (0, 1), taken as the decimal it is written as:
            10 * (1 - 0.1) is 9, and no larger.

    Returns: rank in 1 .. n, 1 = the smallest score; None if it would exceed n, that is if only infinity will do.

    Raises:
        BadInput: n below 1, alpha outside (0, 1).

    Source: Vovk, Gammerman, Shafer 2005, "Algorithmic Learning in a Random World"; Angelopoulos, Bates 2021, "A Gentle
    Introduction to Conformal Prediction", arXiv:2107.07511, section 1.
    """
    _check(n, "alpha", alpha)
    rank = math.ceil((n + 1) * (1 - Fraction(repr(float(alpha)))))
    return rank if rank <= n else None


def conformal_quantile(scores: Float64[np.ndarray, " n"], *, alpha: float) -> float:
    """The score that a new, exchangeable one exceeds with probability at most alpha; infinity if n is too small.

    Args:
        scores: (n,), any finite numbers.
        alpha: tolerated chance that the new score is larger, in (0, 1).

    Returns: one of the scores, by selection and without interpolation, or infinity.

    Raises:
        BadInput: no scores, NaN or infinite ones, alpha outside (0, 1).

    Source: as `conformal_rank`.
    """
    values = np.asarray(scores)
    if values.ndim != 1 or values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise BadInput(f"scores are finite numbers of shape (n,); got shape {values.shape}, or NaN or infinite ones")
    rank = conformal_rank(len(values), alpha=alpha)
    return math.inf if rank is None else float(np.partition(values, rank - 1)[rank - 1])


def _check(n: int, name: str, value: float) -> None:
    if n < 1:
        raise BadInput(f"at least one score is needed; got n = {n}")
    if not 0 < value < 1:
        raise BadInput(f"{name} lies in (0, 1); got {value}")
