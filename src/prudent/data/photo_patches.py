"""Small grey patches of photographs: real images that are no digits."""

import numpy as np

from prudent.errors import BadInput
from prudent.splits import Data, strangers


def photo_patches(*, n: int = 400, size: int = 8, window: int = 48, seed: int = 0) -> Data:
    """Patches of the two photographs that come with scikit-learn (china.jpg, flower.jpg), half from each.

    A square window at a random place is averaged down to `size` pixels and stretched to [0, 1], so that brightness and
    contrast do not give it away. Windows with hardly any contrast (blurred background) are drawn again.

    Args:
        n: number of patches.
        size: pixels of their side.
        window: pixels of the window's side in the photograph, a multiple of `size`.
        seed: of the places.

    Returns: strangers with inputs (1, size, size) in [0, 1].

    Raises:
        BadInput: n < 1, a window that is no multiple of size or larger than the photographs.

    Source: scikit-learn's load_sample_images.
    """
    from sklearn.datasets import load_sample_images

    if n < 1 or size < 1 or window % size or not size <= window <= 400:
        raise BadInput(
            f"patches need n >= 1 and a window of at most 400 pixels that is a multiple of size; got n={n}, "
            f"size={size}, window={window}"
        )
    generator = np.random.default_rng(seed)
    photographs = [image.mean(axis=2) for image in load_sample_images().images]
    patches = np.empty((n, 1, size, size), np.float32)
    for i in range(n):
        patches[i, 0] = _patch(photographs[i % len(photographs)], size, window, generator)
    return strangers(patches, name="photo_patches", about="patches of two photographs of scikit-learn")


def _patch(photograph: np.ndarray, size: int, window: int, generator: np.random.Generator) -> np.ndarray:
    cell = window // size
    while True:
        top = generator.integers(photograph.shape[0] - window)
        left = generator.integers(photograph.shape[1] - window)
        cut = photograph[top : top + window, left : left + window]
        patch = cut.reshape(size, cell, size, cell).mean(axis=(1, 3))
        low, high = patch.min(), patch.max()
        if high - low >= 16:  # of 255 grey levels
            stretched: np.ndarray = (patch - low) / (high - low)
            return stretched
