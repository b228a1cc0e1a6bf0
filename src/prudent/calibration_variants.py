"""The other expected calibration errors in use: bins of equal mass, by class, of the entropy, without the bias."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.special import entr

from prudent.calibration import Reliability, bin_confidence, check_confidence, reliability
from prudent.errors import BadInput
from prudent.types import Predictions


def max_calibration_error(
    predictions: Predictions, *, bins: int = 15, closed: Literal["left", "right"] = "left"
) -> float:
    """Largest gap between confidence and accuracy over equal-width bins ("MCE"), in [0, 1], lower is better.

        max over bins that are not empty of |mean confidence in b - accuracy in b|

    A bin of one example can decide it: read it beside the counts of `reliability`.

    Args:
        predictions: with labels.
        bins, closed: see `calibration.reliability`.

    Raises:
        BadInput: predictions without labels, bins < 1.

    Source: Naeini et al. 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", eq. 2 (arXiv: none).
    """
    return reliability(predictions, bins=bins, closed=closed).max_error


def equal_mass_reliability(
    confidence: Float64[np.ndarray, " n"], correct: Bool[np.ndarray, " n"], *, bins: int = 15
) -> Reliability:
    """Bin stated confidences so that every bin has as many examples as the others, or one more.

    The sorted examples are cut into `bins` runs, the longer ones first. Equal confidences are never parted: all of
    them go where the first of them falls, so that the order of the examples changes nothing. Bins may be empty then.

    Args:
        confidence: (n,) in [0, 1].
        correct: (n,) whether each prediction was right.
        bins: in 1 .. n.

    Returns: edges are the lowest confidence of each bin, and 1 at the end; an empty bin has the edge of the next.

    Raises:
        BadInput: bins outside 1 .. n, lengths that differ, confidence outside [0, 1] or NaN.
    """
    check_confidence(confidence, correct)
    if not 1 <= bins <= len(confidence):
        raise BadInput(f"bins of equal mass: 1 to as many as there are examples ({len(confidence)}); got {bins}")
    said, right = _sorted(confidence, correct)
    cuts = _cuts(said, bins)
    counts, hits, sums = _runs(cuts, right, _running(said))
    edges = np.append(np.append(said, 1.0)[cuts[:-1]], 1.0)
    return Reliability(edges=edges, counts=counts, right=hits, confidence=sums)


def equal_mass_ece(predictions: Predictions, *, bins: int = 15) -> float:
    """Expected calibration error of the top label over bins of equal mass, in [0, 1], lower is better.

        sum over bins of (n_b / n) |mean confidence in b - accuracy in b|

    "ACE" of netcal and Nixon et al. averages bins without weights and by class, and is another number.

    Args:
        predictions: with labels.
        bins: in 1 .. n.

    Raises:
        BadInput: predictions without labels, bins outside 1 .. n.

    Source: Nguyen, O'Connor 2015, "Posterior calibration and exploratory analysis for natural language processing
    models", arXiv:1508.05154; equal confidences are kept together here.
    """
    return equal_mass_reliability(*top_label(predictions), bins=bins).ece


def debiased_squared_ece(predictions: Predictions, *, bins: int = 15) -> float:
    """Squared calibration error over bins of equal mass, less what chance alone adds; lower is better.

        sum over bins of (n_b / n) [(conf_b - acc_b)^2 - acc_b (1 - acc_b) / (n_b - 1)]

    Unbiased for the squared error of the binned network where the bins are fixed; so it may be negative, and is given
    as it is. Its square root is the L2 calibration error.

    Args:
        predictions: with labels.
        bins: in 1 .. n / 2, few enough for two examples in each.

    Returns: in [-1/4, 1].

    Raises:
        BadInput: predictions without labels, or a bin with a single example.

    Source: Kumar, Liang, Ma 2019, "Verified Uncertainty Calibration", arXiv:1909.10155, definition 5.1.
    """
    return debiased(equal_mass_reliability(*top_label(predictions), bins=bins))


def debiased(diagram: Reliability) -> float:
    """`debiased_squared_ece` of any diagram.

    Raises:
        BadInput: a bin with a single example.
    """
    seen = diagram.counts > 0
    counts, right = diagram.counts[seen], diagram.right[seen]
    if counts.min() < 2:
        raise BadInput("chance cannot be told from a bin with one example: use fewer bins, or bins of equal mass")
    chance = right * (1 - right / counts) / (counts - 1)
    return diagram.squared_error - float(chance.sum() / counts.sum())


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """An expected calibration error and the number of bins that the sweep chose for it."""

    ece: float
    bins: int


def sweep_ece(confidence: Float64[np.ndarray, " n"], correct: Bool[np.ndarray, " n"], *, most: int = 1000) -> Sweep:
    """Expected calibration error over as many equal-mass bins as still show rising accuracies; lower is better.

        bins = the largest B such that for 1, 2 .. B bins accuracy never falls from one bin to the next

    Accuracies are compared as whole numbers. Unlike any fixed number of bins, it is nearly free of bias.

    Args:
        confidence: (n,) in [0, 1]; of predictions, `top_label(predictions)` gives both.
        correct: (n,) whether each prediction was right.
        most: where to stop: the work grows with the square of the number of bins. Only networks that are right in
            nearly every case, or wrong, get there.

    Raises:
        BadInput: most < 1, lengths that differ, confidence outside [0, 1] or NaN.

    Source: Roelofs et al. 2022, "Mitigating Bias in Calibration Error Estimation", arXiv:2012.08668, algorithm 1.
    """
    check_confidence(confidence, correct)
    if most < 1:
        raise BadInput(f"at least one bin is needed; got most={most}")
    said, right = _sorted(confidence, correct)
    running = _running(said)
    best = Sweep(ece=0.0, bins=0)
    for bins in range(1, min(most, len(said)) + 1):
        counts, hits, sums = _runs(_cuts(said, bins), right, running)
        counts, hits, sums = counts[counts > 0], hits[counts > 0], sums[counts > 0]
        if (hits[:-1] * counts[1:] > hits[1:] * counts[:-1]).any():
            break
        best = Sweep(ece=float(np.abs(sums - hits).sum() / len(said)), bins=bins)
    return best


def classwise_ece(
    predictions: Predictions, *, bins: int = 15, closed: Literal["left", "right"] = "left"
) -> Float64[np.ndarray, " classes"]:
    """Expected calibration error of each class's probability over equal-width bins: (classes,), lower is better.

        ECE_c = sum over bins of (n_b / n) |mean p_c in b - share of class c in b|

    Its mean over classes is the static calibration error (SCE). With many classes most of p_c is near 0, and so is
    the mean: compare networks for the same classes only.

    Args:
        predictions: with labels.
        bins, closed: see `calibration.reliability`.

    Returns: (classes,), each in [0, 1].

    Raises:
        BadInput: predictions without labels, bins < 1.

    Source: Nixon et al. 2019, "Measuring Calibration in Deep Learning", arXiv:1904.01685, eq. 5, before the mean.
    """
    labels, said = _labels(predictions), predictions.probabilities
    errors = [bin_confidence(said[:, c], labels == c, bins=bins, closed=closed).ece for c in range(predictions.classes)]
    return np.array(errors, np.float64)


def top_label_ece(predictions: Predictions, *, bins: int = 15, closed: Literal["left", "right"] = "left") -> float:
    """Expected calibration error within each predicted class, weighted by how often it is predicted; in [0, 1].

        sum over classes c of (n_c / n) ECE of the n_c examples that are decided for c

    Never below `calibration.ece`: errors of one class cannot make up for those of another. Lower is better.

    Args:
        predictions: with labels.
        bins, closed: see `calibration.reliability`.

    Raises:
        BadInput: predictions without labels, bins < 1.

    Source: Gupta, Ramdas 2022, "Top-label calibration and multiclass-to-binary reductions", arXiv:2107.08353.
    """
    confidence, correct = top_label(predictions)
    total = 0.0
    for c in np.unique(predictions.decisions):
        of_c = predictions.decisions == c
        total += bin_confidence(confidence[of_c], correct[of_c], bins=bins, closed=closed).ece * int(of_c.sum())
    return total / predictions.n


def uce(predictions: Predictions, *, bins: int = 15) -> float:
    """Uncertainty calibration error: is the network wrong as often as its entropy says? In [0, 1], lower is better.

        sum over equal-width bins of (n_b / n) |error rate in b - mean H(p) / ln classes in b|

    A network that is calibrated does not have UCE 0 in general: entropy and error rate are different functions of the
    probabilities.

    Args:
        predictions: with labels and at least two classes; with members, the entropy of their mean.
        bins: number of bins, closed on the right as in the source.

    Raises:
        BadInput: predictions without labels, one class, bins < 1.

    Source: Laves et al. 2019, "Well-calibrated Model Uncertainty with Temperature Scaling for Dropout Variational
    Inference", arXiv:1909.13550, eq. 8.
    """
    if predictions.classes < 2:
        raise BadInput("a normalised entropy needs at least two classes; these predictions have one")
    wrong = predictions.decisions != _labels(predictions)
    entropy = entr(predictions.probabilities).sum(axis=1) / np.log(predictions.classes)
    return bin_confidence(np.clip(entropy, 0, 1), wrong, bins=bins, closed="right").ece


def top_label(predictions: Predictions) -> tuple[Float64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Each example's highest probability, and whether the decision was right.

    Raises:
        BadInput: predictions without labels.
    """
    correct: Bool[np.ndarray, " n"] = predictions.decisions == _labels(predictions)
    return predictions.probabilities.max(axis=1), correct


