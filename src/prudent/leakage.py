"""Which inputs of the certification split occur elsewhere, or more than once?"""

import hashlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from prudent.errors import BadInput, SplitMisuse
from prudent.splits import Data, Examples
from prudent.types import Split
from prudent.wording import plural

OTHERS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Leaks:
    """How many examples of the certification split have an input that is the same, number for number, as another.

    Args:
        n: examples of the certification split.
        train, validation: of them, those whose input also occurs in that split, under another id. The networks may
            have learned it, or a choice may have been made by it.
        within: of them, those whose input an earlier one of them already has. They are no independent examples.
        test: of them, those whose input also occurs in the test split. The certificate holds; the risk on the test
            split is no independent look at it.
        spoiled: of them, those that `train`, `validation` or `within` counts, each once.
    """

    n: int
    train: int
    validation: int
    within: int
    test: int
    spoiled: int

    def sentence(self) -> str:
        """What was found, in one sentence; "" where no input occurs twice."""
        found = [f"{count:,} in {split}" for split in OTHERS if (count := getattr(self, split))]
        parts = [f"occur elsewhere: {', '.join(found)}"] if found else []
        parts += [f"repeat an earlier one: {self.within:,}"] if self.within else []
        return f"Of {plural(self.n, 'certification input')}, some {'; some '.join(parts)}." if parts else ""


def leaks(data: Data) -> Leaks:
    """Count the inputs of the certification split that occur in another split or more than once, by their hashes.

    Ids cannot show this: they say that no example of the source was used twice, not that the source has no example
    twice. Only equal numbers are found (-0 is 0): a picture that was shifted, scaled or compressed again is not.

    Args:
        data: a task.

    Returns: the counts, in examples of the certification split; 0 is best.

    Raises:
        BadInput: a set of strangers, which has no certification split.
    """
    if not data.classes:
        raise BadInput(f"leaks are counted in a task; data set {data.name!r} is a set of strangers, without splits")
    own = _digests(data.certification)
    found = {split: _inside(own, _digests(data.splits[split])) for split in OTHERS}
    again = _repeated(own)
    return Leaks(
        n=len(own),
        train=int(found["train"].sum()),
        validation=int(found["validation"].sum()),
        within=int(again.sum()),
        test=int(found["test"].sum()),
        spoiled=int((found["train"] | found["validation"] | again).sum()),
    )


def check_leaks(data: Data, *, tolerated: int = 0) -> Leaks:
    """Refuse data whose certification split is spoiled by inputs that occur elsewhere or twice.

    Inputs of the test split alone are no reason: no network and no choice depends on them.

    Args:
        data: a task.
        tolerated: so many spoiled examples are let pass: where there are few distinct inputs, equal ones are drawn by
            chance and spoil nothing. Else the mean of n losses in [0, 1] may be too low by tolerated / n, which no
            certificate takes into account.

    Returns: the counts.

    Raises:
        SplitMisuse: more spoiled examples than are tolerated.
        BadInput: a set of strangers, or `tolerated` below 0.
    """
    if tolerated < 0:
        raise BadInput(f"so many examples are tolerated, 0 or more; got {tolerated}")
    found = leaks(data)
    if found.spoiled > tolerated:
        raise SplitMisuse(
            f"a certificate needs independent examples that nothing else has used; of the {found.n:,} inputs in the "
            f"certification split of {data.name!r} {found.train:,} are also in train, {found.validation:,} in "
            f"validation, and {found.within:,} are there twice: remove {found.spoiled:,} of them, or tolerate as many"
        )
    return found


def shared_inputs(examples: Examples, others: Examples) -> int:
    """How many of the examples have an input that is the same, number for number, as one of the others."""
    return int(_inside(_digests(examples), _digests(others)).sum())


def _digests(examples: Examples) -> list[bytes]:
    """sha256 of each input."""
    rows = examples.inputs + np.float32(0)  # turns -0 into 0: equal numbers, but not equal bytes
    return [hashlib.sha256(row.tobytes()).digest() for row in rows]


def _inside(digests: list[bytes], others: list[bytes]) -> Bool[np.ndarray, " n"]:
    known = set(others)
    return np.array([digest in known for digest in digests])


def _repeated(digests: list[bytes]) -> Bool[np.ndarray, " n"]:
    """Which ones an earlier one is equal to."""
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(digest, i) != i for i, digest in enumerate(digests)])
