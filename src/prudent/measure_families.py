"""Whole families of measures of one network at once, by name: calibration, selective answers, distance to another."""

from contextlib import suppress
from functools import partial

import numpy as np

from prudent.calibration import ece, nll
from prudent.calibration_p_values import consistency_p_value, spiegelhalter_p_value
from prudent.calibration_variants import (
    classwise_ece,
    debiased_squared_ece,
    equal_mass_ece,
    max_calibration_error,
    sweep_ece,
    top_label,
    top_label_ece,
    uce,
)
from prudent.errors import BadInput
from prudent.proper_scores import brier_parts
from prudent.recalibration import recalibrate
from prudent.selective import augrc, aurc, coverage_at_risk, e_aurc, risk_at_coverage, risk_coverage
from prudent.similarity import decision_agreement, distances
from prudent.smoothing import kernel_calibration_error, smooth_ece
from prudent.temperature import fit_temperature, scaled
from prudent.types import Predictions
from prudent.uncertainty import pairwise_divergence, reverse_mutual_information

RISK = 0.01
"""Error rate at which a coverage is reported."""

COVERAGE = 0.8
"""Coverage at which an error rate is reported."""

UNDEFINED = {
    "ece_debiased_squared": "equal confidences leave a bin with a single example",
    "kce_squared": "there is a single example, and pairs are compared",
    "p_spiegelhalter": "every confidence is 0, 1/2 or 1, which leaves the score no variance",
    "temperature": "no temperature is best: every decision on the validation examples is right, or none says anything",
}
"""Calibration measure -> when a network has none."""


def calibration_family(
    predictions: Predictions, *, validation: Predictions | None = None, bins: int = 15
) -> dict[str, float]:
    """Every calibration error of `calibration_variants` and `smoothing`, Brier parts, p-values, temperature scaling.

    Args:
        predictions: with labels.
        validation: of the same network, with labels, to fit a temperature to; without, that is left out, as it is
            where no temperature is best.
        bins: of everything that has bins.

    Returns: name -> value, lower is better but for `brier_resolution` and the p-values (higher), `temperature`
        (neither: 1 is honest) and `brier_uncertainty`, which is of the labels alone. What is not defined for these
        predictions is left out; UNDEFINED says when that is.

    Raises:
        BadInput: predictions without labels, bins outside 1 .. n.
    """
    said, right = top_label(predictions)
    parts = brier_parts(predictions, bins=bins)
    found = {
        "ece": ece(predictions, bins=bins),
        "ece_equal_mass": equal_mass_ece(predictions, bins=bins),
        "ece_sweep": sweep_ece(said, right).ece,
        "ece_classwise": float(classwise_ece(predictions, bins=bins).mean()),
        "ece_top_label": top_label_ece(predictions, bins=bins),
        "ece_smooth": smooth_ece(said, right),
        "mce": max_calibration_error(predictions, bins=bins),
        "uce": uce(predictions, bins=bins),
        "brier_reliability": parts.reliability,
        "brier_resolution": parts.resolution,
        "brier_uncertainty": parts.uncertainty,
        "p_consistency": consistency_p_value(said, right, bins=bins),
    }
    # a network that is dead or wholly sure of itself has no such number, and must not end the study that measures it
    for name, compute in (
        ("ece_debiased_squared", partial(debiased_squared_ece, predictions, bins=bins)),
        ("kce_squared", partial(kernel_calibration_error, predictions)),
        ("p_spiegelhalter", partial(spiegelhalter_p_value, said, right)),
    ):
        with suppress(BadInput):
            found[name] = compute()
    if validation is not None and validation.labels is not None:
        found |= _after_temperature(predictions, validation, bins)
    return found


def _after_temperature(predictions: Predictions, validation: Predictions, bins: int) -> dict[str, float]:
    try:
        temperature = fit_temperature(validation)
    except BadInput:  # every decision on the validation examples is right, or none says anything
        return {}
    after = scaled(predictions, temperature=temperature)
    return {
        "temperature": temperature,
        "ece_after_temperature": ece(after, bins=bins),
        "nll_after_temperature": nll(after),
    }


def dropout_family(test: Predictions, *, validation: Predictions, bins: int = 15) -> dict[str, float]:
    """What samples under dropout say beyond `prudent.evaluate`, and what a temperature inside their mean changes.

        p_T = mean over samples of softmax(z_s / T),    T of the lowest NLL on validation examples

    Args:
        test: samples, with labels.
        validation: of the same network under the same dropout, with labels, to fit the temperature to.
        bins: of the calibration errors.

    Returns: name -> value. `pairwise_divergence` and `reverse_mutual_information` (nats, means over examples) and
        `temperature` have no better direction; `uce`, and NLL, ECE and UCE `_after_temperature`, are better lower.
        Without temperature and what follows from it where none is best.

    Raises:
        SplitMisuse: predictions of other splits, as in `recalibrate`.
        BadInput: predictions without members or labels, or of two networks.
    """
    found = {
        "pairwise_divergence": float(pairwise_divergence(test).mean()),
        "reverse_mutual_information": float(reverse_mutual_information(test).mean()),
        "uce": uce(test, bins=bins),
    }
    try:
        after = recalibrate(validation, test, bins=bins)
    except BadInput as error:
        if "no temperature" not in str(error):
            raise
        return found
    return found | {
        "temperature": after.temperature,
        "nll_after_temperature": after.nll_after,
        "ece_after_temperature": after.ece_after,
        "uce_after_temperature": after.uce_after,
    }


def selective_family(predictions: Predictions) -> dict[str, float]:
    """How wrong a network is on the examples that it is sure of: areas, coverage at 1 % error, error at 80 % coverage.

    Returns: name -> value; lower is better but for `coverage_at_1_percent`.

    Raises:
        BadInput: predictions without labels.
    """
    curve = risk_coverage(predictions)
    return {
        "aurc": aurc(curve),
        "e_aurc": e_aurc(curve),
        "augrc": augrc(curve),
        "coverage_at_1_percent": coverage_at_risk(curve, risk=RISK),
        "error_at_80_percent": risk_at_coverage(curve, coverage=COVERAGE),
    }


def distance_family(predictions: Predictions, dense: Predictions) -> dict[str, float]:
    """How far the answers are from the dense network's: means over the examples of `similarity.distances`, agreement.

    Returns: name -> value; lower = more alike, but for `agreement`.

    Raises:
        BadInput: predictions on different examples, splits or classes.
    """
    means = {name: float(np.mean(each)) for name, each in distances(predictions, dense).items()}
    return {"agreement": decision_agreement(predictions, dense), **means}