def _sorted(
    confidence: Float64[np.ndarray, " n"], correct: Bool[np.ndarray, " n"]
) -> tuple[Float64[np.ndarray, " n"], Int64[np.ndarray, " m"]]:
    # the second: how many of the k least confident are right, k = 0 .. n
    order = np.argsort(confidence, kind="stable")
    right = np.zeros(len(order) + 1, np.int64)
    np.cumsum(correct[order], out=right[1:])
    return confidence[order], right


def _running(said: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " m"]:
    sums = np.zeros(len(said) + 1)
    np.cumsum(said, out=sums[1:])
    return sums


def _cuts(said: Float64[np.ndarray, " n"], bins: int) -> Int64[np.ndarray, " edges"]:
    n, k = len(said), np.arange(bins + 1, dtype=np.int64)
    cuts = k * (n // bins) + np.minimum(k, n % bins)
    # a cut among equal confidences moves behind the last of them
    inside = cuts[1:-1]
    parted = inside[said[inside] == said[inside - 1]]
    cuts[1:-1][said[inside] == said[inside - 1]] = np.searchsorted(said, said[parted], side="right")
    return cuts


def _runs(
    cuts: Int64[np.ndarray, " edges"], right: Int64[np.ndarray, " m"], sums: Float64[np.ndarray, " m"]
) -> tuple[Int64[np.ndarray, " bins"], Int64[np.ndarray, " bins"], Float64[np.ndarray, " bins"]]:
    return np.diff(cuts), np.diff(right[cuts]), np.diff(sums[cuts])


def _labels(predictions: Predictions) -> Int64[np.ndarray, " n"]:
    if predictions.labels is None:
        raise BadInput("this needs true labels; these predictions have none (labels=None)")
    return predictions.labels
