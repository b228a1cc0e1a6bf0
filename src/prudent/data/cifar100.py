"""CIFAR-100."""

from prudent.data._parquet import labelled_images
from prudent.splits import Data


def cifar100(
    *, train: int | None = None, validation: int = 5000, certification: int = 5000, test: int = 10000, seed: int = 0
) -> Data:
    """60,000 colour images, 32 x 32 pixels in [0, 1].

    The test split is taken from the official test set; the other three divide the official training set. Read from
    $PRUDENT_DATA/cifar100/, or loaded from the hub.

    Args:
        train: at most so many training examples, drawn by `seed` from the rest; None for all of it. The other three
            splits are the same for every `train`.
        validation, certification, test: examples in these splits; the rest is for training.
        seed: of the division.

    Returns: inputs (3, 32, 32), 100 fine classes.

    Raises:
        BadInput: the files are absent (the message says where they belong), sizes that leave a split empty.

    Source: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images".
    """
    return labelled_images(
        "cifar100",
        hub="uoft-cs/cifar100",
        about="CIFAR-100, 100 kinds of things, 32 x 32 colour",
        validation=validation,
        certification=certification,
        test=test,
        seed=seed,
        train=train,
        image="img",
        label="fine_label",
    )
