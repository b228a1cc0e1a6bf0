"""What the members of a pool get right together: the counts that every measure of diversity is computed from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64, UInt64

from prudent.errors import BadInput
from prudent.loss_tables import check_same_examples
from prudent.types import Predictions

MOST = 64
"""Most members: who is right on an example is one word of 64 bits."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tally:
    """What all measures are computed from: counts over the examples, none of which they need again.

    Args:
        n: examples.
        right: (members, members), on how many examples both are right; the diagonal: each by itself.
        same: (members, members), on how many both decide for the same class.
        chosen: (members, classes), how often each member decides for each class.
        patterns: (distinct,) bit i says whether member i is right.
        weights: (distinct,) on how many examples that pattern occurs.
    """

    n: int
    right: Int64[np.ndarray, "members members"]
    same: Int64[np.ndarray, "members members"]
    chosen: Int64[np.ndarray, "members classes"]
    patterns: UInt64[np.ndarray, " distinct"]
    weights: Int64[np.ndarray, " distinct"]

    @property
    def members(self) -> int:
        """How many members there are."""
        return len(self.right)


def check_members(members: Sequence[Predictions]) -> Int64[np.ndarray, " n"]:
    """Refuse members that did not answer the same labelled examples, or that are too many or too few.

    Returns: (n,) the true classes.

    Raises:
        BadInput: no members, more than 64, no labels, other examples, another order, another numbering of the classes.
    """
    if isinstance(members, Predictions) or not members:
        raise BadInput("a team is made of a list with the predictions of at least one member")
    if len(members) > MOST:
        raise BadInput(f"a pool has at most {MOST} members; got {len(members)}: leave out the least accurate")
    first, known = members[0], [member.labels for member in members if member.labels is not None]
    if len(known) < len(members):
        which = next(i for i, member in enumerate(members) if member.labels is None)
        raise BadInput(f"members are compared by who is right: member {which} has no labels; predict with labels")
    for i, (member, labels) in enumerate(zip(members, known, strict=True)):
        if member.n == first.n and not np.array_equal(labels, known[0]) and _renamed(known[0], labels):
            raise BadInput(
                f"members need the same order of classes; the labels of member {i} are those of member 0 renumbered: "
                "reorder its logits and labels"
            )
        check_same_examples(first, member)
    return known[0]


def _renamed(a: Int64[np.ndarray, " n"], b: Int64[np.ndarray, " n"]) -> bool:
    """Whether two lists of labels differ by the names of the classes only."""
    pairs = np.unique(np.stack([a, b]), axis=1)
    return all(len(np.unique(side)) == pairs.shape[1] for side in pairs)


def tally(members: Sequence[Predictions], *, examples: Bool[np.ndarray, " n"] | None = None) -> Tally:
    """Count what the members of a pool get right together.

    Args:
        members: of one split, with labels, on the same examples; 1 to 64.
        examples: (n,) which examples count; None for all.

    Raises:
        BadInput: what `check_members` refuses; `examples` of another shape.
    """
    labels = check_members(members)
    decided = np.stack([member.decisions for member in members])
    if examples is not None and examples.shape != labels.shape:
        raise BadInput(f"one flag for each of {len(labels)} examples is needed; got shape {examples.shape}")
    decided, labels = (decided, labels) if examples is None else (decided[:, examples], labels[examples])
    return count(decided, labels, classes=members[0].classes)


def count(decided: Int64[np.ndarray, "members n"], labels: Int64[np.ndarray, " n"], *, classes: int) -> Tally:
    """The same from decided and true classes, in 0 .. classes - 1; n may be 0."""
    n, correct = len(labels), decided == labels
    bits = packed(correct)
    right = np.stack([np.bitwise_count(bits & one).sum(axis=1, dtype=np.int64) for one in bits])
    codes = (correct.astype(np.uint64) << np.arange(len(correct), dtype=np.uint64)[:, None]).sum(0, dtype=np.uint64)
    patterns, weights = np.unique(codes, return_counts=True)
    return Tally(
        n=n,
        right=right,
        same=np.stack([np.count_nonzero(decided == one, axis=1) for one in decided]).astype(np.int64),
        chosen=np.stack([np.bincount(one, minlength=classes) for one in decided]).astype(np.int64),
        patterns=patterns.astype(np.uint64),
        weights=weights.astype(np.int64),
    )


def packed(flags: Bool[np.ndarray, "rows n"]) -> UInt64[np.ndarray, "rows words"]:
    """Each row as bits, 64 to a word, the rest of the last word 0."""
    packs = np.packbits(flags, axis=1)
    words = -(-max(packs.shape[1], 1) // 8)
    padded = np.zeros((len(flags), 8 * words), np.uint8)
    padded[:, : packs.shape[1]] = packs
    return padded.view(np.uint64)
