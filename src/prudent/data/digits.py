"""Handwritten digits that come with scikit-learn."""

import numpy as np

from prudent.splits import Data, partition


def digits(*, validation: int = 150, certification: int = 450, test: int = 400, seed: int = 0) -> Data:
    """1,797 real grey images of digits, 8 x 8 pixels in [0, 1]; nothing is downloaded.

    Args:
        validation, certification, test: examples in these splits; the rest (797 by default) is for training.
        seed: of the division.

    Returns: inputs (1, 8, 8), classes "0" to "9".

    Raises:
        BadInput: sizes that leave a split empty.

    The digits of all 43 writers are mixed before they are divided, so that certification and test are about these
    writers, and not about a new one.

    Source: Alpaydin, Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository.
    """
    from sklearn.datasets import load_digits

    source = load_digits()
    return partition(
        source.images[:, None].astype(np.float32) / 16,
        source.target,
        name="digits",
        classes=tuple(str(c) for c in source.target_names),
        validation=validation,
        certification=certification,
        test=test,
        seed=seed,
        about="handwritten digits of scikit-learn, 8 x 8 grey, the same writers in every split",
    )
