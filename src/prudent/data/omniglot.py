"""Characters of many alphabets, as strangers to digits."""

import numpy as np

from prudent.data._parquet import read_images
from prudent.errors import BadInput
from prudent.splits import Data, strangers


def omniglot(*, n: int = 2000, size: int = 28, seed: int = 0) -> Data:
    """Handwritten characters that are no digits, light on dark as MNIST is, averaged down to `size` pixels.

    Read from $PRUDENT_DATA/omniglot/.

    Args:
        n: number of images, drawn by `seed`.
        size: pixels of their side.
        seed: of the choice.

    Returns: strangers with inputs (1, size, size) in [0, 1].

    Raises:
        BadInput: the files are absent (the message says where they belong), or have fewer than n images.

    Source: Lake, Salakhutdinov, Tenenbaum 2015, "Human-level concept learning through probabilistic program induction".
    """
    from PIL import Image

    images, _, _ = read_images("omniglot", "test", hub=None)
    if not 1 <= n <= len(images):
        raise BadInput(f"omniglot has {len(images)} images; asked for n={n}")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(images))[:n])
    small = np.empty((n, 1, size, size), np.float32)
    for row, i in enumerate(chosen):
        ink = Image.fromarray(1 - images[i, 0]).resize((size, size), Image.Resampling.BOX)
        small[row, 0] = np.asarray(ink)
    # a thin pen averaged down is grey: stretched, so that faintness alone does not give strangers away
    return strangers(
        small / small.max(axis=(1, 2, 3), keepdims=True),
        name="omniglot",
        about="Omniglot, characters that are no digits",
    )
