"""What a Brier score is made of: how honest the probabilities are, and how much they tell apart."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from prudent.calibration import equal_width_bins
from prudent.errors import BadInput
from prudent.types import Predictions


@dataclass(frozen=True, kw_only=True)
class BrierParts:
    """Parts of a Brier score: brier = reliability - resolution + uncertainty + within.

    Args:
        reliability: squared gaps between what bins say and what is true, lower is better.
        resolution: how far the bins' true shares are from the overall ones, higher is better.
        uncertainty: of the labels alone, whatever the network.
        within: what the bins do not resolve; of either sign, 0 where all probabilities in each bin are equal.
    """

    reliability: float
    resolution: float
    uncertainty: float
    within: float

    @property
    def brier(self) -> float:
        """The score that the parts come from, in [0, 2], lower is better."""
        return self.reliability - self.resolution + self.uncertainty + self.within


def brier_parts(predictions: Predictions, *, bins: int = 15) -> BrierParts:
    """Decompose the Brier score into reliability, resolution, uncertainty and what the bins leave over.

        reliability = sum over classes and bins of (n_b / n) (mean p_c in b - share of c in b)^2
        resolution  = sum over classes and bins of (n_b / n) (share of c in b - share of c)^2
        uncertainty = sum over classes of (share of c) (1 - share of c)
        within      = sum over classes and bins of (n_b / n) (variance of p_c in b - 2 covariance of p_c and y_c in b)

    Exact for any bins. The plug-in estimates of reliability and resolution are both biased upwards, more so with more
    bins: compare networks on the same n, classes and bins only.

    Args:
        predictions: with labels; with members, of their mean probability.
        bins: equal-width bins of each class's probability, [k/B, (k+1)/B), the last one closed.

    Raises:
        BadInput: predictions without labels, bins < 1.

    Source: Murphy 1973, "A New Vector Partition of the Probability Score", for each class by itself and added up; the
    parts within bins: Stephenson et al. 2008, "Two Extra Components in the Brier Score Decomposition" (arXiv: none).
    """
    if predictions.labels is None:
        raise BadInput("this needs true labels; these predictions have none (labels=None)")
    total = np.zeros(4)
    for c in range(predictions.classes):
        total += _of_class(predictions.probabilities[:, c], predictions.labels == c, bins)
    reliability, resolution, uncertainty, within = (float(part) for part in total)
    return BrierParts(reliability=reliability, resolution=resolution, uncertainty=uncertainty, within=within)


def _of_class(said: Float64[np.ndarray, " n"], true: np.ndarray, bins: int) -> Float64[np.ndarray, "4"]:
    n, which = len(said), equal_width_bins(said, bins=bins)
    counts = np.bincount(which, minlength=bins)
    hits: Int64[np.ndarray, " bins"] = np.bincount(which[true], minlength=bins)
    seen = np.maximum(counts, 1)
    mean, share, overall = np.bincount(which, weights=said, minlength=bins) / seen, hits / seen, hits.sum() / n
    apart = said - mean[which]
    return np.array(
        [
            (counts * np.square(mean - share)).sum() / n,
            (counts * np.square(share - overall)).sum() / n,
            overall * (1 - overall),
            (np.square(apart) - 2 * apart * (true - share[which])).sum() / n,
        ]
    )
