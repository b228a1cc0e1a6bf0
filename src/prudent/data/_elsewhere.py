"""Data for networks that were trained elsewhere: splits that they have not seen, in the units that they want."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float32, Int64

from prudent.data._parquet import Images
from prudent.errors import BadInput
from prudent.splits import Data, Examples
from prudent.types import Split

Official = tuple[Float32[np.ndarray, "_ channels height width"], Int64[np.ndarray, " _"], tuple[str, ...]]
"""Images, their labels and the names of the classes."""


def unseen_splits(
    train_set: Official,
    test_set: Official,
    *,
    name: str,
    about: str,
    sizes: Mapping[Split, int],
    train: int | None,
    seed: int,
) -> Data:
    """Four splits of which only the one for training comes from the official training set.

    Args:
        train_set, test_set: the official sets.
        name, about: as in `Data`.
        sizes: examples for validation, certification and test, drawn by `seed` from the test set.
        train: at most so many training examples, drawn by `seed`; None for all.
        seed: of the division.

    Raises:
        BadInput: an empty split, more examples asked for than the test set has.
    """
    images, labels, classes = train_set
    unseen, truth, _ = test_set
    if min(sizes.values()) < 1 or sum(sizes.values()) > len(unseen) or (train is not None and train < 1):
        asked = ", ".join(f"{split} {size}" for split, size in sizes.items())
        raise BadInput(
            f"with unseen = true every split of {name!r} but train comes from the {len(unseen)} examples of the "
            f"official test set, and none is empty; asked for {asked}, train {train}"
        )
    generator = np.random.default_rng(seed)
    kept = np.sort(generator.permutation(len(images))[:train])
    splits: dict[Split, Examples] = {"train": _examples(images, labels, kept, "train")}
    order = generator.permutation(len(unseen))
    start = 0
    for split, size in sizes.items():
        at = np.sort(order[start : start + size])
        splits[split] = _examples(unseen, truth, at, split, first=len(images))
        start += size
    return Data(name=name, classes=classes, splits=splits, about=about)


def standardised(data: Data, *, mean: Sequence[float] | None, std: Sequence[float] | None) -> Data:
    """The same data with (input - mean) / std for each channel, in float32; unchanged where neither is given.

    Raises:
        BadInput: not one finite mean and one positive std for each channel.
    """
    if mean is None and std is None:
        return data
    channels = data.shape[0]
    if not _fits(mean, channels) or not _fits(std, channels) or not all(value > 0 for value in std or ()):
        raise BadInput(
            f"inputs of {channels} channels need as many finite numbers in mean and positive ones in std; "
            f"got mean = {mean}, std = {std}"
        )
    shift, width = (np.asarray(given, np.float32).reshape(-1, 1, 1) for given in (mean, std))
    splits = {
        split: replace(examples, inputs=(examples.inputs - shift) / width) for split, examples in data.splits.items()
    }
    return replace(data, splits=splits, about=f"{data.about}, standardised")


def _fits(given: Sequence[float] | None, channels: int) -> bool:
    return given is not None and len(given) == channels and bool(np.isfinite(np.asarray(given, np.float64)).all())


def _examples(
    images: Images, labels: Int64[np.ndarray, " n"], at: np.ndarray, split: Split, first: int = 0
) -> Examples:
    return Examples(inputs=images[at], labels=labels[at], ids=at.astype(np.int64) + first, split=split)
