"""The words for what is removed as one piece."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from prudent.errors import BadInput
from prudent.scopes import check_choice

Granularity = Literal["weight", "n:m", "block", "channel", "head"]
Reduction = Literal["sum", "mean", "max", "l2"]

NOUNS: Mapping[Granularity, str] = {
    "weight": "weights", "n:m": "weights", "block": "blocks", "channel": "channels", "head": "heads",
}  # fmt: skip
"""What several units are called."""


@dataclass(frozen=True, kw_only=True)
class Units:
    """What is removed as one piece.

    Args:
        granularity, pattern, block: as in `Mask`.
        reduction: how the scores of a unit's weights become its own: "sum" (of magnitudes: the L1 norm), "mean", "max",
            or "l2" (the root of the sum of squares).
        layers: names of the layers that are pruned; None for all that can be.

    Raises:
        UnknownName: no such granularity or reduction.
        BadInput: a pattern or block that is missing, out of range, or not asked for.
    """

    granularity: Granularity = "weight"
    pattern: tuple[int, int] | None = None
    block: tuple[int, int] | None = None
    reduction: Reduction = "sum"
    layers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_choice("granularity", self.granularity, Granularity)
        check_choice("reduction", self.reduction, Reduction)
        check_shape_of_unit(self.granularity, self.pattern, self.block)


def check_shape_of_unit(granularity: str, pattern: tuple[int, int] | None, block: tuple[int, int] | None) -> None:
    """Refuse a granularity without its numbers, or with those of another.

    Raises:
        BadInput: "n:m" without 0 < n < m, "block" without two sizes of at least 1, or numbers that are not asked for.
    """
    for word, name, numbers in (("n:m", "pattern", pattern), ("block", "block", block)):
        if (numbers is not None) != (granularity == word):
            need = "needs" if granularity == word else "takes no"
            raise BadInput(f"granularity {granularity!r} {need} {name}=(., .); got {numbers}")
    if pattern is not None and not (len(pattern) == 2 and 0 < pattern[0] < pattern[1]):
        raise BadInput(f"an n:m pattern keeps n of each m weights, 0 < n < m; got {pattern}")
    if block is not None and not (len(block) == 2 and min(block) >= 1):
        raise BadInput(f"a block has rows and columns, at least 1 each; got {block}")
