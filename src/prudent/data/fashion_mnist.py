"""Fashion-MNIST."""

from prudent.data._parquet import labelled_images
from prudent.splits import Data


def fashion_mnist(
    *, train: int | None = None, validation: int = 5000, certification: int = 5000, test: int = 10000, seed: int = 0
) -> Data:
    """70,000 grey images of clothes, 28 x 28 pixels in [0, 1].

    The test split is taken from the official test set; the other three divide the official training set. Read from
    $PRUDENT_DATA/fashion_mnist/, or loaded from the hub.

    Args:
        train: at most so many training examples, drawn by `seed` from the rest; None for all of it. The other three
            splits are the same for every `train`.
        validation, certification, test: examples in these splits; the rest is for training.
        seed: of the division.

    Returns: inputs (1, 28, 28), 10 classes of clothes.

    Raises:
        BadInput: the files are absent (the message says where they belong), sizes that leave a split empty.

    Source: Xiao, Rasul, Vollgraf 2017, "Fashion-MNIST", arXiv:1708.07747.
    """
    return labelled_images(
        "fashion_mnist",
        hub="zalando-datasets/fashion_mnist",
        about="Fashion-MNIST, clothes, 28 x 28 grey",
        validation=validation,
        certification=certification,
        test=test,
        seed=seed,
        train=train,
    )
