"""Could a network that is honest about its confidence look as miscalibrated as this one? Two tests of that."""

import numpy as np
from jaxtyping import Bool, Float64
from scipy.special import erfc

from prudent.calibration import check_confidence, equal_width_bins
from prudent.errors import BadInput
from prudent.seeds import stream


def consistency_p_value(
    confidence: Float64[np.ndarray, " n"],
    correct: Bool[np.ndarray, " n"],
    *,
    bins: int = 15,
    resamples: int = 999,
    seed: int = 0,
) -> float:
    """Chance that a calibrated network with these confidences has an ECE this high: consistency resampling.

        p = (1 + resamples whose ECE is at least the observed one) / (1 + resamples)

    Each resample draws whether each prediction is right with exactly the stated confidence. Given the confidences this
    is a valid test at any n of "P(right | confidence) = confidence" for independent examples. A high p-value is no
    proof of calibration.

    Args:
        confidence: (n,) in [0, 1]; of predictions, `calibration_variants.top_label(predictions)` gives both.
        correct: (n,) whether each prediction was right.
        bins: equal-width bins of the ECE.
        resamples: number of draws, >= 1; no p-value is below 1 / (1 + resamples).
        seed: of the draws.

    Returns: in (0, 1]; lower = stronger evidence of miscalibration.

    Raises:
        BadInput: no predictions, lengths that differ, confidence outside [0, 1] or NaN, bins or resamples < 1.

    Source: Broecker, Smith 2007, "Increasing the Reliability of Reliability Diagrams"; as a test: Vaicenavicius et al.
    2019, "Evaluating model calibration in classification", arXiv:1902.06977.
    """
    check_confidence(confidence, correct)
    if resamples < 1:
        raise BadInput(f"at least one resample is needed; got resamples={resamples}")
    which = equal_width_bins(confidence, bins=bins)
    said = np.bincount(which, weights=confidence, minlength=bins)

    def gap(right: Bool[np.ndarray, " n"]) -> float:
        return float(np.abs(said - np.bincount(which[right], minlength=bins)).sum())

    # equal gaps may differ by a rounding; they count as reached
    observed = gap(correct) - 1e-9
    rng = np.random.default_rng(stream("consistency resamples", seed))
    reached = sum(gap(rng.random(len(confidence)) < confidence) >= observed for _ in range(resamples))
    return (1 + reached) / (1 + resamples)


def spiegelhalter_z(confidence: Float64[np.ndarray, " n"], correct: Bool[np.ndarray, " n"]) -> float:
    """How many standard deviations the Brier score of the stated confidences is above what they promise themselves.

        z = sum of (y - p) (1 - 2 p) / sqrt(sum of (1 - 2 p)^2 p (1 - p))

    About standard normal for a calibrated network and many examples. Positive: too sure on average; negative: not sure
    enough. Errors that cancel, and confidences near 1/2, are not seen.

    Args:
        confidence: (n,) p in [0, 1].
        correct: (n,) y, whether each prediction was right.

    Raises:
        BadInput: no predictions, lengths that differ, confidence outside [0, 1] or NaN, or nothing but confidences of
            0, 1/2 and 1, which leave the score no variance.

    Source: Spiegelhalter 1986, "Probabilistic prediction in patient management and clinical trials" (arXiv: none).
    """
    check_confidence(confidence, correct)
    lean = 1 - 2 * confidence
    variance = float((np.square(lean) * confidence * (1 - confidence)).sum())
    if variance == 0:
        raise BadInput("every confidence is 0, 1/2 or 1: the score has no variance to be measured with")
    return float(((correct - confidence) * lean).sum() / np.sqrt(variance))


def spiegelhalter_p_value(confidence: Float64[np.ndarray, " n"], correct: Bool[np.ndarray, " n"]) -> float:
    """Two-sided p-value of `spiegelhalter_z` under the normal approximation: lower = stronger evidence.

    One pass over the data, where `consistency_p_value` takes a thousand; but approximate, and blind to errors that
    cancel in the Brier score.

    Raises:
        BadInput: see `spiegelhalter_z`.
    """
    return float(erfc(abs(spiegelhalter_z(confidence, correct)) / np.sqrt(2)))
