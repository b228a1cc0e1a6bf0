"""Telling what is not from the task (out of distribution, OOD) from what is. Scores: higher = more OOD.

Everything is counted, not integrated: ties are exact, and nothing guesses whether a score is a probability.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float64

from prudent.errors import BadInput
from prudent.types import Predictions
from prudent.uncertainty import predictive_entropy

Scores = Float64[np.ndarray, " n"]

Interpolation = Literal["step", "linear"]


def max_prob(predictions: Predictions) -> Float64[np.ndarray, " n"]:
    """OOD score of the maximum probability: minus the log odds of the top class, (n,), higher = more OOD.

    A strictly decreasing map of the maximum probability, so every ranking metric is that of the maximum probability;
    unlike it, log odds do not saturate at 1, where float ties would blur the most confident examples.

    Source: Hendrycks, Gimpel 2017, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples",
    arXiv:1610.02136.
    """
    log_p = predictions.log_probabilities
    if predictions.members is not None:
        log_p = np.logaddexp.reduce(log_p, axis=0) - np.log(predictions.members)
    top = log_p.max(axis=-1)
    rest = log_p.copy()
    np.put_along_axis(rest, log_p.argmax(axis=-1)[:, None], -np.inf, axis=-1)
    result: Float64[np.ndarray, " n"] = np.logaddexp.reduce(rest, axis=-1) - top
    return result


def entropy(predictions: Predictions) -> Float64[np.ndarray, " n"]:
    """OOD score of the predictive entropy, in nats: (n,), higher = more OOD."""
    return predictive_entropy(predictions)


def auroc(known: Float64[np.ndarray, " n"], ood: Float64[np.ndarray, " m"]) -> float:
    """Probability that an OOD example scores higher than a known one, ties counted half: in [0, 1], higher is better.

    Args:
        known: scores of examples from the task.
        ood: scores of examples that are not.

    Raises:
        BadInput: an empty side or NaN.
    """
    _check(known, ood)
    # both sorted: each search then starts where the last one ended, in memory that is at hand
    ordered, asked = np.sort(known), np.sort(ood)
    below = int(np.searchsorted(ordered, asked, side="left").sum())
    below_or_equal = int(np.searchsorted(ordered, asked, side="right").sum())
    return (below + below_or_equal) / (2 * len(known) * len(ood))


def aupr_ood(
    known: Float64[np.ndarray, " n"], ood: Float64[np.ndarray, " m"], *, interpolation: Interpolation = "step"
) -> float:
    """Area under precision over recall with OOD examples as the positives ("AUPR-out"): in (0, 1], higher is better.

        sum over thresholds t of (recall(t) - recall(t+)) precision(t),    t+ = the next stricter threshold

    A random score has about m / (n + m): values are comparable only between sets of the same sizes. Examples that tie
    pass a threshold as a group.

    Args:
        known: scores of examples from the task, (n,).
        ood: scores of examples that are not, (m,).
        interpolation: "step" as above (average precision, as in scikit-learn); "linear" joins the points of the curve
            by straight lines (trapezoids, as OOD libraries do), which is a little higher or lower and may be reached
            by no threshold. It starts at recall 0 with precision 1.

    Raises:
        BadInput: an empty side or NaN, another word for `interpolation`.

    Source: Davis, Goadrich 2006, "The Relationship Between Precision-Recall and ROC Curves" (arXiv: none), on why not
    to interpolate linearly.
    """
    _check(known, ood)
    if interpolation not in ("step", "linear"):
        raise BadInput(f'interpolation is "step" or "linear"; got {interpolation!r}')
    scores, place = np.unique(np.concatenate([known, ood]), return_inverse=True)
    of_known, of_ood = (np.bincount(part, minlength=len(scores)) for part in np.split(place, [len(known)]))
    # from the strictest threshold on, each admits the next lower group of ties
    hits, alarms = np.cumsum(of_ood[::-1]), np.cumsum(of_known[::-1])
    precision = hits / (hits + alarms)
    if interpolation == "linear":
        precision = (precision + np.concatenate([[1.0], precision[:-1]])) / 2
    return float((of_ood[::-1] * precision).sum() / len(ood))


def aupr_id(
    known: Float64[np.ndarray, " n"], ood: Float64[np.ndarray, " m"], *, interpolation: Interpolation = "step"
) -> float:
    """Area under precision over recall with known examples as the positives ("AUPR-in"): in (0, 1], higher is better.

    As `aupr_ood` with the sides exchanged: known examples are found by low scores.
    """
    _check(known, ood)
    return aupr_ood(-ood, -known, interpolation=interpolation)


def fpr_ood_at_tpr95_id(known: Float64[np.ndarray, " n"], ood: Float64[np.ndarray, " m"]) -> float:
    """Share of OOD examples accepted when at least 95 % of known ones are accepted: in [0, 1], lower is better.

    The strictest threshold that still accepts 95 % of the known; examples that tie with it are accepted as a group.
    "FPR95" of ODIN and the energy papers (positive class: known). OpenOOD 1.5 and others use the name for
    `fpr_id_at_tpr95_ood`, which is another number on the same data.
    """
    _check(known, ood)
    threshold = np.sort(known)[_least(len(known)) - 1]
    return int(np.count_nonzero(ood <= threshold)) / len(ood)


def fpr_id_at_tpr95_ood(known: Float64[np.ndarray, " n"], ood: Float64[np.ndarray, " m"]) -> float:
    """Share of known examples flagged when at least 95 % of OOD ones are flagged: in [0, 1], lower is better.

    "FPR95" with OOD as the positive class; see `fpr_ood_at_tpr95_id` for the other one.
    """
    _check(known, ood)
    threshold = np.sort(ood)[len(ood) - _least(len(ood))]
    return int(np.count_nonzero(known >= threshold)) / len(known)


def _least(n: int) -> int:
    # the smallest k with k / n >= 0.95, in integers
    return -(-95 * n // 100)


def _check(known: Float64[np.ndarray, " n"], ood: Float64[np.ndarray, " m"]) -> None:
    if len(known) == 0 or len(ood) == 0:
        raise BadInput(f"scores of known and of OOD examples are needed; got {len(known)} and {len(ood)}")
    if np.isnan(known).any() or np.isnan(ood).any():
        raise BadInput("OOD scores must not be NaN")
