"""A certificate for the expected calibration error: not the mean of a loss, but stable when one example changes."""

import math

import numpy as np
from jaxtyping import Float64, Int64

from prudent.errors import BadInput


def binned_error(residuals: Float64[np.ndarray, " n"], bins: Int64[np.ndarray, " n"]) -> float:
    """Sum over bins of |sum of the residuals in it| / n: the expected calibration error, in [0, 1], lower is better.

    Args:
        residuals: (n,) confidence minus correctness, each in [-1, 1].
        bins: (n,) the bin of each, 0 or more.
    """
    sums = np.bincount(bins, weights=residuals)
    return float(np.abs(sums).sum() / len(residuals))


def calibration_p_value(residuals: Float64[np.ndarray, " n"], bins: Int64[np.ndarray, " n"], alpha: float) -> float:
    """McDiarmid's p-value of H0 "the expected calibration error in these bins exceeds alpha".

        p = exp(-n max(0, alpha - ECE)^2 / 2)

    One example changes the empirical ECE by at most 2 / n, and by Jensen its mean is at least the true ECE: so the
    chance that it lies t below that is at most exp(-2 t^2 / (n (2/n)^2)), for any number of bins fixed beforehand.

    Args:
        residuals: (n,) confidence minus correctness, each in [-1, 1], of independent examples.
        bins: (n,) the bin of each; which one an example falls into depends on that example alone.
        alpha: tolerated calibration error, in (0, 1).

    Returns: the p-value, in (0, 1]; lower = stronger evidence that the calibration error is at most alpha.

    Raises:
        BadInput: no examples, residuals outside [-1, 1], lengths that differ, alpha outside (0, 1).

    Source: McDiarmid 1989, "On the method of bounded differences"; as a certificate for calibration our own.
    """
    if residuals.ndim != 1 or len(residuals) == 0 or bins.shape != residuals.shape:
        raise BadInput(f"calibration needs (n,) residuals and bins, n >= 1; got {residuals.shape} and {bins.shape}")
    if not (np.abs(residuals) <= 1).all():
        raise BadInput("residuals of calibration lie in [-1, 1]: confidence minus correctness; some do not, or are NaN")
    if not 0 < alpha < 1:
        raise BadInput(f"alpha lies in (0, 1); got {alpha}")
    return math.exp(-len(residuals) * max(0.0, alpha - binned_error(residuals, bins)) ** 2 / 2)
