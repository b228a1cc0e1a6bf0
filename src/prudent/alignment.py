"""How far a network's layers are from the dense network's: centred kernel alignment of their features."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from prudent.errors import BadInput


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


def _check_features(features: np.ndarray, dense: np.ndarray, *, least: int) -> None:
    if features.ndim != 2 or dense.ndim != 2 or len(features) != len(dense) or len(features) < least:
        shapes = f"{features.shape} and {dense.shape}"
        raise BadInput(f"features of the same {least} or more examples are needed, (n, a) and (n, b); got {shapes}")
    if not (np.isfinite(features).all() and np.isfinite(dense).all()):
        raise BadInput("features are finite numbers; some are not")
