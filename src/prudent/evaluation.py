"""Predictions -> {name: Metric}: everything that is said about one network, from saved arrays alone."""

from collections.abc import Callable

import numpy as np

from prudent import calibration, detection, uncertainty
from prudent.errors import BadInput, SplitMisuse
from prudent.intervals import clopper_pearson
from prudent.loss_tables import check_same_examples
from prudent.types import Metric, Predictions
from prudent.wording import percent

OOD_SCORES: dict[str, Callable[[Predictions], detection.Scores]] = {
    "max_prob": detection.max_prob,
    "entropy": detection.entropy,
}


def evaluate(
    predictions: Predictions, *, dense: Predictions | None = None, ood: Predictions | None = None, bins: int = 15
) -> dict[str, Metric]:
    """All metrics that the given predictions allow.

    Args:
        predictions: of one network, an ensemble, or one network under dropout.
        dense: the dense network's predictions on the same examples; adds what changed.
        ood: the same network's predictions on examples that are not from the task; adds how well it tells them apart.
        bins: number of equal-width bins of the ECE.

    Returns: metrics by name; those that need what was not given are absent.
        with labels: error, worst_class_error, nll (nats), brier (in [0, 2]), ece; always: confidence, entropy (nats).
        with members: expected_entropy, mutual_information (nats), variation_ratio. `entropy` is then that of the mean
        probability.
        with dense: disagreement.
        with ood: auroc_S, fpr_ood_at_tpr95_id_S, fpr_id_at_tpr95_ood_S for S in max_prob, entropy; ood_confidence,
        ood_entropy, and with members ood_mutual_information and the like.

    Raises:
        SplitMisuse: predictions on the certification split (it is for the certificate alone) or the train split.
        BadInput: predictions that do not belong together.
    """
    for given in (predictions, dense, ood):
        if given is not None and given.split in ("certification", "train"):
            raise SplitMisuse(
                f"evaluate reports on test, validation or ood examples; these are from {given.split!r}"
                + (", which is for the certificate alone" if given.split == "certification" else "")
            )
    report: dict[str, Metric] = {}
    if predictions.labels is not None:
        wrong = predictions.decisions != predictions.labels
        report["error"] = _share(int(np.count_nonzero(wrong)), len(wrong))
        report["worst_class_error"] = Metric(value=worst_class_error(predictions)[1])
        report["nll"] = Metric(value=calibration.nll(predictions))
        report["brier"] = Metric(value=calibration.brier(predictions))
        report["ece"] = Metric(value=calibration.ece(predictions, bins=bins))
    report |= _sureness(predictions, prefix="")
    if dense is not None:
        check_same_examples(predictions, dense)
        differs = int(np.count_nonzero(predictions.decisions != dense.decisions))
        report["disagreement"] = _share(differs, predictions.n)
    if ood is not None:
        if ood.classes != predictions.classes:
            raise BadInput(f"the ood predictions have {ood.classes} classes, the others {predictions.classes}")
        report |= _strangers(predictions, ood)
    return report


def worst_class_error(predictions: Predictions) -> tuple[int, float]:
    """The class with the highest error among those that occur, and that error. Ties: the lowest class index.

    Raises:
        BadInput: predictions without labels.
    """
    if predictions.labels is None:
        raise BadInput("the error of a class needs true labels; these predictions have none")
    total = np.bincount(predictions.labels, minlength=predictions.classes)
    wrong = np.bincount(predictions.labels[predictions.decisions != predictions.labels], minlength=predictions.classes)
    rate = np.where(total > 0, wrong / np.maximum(total, 1), -1.0)
    return int(rate.argmax()), float(rate.max())


def _sureness(predictions: Predictions, *, prefix: str) -> dict[str, Metric]:
    values = {
        "confidence": predictions.probabilities.max(axis=1),
        "entropy": uncertainty.predictive_entropy(predictions),
    }
    if predictions.members is not None:
        values["expected_entropy"] = uncertainty.expected_entropy(predictions)
        values["mutual_information"] = uncertainty.mutual_information(predictions)
        values["variation_ratio"] = uncertainty.variation_ratio(predictions)
    return {prefix + k: Metric(value=float(v.mean()), better="neither") for k, v in values.items()}


def _strangers(known: Predictions, ood: Predictions) -> dict[str, Metric]:
    report = _sureness(ood, prefix="ood_")
    for name, score in OOD_SCORES.items():
        a, b = score(known), score(ood)
        report[f"auroc_{name}"] = Metric(value=detection.auroc(a, b), better="higher")
        report[f"fpr_ood_at_tpr95_id_{name}"] = Metric(value=detection.fpr_ood_at_tpr95_id(a, b))
        report[f"fpr_id_at_tpr95_ood_{name}"] = Metric(value=detection.fpr_id_at_tpr95_ood(a, b))
    return report


def _share(k: int, n: int) -> Metric:
    lo, hi = clopper_pearson(k, n)
    return Metric(value=k / n, lo=lo, hi=hi, interval=f"{percent(0.95)} Clopper-Pearson")
