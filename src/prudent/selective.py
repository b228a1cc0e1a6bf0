"""If a network may stay silent where it is least sure, how wrong is it on the rest? Lower is better throughout."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64
from scipy.special import digamma

from prudent.detection import max_prob
from prudent.errors import BadInput
from prudent.types import Predictions


@dataclass(frozen=True, kw_only=True, eq=False)
class RiskCoverage:
    """Answered examples and errors among them, for every threshold on the confidence that changes either.

    Args:
        answered: (thresholds,) examples at least as sure as each threshold, rising to n; equally sure ones together.
        errors: (thresholds,) wrong ones among them.
    """

    answered: Int64[np.ndarray, " thresholds"]
    errors: Int64[np.ndarray, " thresholds"]

    @property
    def n(self) -> int:
        """Number of examples."""
        return int(self.answered[-1])

    @property
    def risk(self) -> Float64[np.ndarray, " thresholds"]:
        """Error rate among the answered, at each threshold."""
        rate: Float64[np.ndarray, " thresholds"] = self.errors / self.answered
        return rate


def rank_by_confidence(confidence: Float[np.ndarray, " n"], wrong: Bool[np.ndarray, " n"]) -> RiskCoverage:
    """The risk-coverage curve of a confidence: what all metrics here are computed from, sorted once.

    Args:
        confidence: (n,) any numbers, higher = surer. Saturated probabilities tie; log odds do not.
        wrong: (n,) whether each answer is wrong.

    Raises:
        BadInput: no examples, lengths that differ, NaN.
    """
    if confidence.ndim != 1 or wrong.shape != confidence.shape or len(confidence) == 0:
        raise BadInput(
            f"one confidence and one bool for each of n >= 1 examples are needed; got {confidence.shape} "
            f"and {wrong.shape}"
        )
    if wrong.dtype != np.bool_:
        raise BadInput(f"whether each answer is wrong is a bool; got dtype {wrong.dtype}")
    if np.isnan(confidence).any():
        raise BadInput("confidences must not be NaN")
    sides = [side for side in (confidence >= 0, confidence < 0) if side.any()]
    if len(sides) == 1:
        answered, errors = _steps(confidence, wrong)
        return RiskCoverage(answered=answered, errors=errors)
    surer, less = (_steps(confidence[side], wrong[side]) for side in sides)
    answered, errors = (np.concatenate([first, first[-1] + then]) for first, then in zip(surer, less, strict=True))
    return RiskCoverage(answered=answered, errors=errors)


def _steps(
    confidence: Float[np.ndarray, " k"], wrong: Bool[np.ndarray, " k"]
) -> tuple[Int64[np.ndarray, " steps"], Int64[np.ndarray, " steps"]]:
    """How many are at least as sure as each confidence, and wrong ones among them, of numbers of one sign.

    Numbers of one sign rise with their bits, and the bit of the sign is free to hold the error: integers that are
    sorted without remembering where each came from, which takes a quarter of the time of an argsort.
    """
    word, signed = (np.uint32, np.int32) if confidence.dtype == np.float32 else (np.uint64, np.int64)
    # + 0: -0 and 0 are the same number
    keys: np.ndarray = (confidence.astype(np.float32 if word is np.uint32 else np.float64, copy=False) + 0).view(word)
    if confidence[0] >= 0:
        np.invert(keys, out=keys)
    keys <<= word(1)
    keys |= wrong
    # signed integers are sorted faster, and in this order if their highest bit is turned
    keys ^= word(1 << (8 * keys.itemsize - 1))
    keys = keys.view(signed)
    keys.sort()
    changes = (keys[1:] ^ keys[:-1]).view(word) > 1
    keys &= signed(1)
    errors = np.cumsum(keys, dtype=np.int64)
    if changes.all():
        return np.arange(1, len(keys) + 1), errors
    last = np.append(np.flatnonzero(changes), len(keys) - 1)
    return last + 1, errors[last]


def risk_coverage(predictions: Predictions) -> RiskCoverage:
    """The risk-coverage curve of the highest probability, ranked by its log odds, which do not saturate.

    Raises:
        BadInput: predictions without labels.
    """
    if predictions.labels is None:
        raise BadInput("this needs true labels; these predictions have none (labels=None)")
    return rank_by_confidence(-max_prob(predictions), predictions.decisions != predictions.labels)


def aurc(curve: RiskCoverage, *, variant: Literal["mean", "extended"] = "mean") -> float:
    """Area under the risk-coverage curve, in [0, 1], lower is better.

        mean       1/n sum over k = 1 .. n of r_k           r_k: error rate of the k surest
        extended   trapezoids over the thresholds from coverage 0 on, where the risk is that of the first threshold

    Equally sure examples come in any order: for "mean" each r_k is its average over their orders, for "extended" they
    are one step. Implementations that follow the order of the rows give anything between.

    Args:
        curve: from `risk_coverage` or `rank_by_confidence`.
        variant: "mean" is Geifman's; "extended" is that of FD-Shifts (there times 1000).

    Source: Geifman, Uziel, El-Yaniv 2019, "Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers",
    arXiv:1805.08206; extended: Jaeger et al. 2023, arXiv:2211.15259.
    """
    if variant == "extended":
        return _trapezoids(np.append(0, curve.answered) / curve.n, np.append(curve.risk[0], curve.risk))
    sums = curve.risk
    size = np.diff(curve.answered, prepend=0)
    tied = np.flatnonzero(size != 1)
    if len(tied):
        # sum over k in the group of (errors_before + (k - start) rate) / k
        size, end = size[tied], curve.answered[tied]
        start, errors_before = end - size, np.append(0, curve.errors)[tied]
        rate = (curve.errors[tied] - errors_before) / size
        sums[tied] = (errors_before - start * rate) * _harmonic(start, end) + size * rate
    return float(sums.sum() / curve.n)


def best_aurc(curve: RiskCoverage) -> float:
    """The "mean" AURC of the same answers if every error were less sure than every right answer.

    1/n sum over the last e of k = 1 .. n of (k - (n - e)) / k          e: number of errors
    """
    e, right = int(curve.errors[-1]), curve.n - int(curve.errors[-1])
    return (e - right * float(_harmonic(np.array([right]), np.array([curve.n]))[0])) / curve.n


def e_aurc(curve: RiskCoverage) -> float:
    """Excess AURC: the "mean" AURC less the best one of the same answers, in [0, 1), lower is better.

    Both are sums over k. The closed form r + (1 - r) ln(1 - r) for the best one belongs to an integral, and gives
    another number.

    Source: Geifman et al. 2019, arXiv:1805.08206.
    """
    return aurc(curve) - best_aurc(curve)


def augrc(curve: RiskCoverage, *, variant: Literal["trapezoid", "mean"] = "trapezoid") -> float:
    """Area under the generalised risk-coverage curve: mean risk of a silent failure, in [0, 1/2], lower is better.

        trapezoid   integral over coverage of (errors among the answered) / n, from coverage 0 on
                    = (1 - AUROC of telling failures) acc (1 - acc) + (1 - acc)^2 / 2
        mean        1/n sum over k = 1 .. n of (errors among the k surest) / n; higher by (1 - acc) / (2 n)

    Equally sure examples come in any order, averaged, under either.

    Source: Traub et al. 2024, "Overcoming Common Flaws in the Evaluation of Selective Classification Systems",
    arXiv:2407.01032.
    """
    answered, errors = np.append(0, curve.answered), np.append(0, curve.errors)
    area = _trapezoids(answered / curve.n, errors / curve.n)
    return area if variant == "trapezoid" else area + int(curve.errors[-1]) / (2 * curve.n**2)


def coverage_at_risk(curve: RiskCoverage, *, risk: float) -> float:
    """Largest share of examples that can be answered with an error rate of at most `risk`: in [0, 1], higher is better.

    0 if no threshold does. The threshold is chosen on the same examples: it promises nothing about others.

    Raises:
        BadInput: risk outside [0, 1].
    """
    if not 0 <= risk <= 1:
        raise BadInput(f"a risk lies in [0, 1]; got {risk}")
    able = curve.answered[curve.risk <= risk]
    return int(able[-1]) / curve.n if len(able) else 0.0


def risk_at_coverage(curve: RiskCoverage, *, coverage: float) -> float:
    """Error rate at the highest threshold that still answers this share of the examples: in [0, 1], lower is better.

    Raises:
        BadInput: coverage outside (0, 1].
    """
    if not 0 < coverage <= 1:
        raise BadInput(f"a coverage lies in (0, 1]; got {coverage}")
    return float(curve.risk[np.flatnonzero(curve.answered / curve.n >= coverage)[0]])


def _trapezoids(x: Float64[np.ndarray, " points"], y: Float64[np.ndarray, " points"]) -> float:
    return float((np.diff(x) * (y[1:] + y[:-1])).sum() / 2)


def _harmonic(start: Int64[np.ndarray, " k"], end: Int64[np.ndarray, " k"]) -> Float64[np.ndarray, " k"]:
    # 1 / (start + 1) + .. + 1 / end
    sums: Float64[np.ndarray, " k"] = 1 / np.maximum(end, 1)
    sums = np.where(end - start == 2, sums + 1 / np.maximum(end - 1, 1), sums)
    longer = np.flatnonzero((end - start != 1) & (end - start != 2))
    sums[longer] = digamma(end[longer] + 1.0) - digamma(start[longer] + 1.0)
    return sums
