"""Labels that go together, once the whole network was seen."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from prudent.surgery.ledger import Labels, Ledger


@dataclass(frozen=True, kw_only=True, eq=False)
class Families:
    """What goes together in a network. A *family* is a set of labels that are removed together, as a number from 1.

    Args:
        of: label -> its family; 0 for label 0.
        frozen: families that must stay -> the first reason found.
        changing: families whose removal changes the statistics of a normalisation -> which one.
        rows: family of a row -> the families in it, which go with it.
        balanced: sets of groups of families; equally many must remain in each group of a set.
        heads: families of rows that are attention heads.
    """

    of: Labels
    frozen: Mapping[int, str]
    changing: Mapping[int, str]
    rows: Mapping[int, frozenset[int]]
    balanced: tuple[tuple[frozenset[int], ...], ...]
    heads: frozenset[int]

    def removed(self, chosen: np.ndarray) -> np.ndarray:
        """Bool for each family: the chosen ones, and with each row those in it."""
        gone = chosen.copy()
        waiting = [row for row in self.rows if gone[row]]
        while waiting:
            for member in self.rows[waiting.pop()]:
                if not gone[member]:
                    gone[member] = True
                    waiting += [member] if member in self.rows else []
        return gone


def resolve(ledger: Ledger) -> Families:
    """The families of everything that was written down."""
    n = ledger.count + 1
    of: Labels = np.arange(n)  # label 0 is united with nothing and comes first, so its family is 0
    if ledger.united:
        a = np.concatenate([pair[0] for pair in ledger.united])
        b = np.concatenate([pair[1] for pair in ledger.united])
        pairs = coo_matrix((np.ones(len(a), dtype=bool), (a, b)), shape=(n, n))
        of = np.asarray(connected_components(pairs, directed=False)[1])
    frozen = _reasons(of, ledger.frozen)
    changing = _reasons(of, ledger.changing)
    rows: dict[int, set[int]] = {}
    for label, members in ledger.rows.items():
        rows.setdefault(int(of[label]), set()).update(int(f) for f in of[members] if f)
    # what goes together with the row that it is alone in is no row
    whole = {row: frozenset(members - {row}) for row, members in rows.items() if members != {row}}
    for reasons in (frozen, changing):
        _pass_to_rows(whole, reasons)
    balanced = [_different([frozenset(int(f) for f in of[group]) for group in groups]) for groups in ledger.balanced]
    return Families(
        of=of,
        frozen=frozen,
        changing=changing,
        rows=whole,
        # groups of one family each: whichever goes, its group goes as a whole
        balanced=tuple(groups for groups in balanced if len(groups) > 1 and max(map(len, groups)) > 1),
        heads=frozenset(int(f) for labels in ledger.heads for f in np.unique(of[labels]) if f),
    )


def _reasons(of: Labels, found: list[tuple[Labels, str]]) -> dict[int, str]:
    reasons: dict[int, str] = {}
    for labels, reason in found:
        for family in np.unique(of[labels]):
            reasons.setdefault(int(family), reason)
    return reasons


def _pass_to_rows(rows: Mapping[int, frozenset[int]], reasons: dict[int, str]) -> None:
    """A row with something in it that must stay must stay."""
    changed = True
    while changed:
        changed = False
        for row, members in rows.items():
            if row not in reasons:
                reason = next((reasons[member] for member in members if member in reasons), None)
                if reason is not None:
                    reasons[row], changed = reason, True


def _different(groups: list[frozenset[int]]) -> tuple[frozenset[int], ...]:
    return tuple(dict.fromkeys(groups))
