"""CIFAR-10."""

from collections.abc import Sequence

from prudent.data._elsewhere import standardised, unseen_splits
from prudent.data._parquet import labelled_images, read_images
from prudent.splits import Data

HUB = "uoft-cs/cifar10"
ABOUT = "CIFAR-10, animals and vehicles, 32 x 32 colour"


def cifar10(
    *,
    train: int | None = None,
    validation: int = 5000,
    certification: int = 5000,
    test: int = 10000,
    unseen: bool = False,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seed: int = 0,
) -> Data:
    """60,000 colour images of animals and vehicles, 32 x 32 pixels in [0, 1].

    The test split is taken from the official test set; the other three divide the official training set. Read from
    $PRUDENT_DATA/cifar10/, or loaded from the hub.

    Args:
        train: at most so many training examples, drawn by `seed` from the rest; None for all of it. The other three
            splits are the same for every `train`.
        validation, certification, test: examples in these splits; the rest is for training.
        unseen: take these three from the official test set, and only the training split from the training set: for
            networks that were trained elsewhere, on all of the training set. A certificate on examples that a network
            was trained on would be worthless.
        mean, std: of each channel; where given, inputs are (pixel - mean) / std, as published weights want them.
        seed: of the division.

    Returns: inputs (3, 32, 32), 10 classes.

    Raises:
        BadInput: the files are absent (the message says where they belong), sizes that leave a split empty, not one
            finite mean and positive std for each channel.

    Source: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images".
    """
    if unseen:
        data = unseen_splits(
            read_images("cifar10", "train", hub=HUB, image="img"),
            read_images("cifar10", "test", hub=HUB, image="img"),
            name="cifar10",
            about=ABOUT,
            sizes={"validation": validation, "certification": certification, "test": test},
            train=train,
            seed=seed,
        )
    else:
        data = labelled_images(
            "cifar10",
            hub=HUB,
            about=ABOUT,
            validation=validation,
            certification=certification,
            test=test,
            seed=seed,
            train=train,
            image="img",
        )
    return standardised(data, mean=mean, std=std)
