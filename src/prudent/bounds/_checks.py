"""What every bound demands of its input."""

import numpy as np
from jaxtyping import Float64

from prudent.errors import BadInput


def check_losses(losses: Float64[np.ndarray, " n"], alpha: float) -> None:
    """Refuse no losses, losses outside [0, 1] or NaN, and alpha outside (0, 1)."""
    if losses.ndim != 1 or len(losses) == 0:
        raise BadInput(f"a bound needs losses of shape (n,) with n >= 1; got shape {losses.shape}")
    check_range(losses)
    if not 0 < alpha < 1:
        raise BadInput(f"alpha lies in (0, 1); got {alpha}")


def check_range(losses: Float64[np.ndarray, "..."]) -> None:
    """Refuse losses outside [0, 1] or NaN."""
    if not ((losses >= 0) & (losses <= 1)).all():
        # unlike nanmin, without a warning where all are NaN
        least, most = np.fmin.reduce(losses, axis=None), np.fmax.reduce(losses, axis=None)
        raise BadInput(f"losses lie in [0, 1]; got {least} .. {most} or NaN")


def check_binary(losses: Float64[np.ndarray, "..."], name: str, *, instead: str = "hoeffding_bentkus") -> None:
    """Refuse losses other than 0 and 1, for the bound `name`, which is not valid for them; `instead` is."""
    if not is_binary(losses):
        raise BadInput(f"{name} is valid for losses of 0 and 1 only; for losses in between use {instead}")


def check_delta(delta: float) -> None:
    """Refuse a chance of error outside of (0, 1)."""
    if not 0 < delta < 1:
        raise BadInput(f"delta lies in (0, 1); got {delta}")


def is_binary(losses: Float64[np.ndarray, "..."]) -> bool:
    """Whether every loss is exactly 0 or 1."""
    return bool(((losses == 0) | (losses == 1)).all())
