"""Ready-made sets of corrupted images, in the files of CIFAR-10-C."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from prudent.errors import BadInput, UnknownName, reason
from prudent.splits import Examples
from prudent.types import Split

SEVERITIES = 5


def list_corruptions(folder: Path) -> tuple[str, ...]:
    """Names of the corruptions in a folder of the -C layout, sorted: its .npy files other than labels.npy.

    Raises:
        BadInput: no such folder, no labels.npy in it.
    """
    if not (folder / "labels.npy").is_file():
        raise BadInput(f"a folder of the -C layout has labels.npy and one .npy for each corruption; {folder} has not")
    return tuple(sorted(path.stem for path in folder.glob("*.npy") if path.stem != "labels"))


def read_corruption(
    folder: Path, name: str, *, severity: int = 3, ids: Sequence[int] | None = None, split: Split = "test"
) -> Examples:
    """Images of one corruption and severity from a folder of the -C layout, with their labels.

    The layout of CIFAR-10-C: NAME.npy has 8-bit images (5 n, h, w, 3), or (5 n, h, w) if they are grey, the n images of
    the test set at severity 1, then the same n at severity 2, and so on; labels.npy has 5 n labels in the same order.
    Only the rows that are asked for are read into memory.

    Args:
        folder: with labels.npy and NAME.npy.
        name: of the corruption.
        severity: 1 to 5.
        ids: which images, by their place 0 .. n - 1 in the test set; None for all. If the clean test set was divided
            for several purposes, give the ids of the split that is meant: its images stay in it when corrupted.
        split: what these images are for.

    Returns: inputs (n, c, h, w) in [0, 1], labels, and the places as ids.

    Raises:
        UnknownName: no such file in the folder.
        BadInput: no such folder, a severity that is not 1 to 5, a file that is no array or of another layout, labels
            that differ between severities, ids outside of the set.
        SplitMisuse: an id that occurs twice.

    Source: Hendrycks, Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", arXiv:1903.12261 (the sets are on Zenodo, records 2535967 and 3555552).
    """
    known = list_corruptions(folder)
    if name not in known:
        raise UnknownName.of(f"corruption in {folder}", name, known)
    if isinstance(severity, bool) or severity not in range(1, SEVERITIES + 1):
        raise BadInput(f"a severity is 1, 2, 3, 4 or 5; got {severity!r}")
    images, labels = _opened(folder / f"{name}.npy"), _opened(folder / "labels.npy")
    n = _check_layout(name, images, labels)
    chosen = np.arange(n) if ids is None else np.asarray(ids)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or len(chosen) == 0:
        raise BadInput(f"ids are integers in 0 .. {n - 1}, at least one; got {chosen.dtype} of shape {chosen.shape}")
    if chosen.min() < 0 or chosen.max() >= n:
        raise BadInput(f"ids lie in 0 .. {n - 1}, places in the test set; got {chosen.min()} .. {chosen.max()}")
    rows = (severity - 1) * n + chosen
    taken = images[rows].astype(np.float32) / 255
    inputs = taken[:, None] if taken.ndim == 3 else np.moveaxis(taken, 3, 1)
    return Examples(inputs=inputs, labels=labels[rows].astype(np.int64), ids=chosen, split=split)


def _opened(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadInput(f"{path} must be an array that NumPy wrote; it could not be read ({reason(error)})") from error
    if not isinstance(array, np.ndarray):
        raise BadInput(f"{path} must be one array that NumPy wrote (.npy); it holds several")
    return array


def _check_layout(name: str, images: np.ndarray, labels: np.ndarray) -> int:
    """How many images there are at each severity."""
    grey_or_coloured = images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3))
    if images.dtype != np.uint8 or not grey_or_coloured or images.size == 0 or len(images) % SEVERITIES:
        raise BadInput(
            f"{name}.npy must hold 8-bit images (5 n, h, w, 3), five severities one after the other; it holds "
            f"{images.dtype} of shape {images.shape}"
        )
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise BadInput(
            f"labels.npy must hold one integer for each of {len(images)} images of {name}.npy; it holds "
            f"{labels.dtype} of shape {labels.shape}"
        )
    blocks = labels.reshape(SEVERITIES, -1)
    if bool((blocks != blocks[0]).any()):
        raise BadInput(
            "labels.npy must repeat the labels of the test set at every severity; they differ between severities, so "
            "that the images are not in the order of the -C layout"
        )
    return blocks.shape[1]
