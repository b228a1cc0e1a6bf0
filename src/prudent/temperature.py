"""Temperature scaling: one number, fitted on validation examples, that says how much too sure a network is."""

import math

import numpy as np
from jaxtyping import Float64

from prudent.errors import BadInput, SplitMisuse
from prudent.types import Predictions

COLDEST, HOTTEST = 2.0**-7, 2.0**7
"""Temperatures that are looked at."""

BLOCK = 2**20
"""How many logits are looked at together."""


def fit_temperature(predictions: Predictions) -> float:
    """The temperature at which the negative log likelihood of these examples is lowest.

        argmin over T of mean of -ln p_T(true class),    p_T = softmax(z / T), with members the mean of softmax(z_m / T)

    With members the temperature is inside the mean, which is another number than scaling their mean logits or their
    mean probability. Above 1: the network is too sure. Without members the likelihood has one optimum; with members
    it may have several, and the best of those that a grid of 57 temperatures tells apart is found.

    Args:
        predictions: of validation examples, with labels. Examples of a certificate must not choose anything.

    Returns: T > 0; divide logits by it (`scaled`). A relative error of about 1e-7 is left.

    Raises:
        SplitMisuse: predictions on another split than validation.
        BadInput: predictions without labels, or whose likelihood still rises at T = 1/128 (every decision is right) or
            at 128 (the logits say nothing about these labels): then no temperature is best.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599, section 4.2; inside the mean:
    Laves et al. 2019, arXiv:1909.13550, eq. 9.
    """
    if predictions.split != "validation":
        raise SplitMisuse(f"a temperature is fitted on validation examples; these are from {predictions.split!r}")
    # one valley needs no more than a bracket; of several, the deepest is looked for
    grid = np.linspace(math.log(COLDEST), math.log(HOTTEST), 15 if predictions.members is None else 57)
    losses = [nll_at(predictions, temperature=math.exp(t)) for t in grid]
    best = int(np.argmin(losses))
    if best in (0, len(grid) - 1) or min(losses) == max(losses):
        end = "lower" if best == 0 else "higher"
        raise BadInput(
            f"no temperature in {COLDEST:g} .. {HOTTEST:g} is best for these {predictions.n} examples: the {end} the "
            "better; fit on more validation examples"
        )
    return math.exp(_lowest(predictions, float(grid[best - 1]), float(grid[best + 1])))


def scaled(predictions: Predictions, *, temperature: float) -> Predictions:
    """The same predictions with every logit divided by the temperature; decisions of single networks stay.

    With members, each member's logits are divided, so their mean may decide otherwise. The fingerprint of the network
    is dropped: it is not the network alone that answers so.

    Raises:
        BadInput: a temperature that is not positive and finite, or so low that logits overflow.
    """
    _check(temperature)
    return Predictions(
        logits=predictions.logits / np.float64(temperature),
        labels=predictions.labels,
        split=predictions.split,
        data=predictions.data,
    )


def nll_at(predictions: Predictions, *, temperature: float) -> float:
    """Negative log likelihood at a temperature, in nats, lower is better; see `fit_temperature` for what T divides.

    Raises:
        BadInput: predictions without labels, a temperature that is not positive and finite.
    """
    _check(temperature)
    if predictions.labels is None:
        raise BadInput("this needs true labels; these predictions have none (labels=None)")
    step = max(1, BLOCK // (predictions.classes * (predictions.members or 1)))
    total = 0.0
    for start in range(0, predictions.n, step):
        part = predictions.logits[..., start : start + step, :] / np.float64(temperature)
        part -= part.max(axis=-1, keepdims=True)
        labels = predictions.labels[start : start + step]
        each: Float64[np.ndarray, "*members k"] = part[..., np.arange(len(labels)), labels]
        each = each - np.log(np.exp(part, out=part).sum(axis=-1))
        if predictions.members is not None:
            each = np.logaddexp.reduce(each, axis=0) - math.log(predictions.members)
        total -= float(each.sum())
    return total / predictions.n


def _lowest(predictions: Predictions, low: float, high: float) -> float:
    # golden section: nothing is assumed but that the curve first falls and then rises between low and high
    shrink = (math.sqrt(5) - 1) / 2
    left, right = high - shrink * (high - low), low + shrink * (high - low)
    at_left, at_right = (nll_at(predictions, temperature=math.exp(t)) for t in (left, right))
    while high - low > 1e-7:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - shrink * (high - low)
            at_left = nll_at(predictions, temperature=math.exp(left))
        else:
            low, left, at_left = left, right, at_right
            right = low + shrink * (high - low)
            at_right = nll_at(predictions, temperature=math.exp(right))
    return (low + high) / 2


def _check(temperature: float) -> None:
    if not 0 < temperature < math.inf:
        raise BadInput(f"a temperature is positive and finite; got {temperature}")
