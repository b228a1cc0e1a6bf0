"""How sure a network is, and how much members or dropout samples contradict each other. Entropies in nats."""

import numpy as np
from jaxtyping import Float64
from scipy.special import entr

from prudent.errors import BadInput
from prudent.types import Predictions


def predictive_entropy(predictions: Predictions) -> Float64[np.ndarray, " n"]:
    """Entropy of the predicted probabilities (with members, of their mean): (n,), nats, in [0, ln classes].

    Source: Gal 2016, "Uncertainty in Deep Learning", section 3.3.1.
    """
    if predictions.members is None:
        return _entropy(predictions.log_probabilities)
    total: Float64[np.ndarray, " n"] = entr(predictions.probabilities).sum(axis=-1)
    return total


def expected_entropy(predictions: Predictions) -> Float64[np.ndarray, " n"]:
    """Mean over members of each member's entropy: (n,), nats, in [0, ln classes]. The part that more data leaves.

    Raises:
        BadInput: predictions without members.
    """
    _members(predictions)
    mean: Float64[np.ndarray, " n"] = _entropy(predictions.log_probabilities).mean(axis=0)
    return mean


def mutual_information(predictions: Predictions) -> Float64[np.ndarray, " n"]:
    """Mutual information between prediction and weights (BALD): (n,), nats, in [0, ln classes].

        I = H(mean over members of p) - mean over members of H(p)

    It is 0 where all members say the same. Rounding below 0 is cut off example by example.

    Raises:
        BadInput: predictions without members.

    Source: Houlsby et al. 2011, "Bayesian Active Learning for Classification and Preference Learning", arXiv:1112.5745.
    """
    _members(predictions)
    difference = predictive_entropy(predictions) - expected_entropy(predictions)
    cut_off: Float64[np.ndarray, " n"] = np.maximum(difference, 0.0)
    return cut_off


def reverse_mutual_information(predictions: Predictions) -> Float64[np.ndarray, " n"]:
    """How far the mean prediction is from its members: (n,), nats, 0 or more, without an upper limit.

        M = mean over members of KL(mean of p || p_m)

    The mutual information has the members first. It is 0 where all members say the same, and is larger than the mutual
    information where a member calls almost impossible what others believe.

    Raises:
        BadInput: predictions without members.

    Source: Malinin, Gales 2021, "Uncertainty Estimation in Autoregressive Structured Prediction", arXiv:2002.07650.
    """
    _members(predictions)
    difference = _surprise(predictions) - predictive_entropy(predictions)
    cut_off: Float64[np.ndarray, " n"] = np.maximum(difference, 0.0)
    return cut_off


def pairwise_divergence(predictions: Predictions) -> Float64[np.ndarray, " n"]:
    """Expected pairwise KL divergence of the members (EPKL): (n,), nats, 0 or more, without an upper limit.

        K = mean over all pairs (i, j), also i = j, of KL(p_i || p_j) = mutual information + reverse mutual information

    Raises:
        BadInput: predictions without members.

    Source: Malinin, Gales 2021, "Uncertainty Estimation in Autoregressive Structured Prediction", arXiv:2002.07650.
    """
    _members(predictions)
    difference = _surprise(predictions) - expected_entropy(predictions)
    cut_off: Float64[np.ndarray, " n"] = np.maximum(difference, 0.0)
    return cut_off


def variation_ratio(predictions: Predictions) -> Float64[np.ndarray, " n"]:
    """Share of members that do not vote for the class with the most votes: (n,), in [0, 1 - 1 / classes].

        v = 1 - max over classes of (votes for the class) / members

    A member votes for its most probable class, the lowest class index where several tie. Others count the votes against
    the class with the highest mean probability, which may be another one and then gives more.

    Raises:
        BadInput: predictions without members.

    Source: Freeman 1965, "Elementary Applied Statistics"; Gal 2016, "Uncertainty in Deep Learning", section 3.3.1.
    """
    members = _members(predictions)
    votes = predictions.logits.argmax(axis=-1)
    counts = np.zeros((predictions.n, predictions.classes), np.int64)
    np.add.at(counts, (np.arange(predictions.n), votes), 1)
    share: Float64[np.ndarray, " n"] = 1 - counts.max(axis=1) / members
    return share


def _entropy(log_probabilities: Float64[np.ndarray, "..."]) -> Float64[np.ndarray, "..."]:
    # from log probabilities: -p ln p keeps the digits of ln p where p rounds to 1
    result: Float64[np.ndarray, ...] = -(np.exp(log_probabilities) * log_probabilities).sum(axis=-1)
    result += 0.0  # no -0.0
    return result


def _surprise(predictions: Predictions) -> Float64[np.ndarray, " n"]:
    """Mean over pairs of members of the cross-entropy of one with the other."""
    total: Float64[np.ndarray, " n"] = -(predictions.probabilities * predictions.log_probabilities.mean(axis=0)).sum(-1)
    return total


def _members(predictions: Predictions) -> int:
    if predictions.members is None:
        raise BadInput(
            "this compares members or dropout samples; these predictions have none: predict(..., mc_samples=...)"
        )
    return predictions.members
