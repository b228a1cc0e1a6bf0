"""Is the network right as often as it says? Errors of predicted probabilities, in float64."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64

from prudent.errors import BadInput
from prudent.types import Predictions, log_softmax

BLOCK = 2**16
"""How many logits or confidences are looked at together: what fits into a processor's own memory."""


def nll(predictions: Predictions) -> float:
    """Negative log likelihood: mean of -ln p(true class), in nats, >= 0, lower is better.

    With members, p is the mean of their probabilities.
    """
    labels, total = _labels(predictions), 0.0
    step = max(1, BLOCK // (predictions.classes * (predictions.members or 1)))
    for start in range(0, predictions.n, step):
        part = labels[start : start + step]
        each = _log_likelihood(predictions.logits[..., start : start + step, :], part)
        if predictions.members is not None:
            each = np.logaddexp.reduce(each, axis=0) - np.log(predictions.members)
        total -= float(each.sum())
    return total / predictions.n + 0.0  # no -0.0


def _log_likelihood(logits: np.ndarray, labels: np.ndarray) -> Float64[np.ndarray, "*members k"]:
    """ln p(true class) = -ln(1 + sum over the others of e^(z_j - z_y)), which reads the logits once."""
    at = (..., np.arange(len(labels)), labels)
    apart = np.subtract(logits, logits[at][..., None], dtype=np.float64)
    with np.errstate(over="ignore"):  # to infinity, where the true class is beyond all hope: those are done again
        np.exp(apart, out=apart)
    apart[at] = 0
    each: Float64[np.ndarray, "*members k"] = -np.log1p(apart @ np.ones(logits.shape[-1]))
    lost = np.isinf(each)
    if lost.any():
        again = log_softmax(logits[lost])
        each[lost] = again[np.arange(len(again)), np.broadcast_to(labels, lost.shape)[lost]]
    return each


def brier(predictions: Predictions) -> float:
    """Brier score: mean over examples of sum over classes of (p - y)^2, in [0, 2], lower is better.

    Source: Brier 1950, "Verification of forecasts expressed in terms of probability" (the original, two-sided sum).
    """
    difference = predictions.probabilities.copy()
    difference[np.arange(predictions.n), _labels(predictions)] -= 1
    return float(np.square(difference).sum(axis=1).mean())


@dataclass(frozen=True, kw_only=True, eq=False)
class Reliability:
    """What a reliability diagram shows: for each bin of stated confidence, said against true.

    Args:
        edges: (bins + 1,) not decreasing; from 0 to 1 for bins of equal width.
        counts: (bins,) predictions in each bin.
        right: (bins,) correct ones among them.
        confidence: (bins,) sum of the stated confidence in each bin (divide by counts for the mean).
    """

    edges: Float64[np.ndarray, " edges"]
    counts: Int64[np.ndarray, " bins"]
    right: Int64[np.ndarray, " bins"]
    confidence: Float64[np.ndarray, " bins"]

    @property
    def ece(self) -> float:
        """Expected calibration error of these bins, in [0, 1]."""
        return float(np.abs(self.confidence - self.right).sum() / self.counts.sum())

    @property
    def max_error(self) -> float:
        """Maximum calibration error: the largest gap of a bin that is not empty, in [0, 1], lower is better."""
        seen = self.counts > 0
        return float((np.abs(self.confidence - self.right)[seen] / self.counts[seen]).max())

    @property
    def squared_error(self) -> float:
        """Squared calibration error (plug-in): sum over bins of (n_b / n) gap^2, in [0, 1], lower is better."""
        seen = self.counts > 0
        return float((np.square(self.confidence - self.right)[seen] / self.counts[seen]).sum() / self.counts.sum())


def reliability(predictions: Predictions, *, bins: int = 15, closed: Literal["left", "right"] = "left") -> Reliability:
    """Bin the top-label confidence into `bins` equal-width bins.

    Args:
        predictions: with labels.
        bins: number of bins, >= 1.
        closed: which end belongs to a bin. "left": [k/B, (k+1)/B), the last bin also holds confidence 1.
            "right": (k/B, (k+1)/B], the first bin also holds confidence 0.

    Raises:
        BadInput: predictions without labels, bins < 1.
    """
    confidence = predictions.probabilities.max(axis=1)
    return bin_confidence(confidence, predictions.decisions == _labels(predictions), bins=bins, closed=closed)


def bin_confidence(
    confidence: Float64[np.ndarray, " n"],
    correct: Bool[np.ndarray, " n"],
    *,
    bins: int = 15,
    closed: Literal["left", "right"] = "left",
) -> Reliability:
    """`reliability` from stated confidences in [0, 1] and whether each prediction was correct.

    Raises:
        BadInput: bins < 1, no predictions, lengths that differ, confidence outside [0, 1] or NaN.
    """
    check_confidence(confidence, correct)
    which = equal_width_bins(confidence, bins=bins, closed=closed)
    return Reliability(
        edges=np.arange(bins + 1) / bins,
        counts=np.bincount(which, minlength=bins).astype(np.int64),
        right=np.bincount(which[correct], minlength=bins).astype(np.int64),
        confidence=np.bincount(which, weights=confidence, minlength=bins),
    )


def equal_width_bins(
    confidence: Float64[np.ndarray, " n"], *, bins: int = 15, closed: Literal["left", "right"] = "left"
) -> Int64[np.ndarray, " n"]:
    """Which of `bins` equal-width bins each confidence lies in, 0 .. bins - 1; edge rule as in `reliability`.

    Raises:
        BadInput: bins < 1.
    """
    if bins < 1:
        raise BadInput(f"at least one bin is needed; got bins={bins}")
    # k / bins, not linspace: its edges are one ulp off, which moves values that lie on an edge
    edges = np.arange(bins + 1) / bins
    which = np.empty(len(confidence), np.int64)
    for start in range(0, len(confidence), BLOCK):
        part = confidence[start : start + BLOCK]
        # a product can be rounded over an edge, by one bin at most: the edges themselves decide
        guess = np.clip((part * bins).astype(np.int64), 0, bins - 1)
        low, high = edges[guess], edges[guess + 1]
        guess += part >= high if closed == "left" else part > high
        guess -= part < low if closed == "left" else part <= low
        which[start : start + BLOCK] = np.clip(guess, 0, bins - 1)
    return which


def ece(predictions: Predictions, *, bins: int = 15, closed: Literal["left", "right"] = "left") -> float:
    """Expected calibration error of the top label over equal-width bins, in [0, 1], lower is better.

        ECE = sum over bins of (n_b / n) |mean confidence in b - accuracy in b|

    The plug-in estimate is biased upwards, by at most about 0.4 sqrt(bins / n) and less for confident networks: compare
    networks on the same n and bins only.

    Args:
        predictions: with labels.
        bins: number of bins; 15 is the field's habit.
        closed: edge rule, see `reliability`. Confidence of exactly 1 is in the last bin under either.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599, eq. 3 (its bins are closed
    on the right).
    """
    return reliability(predictions, bins=bins, closed=closed).ece


def check_confidence(confidence: np.ndarray, correct: np.ndarray) -> None:
    """Refuse what is no list of confidences in [0, 1] with one bool for each."""
    if confidence.ndim != 1 or correct.shape != confidence.shape or len(confidence) == 0:
        raise BadInput(
            f"one confidence and one bool for each of n >= 1 examples are needed; got {confidence.shape} "
            f"and {correct.shape}"
        )
    if correct.dtype != np.bool_:
        raise BadInput(f"whether each prediction was correct is a bool; got dtype {correct.dtype}")
    # written so that NaN fails it too
    if not (confidence.min() >= 0 and confidence.max() <= 1):
        raise BadInput(f"confidences lie in [0, 1]; got {confidence.min()} .. {confidence.max()}")


def _labels(predictions: Predictions) -> Int64[np.ndarray, " n"]:
    if predictions.labels is None:
        raise BadInput("this needs true labels; these predictions have none (labels=None)")
    return predictions.labels
