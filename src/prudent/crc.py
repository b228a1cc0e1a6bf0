"""Conformal risk control: the expected risk of a threshold, bounded without a delta, for monotone losses."""

import math
from fractions import Fraction

import numpy as np
from jaxtyping import Float64

from prudent.errors import BadInput


def adjusted_risks(
    losses: Float64[np.ndarray, "n candidates"], *, largest: float = 1.0
) -> Float64[np.ndarray, " candidates"]:
    """Empirical risks with one more example of the largest loss: what conformal risk control compares with alpha.

        a_j = (L_1j + ... + L_nj + B) / (n + 1)

    Args:
        losses: (n, candidates), each in [0, B].
        largest: B, the largest loss there can be, positive.

    Returns: (candidates,), lower = safer; sums are correctly rounded.

    Raises:
        BadInput: no examples or candidates, losses outside [0, B] or NaN, B not positive.
    """
    values = _checked(losses, largest)
    return np.array([(math.fsum(column) + largest) / (len(values) + 1) for column in values.T])


def control_expected_risk(
    losses: Float64[np.ndarray, "n candidates"], *, alpha: float, largest: float = 1.0
) -> int | None:
    """The least conservative candidate whose expected risk conformal risk control keeps at or below alpha.

        selected = max { j : n/(n+1) R_j + B/(n+1) <= alpha },    R_j = mean loss of candidate j

    E[loss of the selected candidate on a new example] <= alpha, on average over the examples here, too: there is no
    delta, and for the examples at hand the risk may be higher. It needs losses that rise with boldness on every single
    example, as with thresholds; pruned networks are no such family (use `certify`).

    Args:
        losses: (n, candidates), each in [0, B], conservative candidates first; examples exchangeable with new ones.
        alpha: tolerated expected loss, in (0, B).
        largest: B, the largest loss there can be.

    Returns: index of the selected candidate; None if not even the most conservative one is safe, for which there must
    be a way to abstain at no loss.

    Raises:
        BadInput: an example whose loss falls towards bolder candidates, losses outside [0, B] or NaN, no examples or
            candidates, alpha outside (0, B).

    Source: Angelopoulos et al. 2022, "Conformal Risk Control", arXiv:2208.02814. Losses, alpha and B are
    taken as the decimals they are written as, so that equality is decided exactly.
    """
    values = _checked(losses, largest)
    _check_alpha(alpha, largest)
    falling = (np.diff(values, axis=1) < 0).any(axis=1)
    if falling.any():
        raise BadInput(
            "conformal risk control needs losses that never fall from a conservative to a bolder candidate; those of "
            f"{np.count_nonzero(falling)} of {len(values)} examples do (first: {int(falling.argmax())}); use certify"
        )
    limit = _decimal(alpha) * (len(values) + 1) - _decimal(largest)
    safe = [_at_most(column, limit, largest) for column in values.T]
    return sum(safe) - 1 if safe[0] else None


def examples_for_expected_risk(*, alpha: float, largest: float = 1.0) -> int:
    """How many examples conformal risk control needs before it can select anything: the least n with B/(n+1) <= alpha.

    Args:
        alpha: tolerated expected loss, in (0, B).
        largest: B, the largest loss there can be.

    Raises:
        BadInput: alpha outside (0, B).
    """
    _check_alpha(alpha, largest)
    return max(1, math.ceil(_decimal(largest) / _decimal(alpha)) - 1)


def _decimal(value: float) -> Fraction:
    """The decimal number that a float is written as: 0.1 is a tenth."""
    return Fraction(repr(float(value)))


def _at_most(losses: Float64[np.ndarray, " n"], limit: Fraction, largest: float) -> bool:
    """Whether the sum of the losses, as decimals, is at most `limit`."""
    gap = math.fsum(losses) - float(limit)
    # sums of tenths can meet the limit, where floats would decide by their last bit; elsewhere floats are enough
    if abs(gap) > 1e-15 * (len(losses) + 1) * largest:
        return gap < 0
    return sum(map(_decimal, losses), Fraction()) <= limit


def _checked(losses: object, largest: float) -> Float64[np.ndarray, "n candidates"]:
    if not 0 < largest < math.inf:
        raise BadInput(f"the largest loss is positive and finite; got {largest}")
    values = np.asarray(losses)
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "biuf":
        raise BadInput(f"losses are numbers (n, candidates), at least one of each; got shape {values.shape}")
    # written so that NaN fails it too
    if not ((values >= 0) & (values <= largest)).all():
        raise BadInput(f"losses lie in [0, {largest}]; got {values.min()} .. {values.max()}")
    return values.astype(np.float64)


def _check_alpha(alpha: float, largest: float) -> None:
    if not 0 < alpha < largest:
        raise BadInput(f"alpha lies in (0, {largest}), below the largest loss; got {alpha}")
