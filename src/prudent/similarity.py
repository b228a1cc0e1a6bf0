"""How far a network's answers are from the dense network's, example by example. Logarithms are natural."""

import numpy as np
from jaxtyping import Float64
from scipy.special import logsumexp

from prudent.errors import BadInput
from prudent.loss_tables import check_same_examples
from prudent.types import Predictions

LogProbabilities = Float64[np.ndarray, "n classes"]
Distances = Float64[np.ndarray, " n"]


def decision_agreement(predictions: Predictions, dense: Predictions) -> float:
    """Share of examples that both networks decide alike: in [0, 1], higher = more alike.

    Raises:
        BadInput: predictions on different examples, splits or classes.
    """
    check_same_examples(predictions, dense)
    return int(np.count_nonzero(predictions.decisions == dense.decisions)) / predictions.n


def log_mean_probabilities(predictions: Predictions) -> LogProbabilities:
    """ln p of the network, with members of the mean of their p: (n, classes), accurate where p rounds to 0 or 1."""
    each = predictions.log_probabilities
    if predictions.members is None:
        return each
    joined: LogProbabilities = np.logaddexp.reduce(each, axis=0) - np.log(predictions.members)
    return joined


def distances(predictions: Predictions, dense: Predictions) -> dict[str, Distances]:
    """All distances of this file between two networks' predictions, one number for each example; lower = more alike.

    Returns: by name: kl (dense to these), kl_reverse (these to dense), jensen_shannon, total_variation, hellinger,
        l2, l_infinity; each (n,).

    Raises:
        BadInput: predictions on different examples, splits or classes.
    """
    check_same_examples(predictions, dense)
    log_p, log_q = log_mean_probabilities(dense), log_mean_probabilities(predictions)
    return {
        "kl": kl(log_p, log_q),
        "kl_reverse": kl(log_q, log_p),
        "jensen_shannon": jensen_shannon(log_p, log_q),
        "total_variation": total_variation(log_p, log_q),
        "hellinger": hellinger(log_p, log_q),
        "l2": softmax_l2(log_p, log_q),
        "l_infinity": softmax_l_infinity(log_p, log_q),
    }


def kl(log_p: LogProbabilities, log_q: LogProbabilities) -> Distances:
    """Kullback-Leibler divergence of q from p: sum of p (ln p - ln q), (n,), nats, >= 0; not symmetric.

    Args:
        log_p: (n, classes) natural logarithms of probabilities that add up to 1; the reference.
        log_q: the same shape.

    Raises:
        BadInput: shapes that differ, NaN, exponentials that do not add up to 1.
    """
    _check(log_p, log_q)
    return _kl(log_p, log_q)


def jensen_shannon(log_p: LogProbabilities, log_q: LogProbabilities) -> Distances:
    """Jensen-Shannon divergence: (KL(p | m) + KL(q | m)) / 2 with m = (p + q) / 2; (n,), nats, in [0, ln 2].

    The arguments and refusals of `kl`. It is the divergence, not its square root.

    Source: Lin 1991, "Divergence Measures Based on the Shannon Entropy" (arXiv: none).
    """
    _check(log_p, log_q)
    log_m = np.logaddexp(log_p, log_q) - np.log(2)
    both: Distances = np.clip((_kl(log_p, log_m) + _kl(log_q, log_m)) / 2, 0.0, np.log(2))
    return both


def total_variation(log_p: LogProbabilities, log_q: LogProbabilities) -> Distances:
    """Total variation distance: sum of |p - q| / 2, (n,), in [0, 1]. The arguments and refusals of `kl`."""
    distance: Distances = np.minimum(np.abs(_difference(log_p, log_q)).sum(axis=1) / 2, 1.0)
    return distance


def hellinger(log_p: LogProbabilities, log_q: LogProbabilities) -> Distances:
    """Hellinger distance: sqrt(sum of (sqrt p - sqrt q)^2 / 2), (n,), in [0, 1]. The arguments and refusals of `kl`."""
    _check(log_p, log_q)
    squares = np.square(np.exp(log_p / 2) - np.exp(log_q / 2)).sum(axis=1)
    distance: Distances = np.minimum(np.sqrt(squares / 2), 1.0)
    return distance


def softmax_l2(log_p: LogProbabilities, log_q: LogProbabilities) -> Distances:
    """Euclidean distance of the probabilities: (n,), in [0, sqrt 2]. The arguments and refusals of `kl`.

    Source: Liebenwein et al. 2021, "Lost in Pruning", arXiv:2103.03014, section 3.
    """
    distance: Distances = np.sqrt(np.square(_difference(log_p, log_q)).sum(axis=1))
    return distance


def softmax_l_infinity(log_p: LogProbabilities, log_q: LogProbabilities) -> Distances:
    """Largest difference of a probability: (n,), in [0, 1]. The arguments and refusals of `kl`."""
    distance: Distances = np.abs(_difference(log_p, log_q)).max(axis=1)
    return distance


def _kl(log_p: LogProbabilities, log_q: LogProbabilities) -> Distances:
    p = np.exp(log_p)
    # 0 ln 0 is 0, whatever q is there
    apart = np.subtract(log_p, log_q, out=np.zeros_like(p), where=p > 0)
    divergence: Distances = np.maximum((p * apart).sum(axis=1), 0.0)
    return divergence


def _difference(log_p: LogProbabilities, log_q: LogProbabilities) -> LogProbabilities:
    _check(log_p, log_q)
    difference: LogProbabilities = np.exp(log_p) - np.exp(log_q)
    return difference


def _check(log_p: LogProbabilities, log_q: LogProbabilities) -> None:
    if log_p.ndim != 2 or log_p.shape != log_q.shape or 0 in log_p.shape:
        raise BadInput(f"both networks need (n, classes) log probabilities; got {log_p.shape} and {log_q.shape}")
    for values in (log_p, log_q):
        if np.isnan(values).any() or not (np.abs(logsumexp(values, axis=1)) < 1e-6).all():
            raise BadInput("log probabilities are needed whose exponentials add up to 1: of logits, take log_softmax")
