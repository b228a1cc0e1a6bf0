"""What a fitted temperature changes: how sure, how honest and how informative a network is before and after."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from prudent.calibration import ece, nll
from prudent.calibration_variants import uce
from prudent.errors import BadInput, SplitMisuse
from prudent.temperature import fit_temperature, scaled
from prudent.types import Predictions

Where = Literal["inside", "around"]


@dataclass(frozen=True, kw_only=True)
class Recalibration:
    """A temperature, and what it does on other examples than those it was fitted on; all but itself lower is better.

    Args:
        temperature: above 1, the network was too sure.
        where: with members, whether it divides the logits of each member before their probabilities are averaged, or
            those of the averaged probability. Without members both are the same.
        nll_before, nll_after: negative log likelihood, nats.
        ece_before, ece_after: expected calibration error, in [0, 1].
        uce_before, uce_after: uncertainty calibration error, in [0, 1].
    """

    temperature: float
    where: Where
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float
    uce_before: float
    uce_after: float


def recalibrate(
    validation: Predictions, test: Predictions, *, where: Where = "inside", bins: int = 15
) -> Recalibration:
    """Fit a temperature on validation examples and compare what is said on test examples before and after.

        inside:  p_T = mean over members of softmax(z_m / T)
        around:  p_T = softmax(ln(mean over members of softmax(z_m)) / T)

    Inside, members also come to agree more or less, and decisions may change; around, decisions stay. The UCE may rise
    where the ECE falls: a calibrated network is not one whose error rate is its entropy (see `uce`).

    Args:
        validation: with labels, of the validation split.
        test: with labels, of the same network under the same dropout; of no split that a certificate uses.
        where: where the temperature is, with members.
        bins: of the calibration errors, equal width.

    Raises:
        SplitMisuse: `validation` is of another split; `test` of certification, train or ood, or the same examples.
        BadInput: no labels, predictions of two networks, members in one and none or other numbers in the other, or no
            temperature is best (see `fit_temperature`).

    Source: Laves et al. 2019, "Well-calibrated Model Uncertainty with Temperature Scaling for Dropout Variational
    Inference", arXiv:1909.13550; around: Guo et al. 2017, arXiv:1706.04599, of the mean probability.
    """
    if where not in ("inside", "around"):
        raise BadInput(f"a temperature is 'inside' the mean over members or 'around' it; got {where!r}")
    if test.split in ("certification", "train", "ood"):
        raise SplitMisuse(f"a recalibration is reported on test examples; these are from {test.split!r}")
    known = test.data and test.data == validation.data
    if test.split == validation.split and (known or np.array_equal(test.logits, validation.logits)):
        raise SplitMisuse("a recalibration is reported on other examples than those that its temperature is fitted to")
    if validation.model and test.model and validation.model != test.model:
        raise BadInput(
            "validation and test predictions are of one network, under dropout with the same samples, rate and seed; "
            "these are of two"
        )
    if validation.members != test.members or validation.classes != test.classes:
        raise BadInput("validation and test predictions are of one network: as many members or none, same classes")
    if where == "around":
        validation, test = _joined(validation), _joined(test)
    temperature = fit_temperature(validation)
    after = scaled(test, temperature=temperature)
    return Recalibration(
        temperature=temperature,
        where=where,
        nll_before=nll(test),
        nll_after=nll(after),
        ece_before=ece(test, bins=bins),
        ece_after=ece(after, bins=bins),
        uce_before=uce(test, bins=bins),
        uce_after=uce(after, bins=bins),
    )


def _joined(predictions: Predictions) -> Predictions:
    """One network that says the mean probability, with logits in float32."""
    if predictions.members is None:
        return predictions
    joined = np.logaddexp.reduce(predictions.log_probabilities, axis=0) - np.log(predictions.members)
    return Predictions(logits=joined, labels=predictions.labels, split=predictions.split, data=predictions.data)
