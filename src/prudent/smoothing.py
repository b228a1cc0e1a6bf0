"""Calibration errors without bins: a smoothed residual, and a kernel over pairs of predictions."""

import numpy as np
from jaxtyping import Bool, Float64

from prudent.calibration import check_confidence
from prudent.errors import BadInput
from prudent.types import Predictions

CELLS = 2**14
"""Into how many cells [0, 1] is divided. Widths below a few cells are not resolved."""

BLOCK = 2**21
"""How many pairs of predictions are looked at together."""


def smooth_ece(confidence: Float64[np.ndarray, " n"], correct: Bool[np.ndarray, " n"]) -> float:
    """Smooth calibration error: the residual smoothed over as wide a range as the error itself; lower is better.

        the s with s = E(s),    E(s) = `error_at_width` with Gaussian width s

    E falls with s, so there is one such s. No number of bins has to be chosen, and a small change of the confidences
    changes it little.

    Args:
        confidence: (n,) in [0, 1]; of predictions, `calibration_variants.top_label(predictions)` gives both.
        correct: (n,) whether each prediction was right.

    Returns: in [0, 1]; below 0.001 only to within 0.0002.

    Raises:
        BadInput: no predictions, lengths that differ, confidence outside [0, 1] or NaN.

    Source: Blasiok, Nakkiran 2023, "Smooth ECE: Principled Reliability Diagrams via Kernel Smoothing",
    arXiv:2309.12236, definition 3. Reflecting a Gaussian at 0 and 1 only damps the cosines, which is how it is
    computed here.
    """
    waves = _waves(confidence, correct)
    low, high = 0.0, 1.0
    while high - low > 1e-10:
        middle = (low + high) / 2
        if _smoothed(waves, middle) >= middle:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def error_at_width(confidence: Float64[np.ndarray, " n"], correct: Bool[np.ndarray, " n"], *, width: float) -> float:
    """Calibration error of the residual smoothed with a Gaussian of one width; lower is better.

        E(s) = int_0^1 |1/n sum_i K_s(t, f_i) (f_i - y_i)| dt

    K_s: the Gaussian density of standard deviation s, reflected at 0 and 1 as often as it takes.

    Args:
        confidence: (n,) f in [0, 1].
        correct: (n,) y.
        width: s > 0.

    Returns: in [0, 1].

    Raises:
        BadInput: width not positive, no predictions, lengths that differ, confidence outside [0, 1] or NaN.

    Source: see `smooth_ece`.
    """
    if not 0 < width < float("inf"):
        raise BadInput(f"a Gaussian needs a positive width; got {width}")
    return _smoothed(_waves(confidence, correct), width)


def kernel_calibration_error(predictions: Predictions, *, width: float = 0.4) -> float:
    """Squared kernel calibration error of all class probabilities, estimated without bias; lower is better.

        2 / (n (n - 1)) sum over i < j of (y_i - p_i) . (y_j - p_j) exp(-|p_i - p_j| / width)

    y is 1 at the true class, |.| the Euclidean norm. Its mean is 0 for a calibrated network, so it may be negative and
    is given as it is. The work grows with n^2, the memory with n: 10,000 examples take a second or two.

    Args:
        predictions: with labels, n >= 2.
        width: of the kernel, > 0. Compare networks with the same one; it is not fitted to the network here.

    Returns: in [-2, 2].

    Raises:
        BadInput: predictions without labels, a single example, width not positive.

    Source: Widmann, Lindsten, Zachariah 2019, "Calibration tests in multi-class classification: A unifying framework",
    arXiv:1910.11385, the quadratic unbiased estimator SKCE_uq; the kernel of Kumar et al. 2018 (MMCE).
    """
    if predictions.labels is None:
        raise BadInput("this needs true labels; these predictions have none (labels=None)")
    n, said = predictions.n, predictions.probabilities
    if n < 2:
        raise BadInput("pairs of examples are compared; these predictions have one example")
    if not 0 < width < float("inf"):
        raise BadInput(f"a kernel needs a positive width; got {width}")
    residual = -said
    residual[np.arange(n), predictions.labels] += 1
    squares, total = np.square(said).sum(axis=1), 0.0
    step = max(1, BLOCK // n)
    for start in range(0, n, step):
        rows = slice(start, start + step)
        apart = squares[rows, None] + squares - 2 * (said[rows] @ said.T)
        near = np.exp(-np.sqrt(np.maximum(apart, 0)) / width)
        own = np.arange(len(near))
        near[own, start + own] = 0
        total += float((near * (residual[rows] @ residual.T)).sum())
    return total / (n * (n - 1))


def _waves(confidence: Float64[np.ndarray, " n"], correct: Bool[np.ndarray, " n"]) -> Float64[np.ndarray, " waves"]:
    check_confidence(confidence, correct)
    # each residual is shared by the two nodes beside it, which keeps its place on average
    place = confidence * CELLS
    left = np.minimum(place.astype(np.int64), CELLS - 1)
    share, residual = place - left, confidence - correct
    nodes: Float64[np.ndarray, " waves"] = np.bincount(left, weights=residual * (1 - share), minlength=CELLS + 1)
    nodes += np.bincount(left + 1, weights=residual * share, minlength=CELLS + 1)
    nodes[1:-1] /= 2
    return _cosines(nodes) / len(confidence)


def _smoothed(waves: Float64[np.ndarray, " waves"], width: float) -> float:
    damped = waves * np.exp(-np.square(np.pi * width * np.arange(CELLS + 1)) / 2)
    height = np.abs(_cosines(damped))
    return float((height[:-1] + height[1:]).sum() / (2 * CELLS))


def _cosines(values: Float64[np.ndarray, " waves"]) -> Float64[np.ndarray, " waves"]:
    # x_0 + (-1)^k x_last + 2 sum of the others times cos(pi k j / CELLS)
    result: Float64[np.ndarray, " waves"] = np.fft.rfft(np.concatenate([values, values[-2:0:-1]])).real
    return result
