"""How far a network's answers and layers are from the dense network's, example by example. Logarithms are natural."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64
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


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Sums of HSIC over minibatches: of both networks' features with each other, and of each with itself."""

    both: float
    one: float
    other: float

    @property
    def cka(self) -> float:
        """both / sqrt(one other): 1 for features that differ by a rotation and a factor; NaN where it is undefined."""
        scale = self.one * self.other
        # unbiased estimates can be 0 or negative where features are nearly constant
        return self.both / float(np.sqrt(scale)) if self.one > 0 and self.other > 0 else float("nan")


def linear_cka(features: Float[np.ndarray, "n a"], dense: Float[np.ndarray, "n b"]) -> float:
    """Linear centred kernel alignment of two sets of features: in [0, 1], higher = more alike.

        |X' Y|_F^2 / (|X' X|_F |Y' Y|_F)            X, Y with the mean over examples taken off

    Biased upwards when there are not many more examples than features; `minibatch_cka` is not.

    Args:
        features: (n, a) of the same examples, one row each.
        dense: (n, b) of the dense network.

    Raises:
        BadInput: no two-dimensional arrays of the same examples, NaN, features that are the same for all examples.

    Source: Kornblith et al. 2019, "Similarity of Neural Network Representations Revisited", arXiv:1905.00414, eq. 8.
    """
    _check_features(features, dense, least=2)
    x, y = (f.astype(np.float64) - f.mean(axis=0, dtype=np.float64) for f in (features, dense))
    scale = float(np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    if scale == 0:
        raise BadInput("features are the same for all examples: there is nothing to be aligned")
    return float(np.square(x.T @ y).sum()) / scale


def minibatch_cka(batches: Iterable[tuple[Float[np.ndarray, "k a"], Float[np.ndarray, "k b"]]]) -> Alignment:
    """Linear CKA from minibatches, so that all features need never be there at once; higher = more alike.

        sum over batches of HSIC_1(X, Y) / sqrt(sum of HSIC_1(X, X) * sum of HSIC_1(Y, Y))

    HSIC_1 is unbiased, so the result does not depend on the size of batches, except by chance; it can be a little below
    0 or above 1.

    Args:
        batches: pairs (features, dense features) of the same k >= 4 examples. Read once.

    Returns: the three sums; `.cka` of them.

    Raises:
        BadInput: no batches, fewer than 4 examples in one, NaN, arrays that do not belong together.

    Source: Nguyen, Raghu, Kornblith 2021, "Do Wide and Deep Networks Learn the Same Things?", arXiv:2010.15327, eq. 2.
    """
    sums, count = np.zeros(3), 0
    for features, dense in batches:
        _check_features(features, dense, least=4)
        count += 1
        sums += [unbiased_hsic(features, dense), unbiased_hsic(features, features), unbiased_hsic(dense, dense)]
    if count == 0:
        raise BadInput("an alignment needs at least one batch of features")
    return Alignment(both=float(sums[0]) / count, one=float(sums[1]) / count, other=float(sums[2]) / count)


def unbiased_hsic(features: Float[np.ndarray, "n a"], dense: Float[np.ndarray, "n b"]) -> float:
    """Hilbert-Schmidt independence criterion with linear kernels, estimated without bias (HSIC_1); higher = more alike.

        (tr(K L) + (1'K 1)(1'L 1) / ((n - 1)(n - 2)) - 2 / (n - 2) 1'K L 1) / (n (n - 3))

    K = X X' and L = Y Y', both with zero diagonals. May be negative.

    Raises:
        BadInput: fewer than 4 examples, NaN, arrays that do not belong together.

    Source: Song et al. 2012, "Feature Selection via Dependence Maximization", arXiv:0709.2760, eq. 5.
    """
    _check_features(features, dense, least=4)
    n, kernels = len(features), []
    for values in (features, dense):
        rows = values.astype(np.float64)
        kernel = rows @ rows.T
        np.fill_diagonal(kernel, 0.0)
        kernels.append(kernel)
    k, m = kernels
    total = (k * m).sum() + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k.sum(axis=0) @ m.sum(axis=1))
    return float(total / (n * (n - 3)))


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


def _check_features(features: np.ndarray, dense: np.ndarray, *, least: int) -> None:
    if features.ndim != 2 or dense.ndim != 2 or len(features) != len(dense) or len(features) < least:
        shapes = f"{features.shape} and {dense.shape}"
        raise BadInput(f"features of the same {least} or more examples are needed, (n, a) and (n, b); got {shapes}")
    if not (np.isfinite(features).all() and np.isfinite(dense).all()):
        raise BadInput("features are finite numbers; some are not")
