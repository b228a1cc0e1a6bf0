"""Two interleaving half circles."""

import numpy as np

from prudent.splits import Data, partition


def moons(
    *,
    train: int = 700,
    validation: int = 150,
    certification: int = 500,
    test: int = 1000,
    noise: float = 0.2,
    seed: int = 0,
) -> Data:
    """Points of two half moons in the plane with Gaussian noise, made by scikit-learn.

    Args:
        train, validation, certification, test: examples in the splits.
        noise: standard deviation of the noise.
        seed: of the points and of their division.

    Returns: inputs (2,), classes "upper" and "lower".

    Raises:
        BadInput: an empty split.

    Source: scikit-learn's make_moons; with 700 training points and noise 0.2 as in "What happens to uncertainty in
    neural networks upon pruning?" (K. Agrawal).
    """
    from sklearn.datasets import make_moons

    total = train + validation + certification + test
    inputs, labels = make_moons(max(total, 1), noise=noise, random_state=seed)
    return partition(
        inputs.astype(np.float32),
        labels,
        name="moons",
        classes=("upper", "lower"),
        validation=validation,
        certification=certification,
        test=test,
        seed=seed,
        about=f"two half moons in the plane, noise {noise:g}",
    )
