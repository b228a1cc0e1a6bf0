"""MNIST."""

from prudent.data._parquet import labelled_images
from prudent.splits import Data


def mnist(
    *, train: int | None = None, validation: int = 5000, certification: int = 5000, test: int = 10000, seed: int = 0
) -> Data:
    """70,000 grey images of handwritten digits, 28 x 28 pixels in [0, 1].

    The test split is taken from the official test set; the other three divide the official training set. Read from
    $PRUDENT_DATA/mnist/, or loaded from the hub.

    Args:
        train: at most so many training examples, drawn by `seed` from the rest; None for all of it. The other three
            splits are the same for every `train`.
        validation, certification, test: examples in these splits; the rest is for training.
        seed: of the division.

    Returns: inputs (1, 28, 28), classes "0" to "9".

    Raises:
        BadInput: the files are absent (the message says where they belong), sizes that leave a split empty.

    Source: LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition".
    """
    return labelled_images(
        "mnist",
        hub="ylecun/mnist",
        about="MNIST, handwritten digits, 28 x 28 grey",
        validation=validation,
        certification=certification,
        test=test,
        seed=seed,
        train=train,
    )
