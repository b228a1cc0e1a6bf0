"""Street View House Numbers."""

from prudent.data._parquet import labelled_images
from prudent.splits import Data


def svhn(
    *, train: int | None = None, validation: int = 5000, certification: int = 5000, test: int = 26032, seed: int = 0
) -> Data:
    """99,289 colour images of house numbers, 32 x 32 pixels in [0, 1], cropped to one digit.

    The test split is taken from the official test set; the other three divide the official training set. Read from
    $PRUDENT_DATA/svhn/, or loaded from the hub.

    Args:
        train: at most so many training examples, drawn by `seed` from the rest; None for all of it. The other three
            splits are the same for every `train`.
        validation, certification, test: examples in these splits; the rest is for training.
        seed: of the division.

    Returns: inputs (3, 32, 32), classes "0" to "9".

    Raises:
        BadInput: the files are absent (the message says where they belong), sizes that leave a split empty.

    Source: Netzer et al. 2011, "Reading Digits in Natural Images with Unsupervised Feature Learning".
    """
    return labelled_images(
        "svhn",
        hub="ufldl-stanford/svhn",
        about="Street View House Numbers, cropped digits, 32 x 32 colour",
        validation=validation,
        certification=certification,
        test=test,
        seed=seed,
        train=train,
        config="cropped_digits",
    )
