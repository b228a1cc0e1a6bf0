"""What every bound demands of its input."""

import numpy as np
from jaxtyping import Float64

from prudent.errors import BadInput


def check_losses(losses: Float64[np.ndarray, " n"], alpha: float) -> None:
    """Refuse no losses, losses outside [0, 1] or NaN, and alpha outside (0, 1)."""
    if losses.ndim != 1 or len(losses) == 0:
        raise BadInput(f"a bound needs losses of shape (n,) with n >= 1; got shape {losses.shape}")
    if not ((losses >= 0) & (losses <= 1)).all():
        raise BadInput(f"losses lie in [0, 1]; got {np.nanmin(losses)} .. {np.nanmax(losses)} or NaN")
    if not 0 < alpha < 1:
        raise BadInput(f"alpha lies in (0, 1); got {alpha}")
