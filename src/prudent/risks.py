"""Predictions -> loss of every example. A risk is the population mean of such a loss.

A loss is a function of a candidate's predictions and the dense network's (None if there are none), with options of its
own. NaN says that the risk is not about an example: which ones it is about may depend on the candidate's answers, and
a certificate is then valid given how many they are.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from prudent.calibration import equal_width_bins
from prudent.errors import BadInput, UnknownName
from prudent.types import Predictions

Loss = Callable[..., Float64[np.ndarray, " n"]]


@dataclass(frozen=True)
class Risk:
    """What is known of a loss.

    Args:
        function: (candidate, dense, *, options) -> (n,), each in [low, high] or NaN.
        dense: whether it compares with the dense network.
        low, high: its range.
        bins: for a risk that sums the absolute mean of each bin, (candidate, *, options) -> (n,) bins.
    """

    function: Loss
    dense: bool = False
    low: float = 0.0
    high: float = 1.0
    bins: Callable[..., Int64[np.ndarray, " n"]] | None = None


def error(candidate: Predictions, dense: Predictions | None = None) -> Float64[np.ndarray, " n"]:  # noqa: ARG001
    """1 where the candidate's decision is not the true label, else 0. Needs labels, not the dense network.

    Raises:
        BadInput: predictions without labels.
    """
    if candidate.labels is None:
        raise BadInput("the loss 'error' needs true labels; use 'disagreement', which compares with the dense network")
    return _numbers(candidate.decisions != candidate.labels)


def disagreement(candidate: Predictions, dense: Predictions | None = None) -> Float64[np.ndarray, " n"]:
    """1 where the candidate decides for another class than the dense network, else 0. Needs no labels.

    It bounds what pruning can have changed: accuracy of the candidate >= accuracy of the dense network - its risk.

    Raises:
        BadInput: no dense predictions.
    """
    return _numbers(candidate.decisions != _dense(dense, "disagreement").decisions)


def accuracy_drop(candidate: Predictions, dense: Predictions | None = None) -> Float64[np.ndarray, " n"]:
    """(dense right) - (candidate right): 1 turned wrong, -1 turned right. Its mean is how far accuracy falls.

    Signed, so no bound for 0/1 losses or for the raw difference is valid: certify it with bound="betting", which sees
    (1 + loss) / 2 against (1 + alpha) / 2.

    Raises:
        BadInput: no labels, or no dense predictions.
    """
    labels = _labels(candidate, "accuracy_drop")
    right = _dense(dense, "accuracy_drop").decisions == labels
    return _numbers(right.astype(np.int8) - (candidate.decisions == labels))


def negative_flip(candidate: Predictions, dense: Predictions | None = None) -> Float64[np.ndarray, " n"]:
    """1 where the dense network is right and the candidate wrong, else 0. Its mean bounds how far accuracy falls.

    Raises:
        BadInput: no labels, or no dense predictions.

    Source: Yan et al. 2021, "Positive-Congruent Training", arXiv:2011.09161 (negative flip rate).
    """
    labels = _labels(candidate, "negative_flip")
    right = _dense(dense, "negative_flip").decisions == labels
    return _numbers(right & (candidate.decisions != labels))


def top_k_error(
    candidate: Predictions, dense: Predictions | None = None, *, k: int = 5  # noqa: ARG001
) -> Float64[np.ndarray, " n"]:  # fmt: skip
    """1 where the true class is not among the k most probable, else 0. A tie with the k-th counts as missed.

    Args:
        k: 1 or more, less than the number of classes.

    Raises:
        BadInput: no labels, or k outside its range.
    """
    labels = _labels(candidate, "top_k_error")
    if not isinstance(k, int) or not 1 <= k < candidate.classes:
        raise BadInput(f"top_k_error needs k in 1 .. {candidate.classes - 1} for {candidate.classes} classes; got {k}")
    answers = candidate.logits if candidate.members is None else candidate.probabilities
    own = np.take_along_axis(answers, labels[:, None], axis=1)
    # the label itself is among those that are as probable
    return _numbers(np.count_nonzero(answers >= own, axis=1) > k)


def brier(candidate: Predictions, dense: Predictions | None = None) -> Float64[np.ndarray, " n"]:  # noqa: ARG001
    """Squared distance between probabilities and the one-hot label, in [0, 2], summed over classes.

    Raises:
        BadInput: no labels.

    Source: Brier 1950, "Verification of forecasts expressed in terms of probability".
    """
    labels = _labels(candidate, "brier")
    aimed = np.eye(candidate.classes)[labels]
    return _numbers(np.clip(((candidate.probabilities - aimed) ** 2).sum(axis=1), 0.0, 2.0))


def selective_error(
    candidate: Predictions, dense: Predictions | None = None, *, threshold: float = 0.9  # noqa: ARG001
) -> Float64[np.ndarray, " n"]:  # fmt: skip
    """1 where a confident decision is wrong, 0 where it is right, NaN where confidence lies below the threshold.

    Args:
        threshold: of the largest probability, in (0, 1), chosen on other examples than those of the certificate.

    Raises:
        BadInput: no labels, or a threshold outside (0, 1).
    """
    labels = _labels(candidate, "selective_error")
    if not 0 < threshold < 1:
        raise BadInput(f"the confidence threshold of selective_error lies in (0, 1); got {threshold}")
    served = candidate.probabilities.max(axis=1) >= threshold
    return _numbers(np.where(served, candidate.decisions != labels, np.nan))


def ood_acceptance(
    candidate: Predictions, dense: Predictions | None = None, *, threshold: float = -0.9  # noqa: ARG001
) -> Float64[np.ndarray, " n"]:  # fmt: skip
    """1 where a stranger is taken for known: its OOD score -max p lies below the threshold. Predictions of strangers.

    Args:
        threshold: of the OOD score, higher = more OOD, frozen beforehand, such as the 95 % quantile on validation.
    """
    return _numbers(-candidate.probabilities.max(axis=1) < threshold)


def calibration(
    candidate: Predictions, dense: Predictions | None = None, *, bins: int = 15  # noqa: ARG001 (of confidence_bins)
) -> Float64[np.ndarray, " n"]:  # fmt: skip
    """Confidence minus correctness, in [-1, 1], summed over bins of equal width into the expected calibration error.

    Args:
        bins: their number, fixed beforehand; which one an example lies in, `confidence_bins` says.

    Raises:
        BadInput: no labels.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.
    """
    labels = _labels(candidate, "calibration")
    return _numbers(candidate.probabilities.max(axis=1) - (candidate.decisions == labels))


def confidence_bins(candidate: Predictions, *, bins: int = 15) -> Int64[np.ndarray, " n"]:
    """The bin [k / bins, (k + 1) / bins) of each confidence, the last one closed. Raises: BadInput: bins < 1."""
    return equal_width_bins(candidate.probabilities.max(axis=1), bins=bins)


LOSSES: dict[str, Risk] = {
    "error": Risk(error),
    "disagreement": Risk(disagreement, dense=True),
    "accuracy_drop": Risk(accuracy_drop, dense=True, low=-1.0),
    "negative_flip": Risk(negative_flip, dense=True),
    "top_k_error": Risk(top_k_error),
    "brier": Risk(brier, high=2.0),
    "selective_error": Risk(selective_error),
    "ood_acceptance": Risk(ood_acceptance),
    "calibration": Risk(calibration, low=-1.0, bins=confidence_bins),
}


CONDITIONAL = frozenset({"selective_error"})
"""Losses that are about some of the examples only, by what the candidate answers."""


def options_of(name: str) -> dict[str, inspect.Parameter]:
    """The options of a loss, by name.

    Raises:
        UnknownName: no such loss.
    """
    if name not in LOSSES:
        raise UnknownName.of("loss", name, LOSSES)
    known = inspect.signature(LOSSES[name].function).parameters
    return {option: known[option] for option in known if option not in ("candidate", "dense")}


def _numbers(values: np.ndarray) -> Float64[np.ndarray, " n"]:
    numbers: Float64[np.ndarray, " n"] = values.astype(np.float64)
    return numbers


def _labels(candidate: Predictions, name: str) -> Int64[np.ndarray, " n"]:
    if candidate.labels is None:
        raise BadInput(f"the loss {name!r} needs true labels; 'disagreement' needs none")
    labels: Int64[np.ndarray, " n"] = candidate.labels
    return labels


def _dense(dense: Predictions | None, name: str) -> Predictions:
    if dense is None:
        raise BadInput(f"the loss {name!r} compares with the dense network: pass dense=its predictions")
    return dense
