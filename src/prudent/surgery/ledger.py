"""What is learnt about labels while a network is traced: which belong together, which must stay, and why.

A *label* is a positive integer that stands at one index of one dimension of a tensor; 0 stands where nothing can be
removed. Equal labels, and labels that were united, are removed together.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Labels = np.ndarray
"""Integer array of labels."""


@dataclass(eq=False)
class Ledger:
    """Everything that rules write down. It is filled while the graph is walked, and read once by `resolve`.

    Args:
        count: labels given out so far.
        united: pairs of equally long label vectors; what stands at the same place is removed together.
        frozen: labels that must stay, and the reason.
        changing: labels whose removal changes the statistics of a normalisation, and which one.
        rows: label of a row -> the labels in it; the row vanishes when it is removed, with all of them.
        balanced: vectors of labels of which equally many must remain.
        heads: labels of rows that are attention heads.
        makers: (parameter, dimension) that make the units of a layer: its outputs.
        rewritten: (parameter, dimension) -> labels of its elements that replace the labels of that dimension.
        place: says where the walk is now, for reasons.
    """

    count: int = 0
    united: list[tuple[Labels, Labels]] = field(default_factory=list)
    frozen: list[tuple[Labels, str]] = field(default_factory=list)
    changing: list[tuple[Labels, str]] = field(default_factory=list)
    rows: dict[int, Labels] = field(default_factory=dict)
    balanced: list[tuple[Labels, ...]] = field(default_factory=list)
    heads: list[Labels] = field(default_factory=list)
    makers: dict[tuple[str, int], None] = field(default_factory=dict)
    rewritten: dict[tuple[str, int], Labels] = field(default_factory=dict)
    place: Callable[[], str] = str
    _row_of: dict[bytes, int] = field(default_factory=dict)

    def fresh(self, n: int) -> Labels:
        """`n` labels that were never given out."""
        self.count += n
        return np.arange(self.count - n + 1, self.count + 1, dtype=np.int32)

    def freeze(self, labels: Labels, reason: str) -> None:
        """These labels must stay."""
        found = np.unique(labels)
        if found.size and found[-1] > 0:
            self.frozen.append((found[found > 0], self._explained(reason)))

    def change(self, labels: Labels, reason: str) -> None:
        """Removing these labels changes what a normalisation computes for the others."""
        found = np.unique(labels)
        if found.size and found[-1] > 0:
            self.changing.append((found[found > 0], self._explained(reason)))

    def unite(self, a: Labels, b: Labels) -> None:
        """What stands at the same place in `a` and `b` (which broadcast) is removed together."""
        a, b = (np.ravel(x) for x in np.broadcast_arrays(a, b))
        both = (a > 0) & (b > 0) & (a != b)
        if both.any():
            self.united.append((a[both], b[both]))
        for one, other in ((a, b), (b, a)):
            alone = one[(one > 0) & (other == 0)]
            if alone.size:
                self.freeze(alone, "it meets values that cannot be removed")

    def row(self, members: Labels) -> int:
        """The label of a row with these members; the same members have the same one."""
        key = members.astype(np.int32).tobytes()
        if key not in self._row_of:
            label = int(self.fresh(1)[0])
            self._row_of[key] = label
            self.rows[label] = members
            if (members == 0).any():
                self.freeze(np.array([label]), "part of it cannot be removed")
        return self._row_of[key]

    def balance(self, groups: list[Labels]) -> None:
        """Equally many labels must remain in each of these groups."""
        different = {group.tobytes(): group for group in groups}
        if len(different) > 1:
            self.balanced.append(tuple(different.values()))

    def rewrite(self, parameter: str, dim: int, labels: Labels) -> None:
        """Elements of a parameter have these labels, instead of those of dimension `dim`."""
        known = self.rewritten.setdefault((parameter, dim), labels)
        if known is not labels:
            self.unite(known, labels)

    def _explained(self, reason: str) -> str:
        place = self.place()
        return f"{reason} ({place})" if place else reason
