"""A data set as four disjoint splits, each for one purpose: train, validation, certification, test."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from prudent.batches import Batches
from prudent.errors import BadInput, SplitMisuse
from prudent.types import Split, check_labels, check_split
from prudent.wording import plural

TASK: tuple[Split, ...] = ("train", "validation", "certification", "test")


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """The examples of one split.

    The arrays are copies, so that what the caller does with its own changes nothing here. They are not read-only, since
    PyTorch reads only writable arrays without a copy of its own.

    Args:
        inputs: (n, ...), finite. Kept as float32.
        labels: (n,) integer classes, or None. Kept as int64.
        ids: (n,) integers, which example of the source each one is; none may occur twice. Examples with other
            ids may still be equal: see `Data.repeated`.
        split: what they are for.
        masks: (n, height, width) bool, the pixels of the object in pictures of that size, or None. Networks never read
            them here: they are for losses of masks (`prudent.segmentation`) and for a training loop of one's own.

    Raises:
        BadInput: no examples, NaN or infinite inputs, lengths that differ, masks that are not bool or of another size.
        SplitMisuse: an example that occurs twice.
    """

    inputs: np.ndarray
    labels: np.ndarray | None
    ids: np.ndarray
    split: Split
    masks: np.ndarray | None = None

    def __post_init__(self) -> None:
        check_split(self.split)
        if len(self.inputs) == 0:
            raise BadInput(f"the {self.split} split is empty: it needs at least one example")
        object.__setattr__(self, "inputs", np.array(self.inputs, np.float32, order="C"))
        for name in ("labels", "ids"):
            values = getattr(self, name)
            if values is not None and np.asarray(values).dtype.kind not in "iu":
                raise BadInput(f"{name} are integers; got dtype {np.asarray(values).dtype}")
            object.__setattr__(self, name, None if values is None else np.array(values, np.int64, order="C"))
        bad = int(np.count_nonzero(~np.isfinite(self.inputs)))
        if bad:
            raise BadInput(f"inputs must be finite; {bad} numbers of the {self.split} split are NaN or infinite")
        for what, values in (("labels", self.labels), ("ids", self.ids)):
            if values is not None and len(values) != len(self.inputs):
                raise BadInput(f"{plural(len(self.inputs), 'input')} need as many {what}; got {len(values)}")
        if len(np.unique(self.ids)) != len(self.ids):
            raise SplitMisuse(f"an example occurs twice in the {self.split} split")
        if self.masks is not None:
            object.__setattr__(self, "masks", _masks(np.asarray(self.masks), self.inputs.shape))

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.inputs)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over purpose, inputs, labels, ids and masks, as 64 hex digits."""
        digest = hashlib.sha256(f"{self.split}|{self.inputs.shape}|".encode())
        for array in (self.inputs, self.labels, self.ids):
            digest.update(b"none|" if array is None else np.ascontiguousarray(array).data)
        if self.masks is not None:  # nothing where there are none: older fingerprints stay what they are
            digest.update(b"masks|" + self.masks.tobytes())
        return digest.hexdigest()

    def batches(self, size: int = 256) -> Batches:
        """The examples as batches that know what they are for."""
        return Batches(
            inputs=torch.from_numpy(self.inputs),
            labels=None if self.labels is None else torch.from_numpy(self.labels),
            size=size,
            split=self.split,
            data=self.fingerprint,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Data:
    """A data set: four disjoint splits of a task, or one set of strangers (split "ood") that belong to no task.

    Args:
        name: of the data set.
        classes: names of the classes; () for strangers.
        splits: the examples by split.
        about: one sentence on what the examples are, for reports.

    Raises:
        BadInput: a missing split, inputs of different shapes, labels outside the classes, masks in some splits only.
        SplitMisuse: an example that is in two splits.
    """

    name: str
    classes: tuple[str, ...]
    splits: Mapping[Split, Examples]
    about: str

    def __post_init__(self) -> None:
        wanted = TASK if self.classes else ("ood",)
        if set(self.splits) != set(wanted):
            raise BadInput(f"data set {self.name!r} needs the splits {', '.join(wanted)}; got {', '.join(self.splits)}")
        shapes = {examples.inputs.shape[1:] for examples in self.splits.values()}
        if len(shapes) > 1:
            raise BadInput(f"the splits of {self.name!r} have inputs of different shapes: {sorted(shapes)}")
        bare = [split for split, examples in self.splits.items() if examples.masks is None]
        if 0 < len(bare) < len(self.splits):
            raise BadInput(f"all splits of {self.name!r} have masks or none has; there are none in {', '.join(bare)}")
        owner: dict[int, Split] = {}
        for split, examples in self.splits.items():
            if examples.split != split:
                raise SplitMisuse(f"examples made for {examples.split!r} cannot serve as the {split!r} split")
            if examples.labels is not None:
                check_labels(examples.labels, n=len(examples), classes=len(self.classes))
            for i in examples.ids.tolist():
                if owner.setdefault(i, split) != split:
                    raise SplitMisuse(f"example {i} of {self.name!r} is in the {owner[i]} and in the {split} split")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch."""
        return tuple(next(iter(self.splits.values())).inputs.shape[1:])

    @property
    def fingerprint(self) -> str:
        """sha256 over the fingerprints of all splits."""
        parts = (f"{split}:{self.splits[split].fingerprint}" for split in sorted(self.splits))
        return hashlib.sha256("|".join(parts).encode()).hexdigest()

    @cached_property
    def repeated(self) -> dict[Split, int]:
        """For each split but train, how many of its inputs are the same, number for number, as one of train's.

        Such an example was seen in training under another id; where there are many, errors come out too low.
        """
        if not self.classes:
            return {}
        seen = {row.tobytes() for row in self.train.inputs}
        others: tuple[Split, ...] = ("validation", "certification", "test")
        return {split: sum(row.tobytes() in seen for row in self.splits[split].inputs) for split in others}

    @property
    def train(self) -> Examples:
        """For training and for scoring weights."""
        return self.splits["train"]

    @property
    def validation(self) -> Examples:
        """For every choice."""
        return self.splits["validation"]

    @property
    def certification(self) -> Examples:
        """For the certificate alone."""
        return self.splits["certification"]

    @property
    def test(self) -> Examples:
        """For reporting alone."""
        return self.splits["test"]


def _masks(masks: np.ndarray, inputs: tuple[int, ...]) -> np.ndarray:
    wanted = (inputs[0], *inputs[2:])
    if len(inputs) != 4 or masks.shape != wanted or masks.dtype.kind != "b":
        raise BadInput(
            f"masks are bool (n, height, width) beside pictures (n, channels, height, width); got {masks.dtype} of "
            f"shape {masks.shape} beside {inputs}"
        )
    return np.array(masks, np.bool_, order="C")


def partition(
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    name: str,
    classes: tuple[str, ...],
    validation: int,
    certification: int,
    test: int,
    seed: int,
    about: str,
    train: int | None = None,
    held_out: tuple[np.ndarray, np.ndarray] | None = None,
) -> Data:
    """Divide examples at random into the four splits; what is left after the other three is for training.

    `train` changes nothing of the other three splits, and fewer training examples are some of those of more.

    Args:
        inputs: (n, ...) all examples.
        labels: (n,) their classes.
        name, classes, about: as in `Data`.
        validation, certification, test: examples in each of these splits.
        seed: of the division.
        train: at most so many of what is left, drawn by `seed`, make the train split, >= 1; None for all of it.
        held_out: (inputs, labels) of a separate test set; `test` of them, drawn by `seed`, make the test split, and
            none of `inputs` does.

    Raises:
        BadInput: more examples asked for than there are, an empty split, a `train` that is no whole number >= 1, NaN,
            labels outside the classes.
    """
    if train is not None and (not isinstance(train, int) or isinstance(train, bool) or train < 1):
        raise BadInput(f"train needs a whole number >= 1 of training examples, or None for all; got {train!r}")
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(inputs))
    sizes = {"validation": validation, "certification": certification} | ({} if held_out else {"test": test})
    left = len(inputs) - sum(sizes.values())
    if left < 1 or min(sizes.values()) < 1 or test < 1:
        asked = ", ".join(f"{k} {v}" for k, v in {**sizes, "test": test}.items())
        raise BadInput(f"every split of {name!r} needs examples: of {len(inputs)} asked for {asked}, train {left}")
    parts: dict[Split, np.ndarray] = {}
    start = 0
    for split, size in {"train": left, **sizes}.items():
        parts[split] = np.sort(order[start : start + size])  # type: ignore[index]
        start += size
    if train is not None:
        parts["train"] = np.sort(order[: min(train, left)])  # in the order drawn, not the first of the source
    splits = {split: _examples(inputs, labels, at, split) for split, at in parts.items()}
    if held_out is not None:
        if test > len(held_out[0]):
            raise BadInput(f"the test set of {name!r} has {len(held_out[0])} examples; asked for {test}")
        at = np.sort(generator.permutation(len(held_out[0]))[:test])
        splits["test"] = _examples(*held_out, at, "test", first=len(inputs))
    return Data(name=name, classes=classes, splits=splits, about=about)


def strangers(inputs: np.ndarray, *, name: str, about: str) -> Data:
    """Examples that belong to no task, all for the split "ood"."""
    ids = np.arange(len(inputs), dtype=np.int64)
    ood = Examples(inputs=inputs, labels=None, ids=ids, split="ood")
    return Data(name=name, classes=(), splits={"ood": ood}, about=about)


def _examples(inputs: np.ndarray, labels: np.ndarray, at: np.ndarray, split: Split, first: int = 0) -> Examples:
    return Examples(inputs=inputs[at], labels=labels[at], ids=at.astype(np.int64) + first, split=split)
