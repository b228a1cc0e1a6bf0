"""The units of a traced network: what can be removed as one piece, under which name, and what it covers."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from prudent.errors import CannotPrune
from prudent.surgery.families import Families
from prudent.surgery.ledger import Labels
from prudent.surgery.tracing import Trace
from prudent.units import Granularity


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """Units that are ranked together, because they are at home in the same layer.

    Args:
        name: of the parameter under which masks file them: the first one that makes them.
        families: of each unit: (units,), or (rows, units) if equally many must remain in each row.
    """

    name: str
    families: Labels


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """All units of one granularity.

    Args:
        entries: units by layer.
        cover: parameter or buffer -> arrays of unit numbers (from 1, in the order of the entries; 0: always there) that
            broadcast to its shape. An element is removed when a unit at its place is, in any of the arrays.
        trace: what they were found in.
    """

    entries: tuple[Entry, ...]
    cover: Mapping[str, tuple[np.ndarray, ...]]
    trace: Trace

    def cover_of(self, kept: Mapping[str, object]) -> dict[str, tuple[np.ndarray, ...]]:
        """The cover with the unit numbers of a mask that files only some of the entries, in its order."""
        if tuple(kept) == self.names:
            return dict(self.cover)
        number = np.zeros(1 + sum(entry.families.size for entry in self.entries), dtype=np.int32)
        starts = dict(zip(self.names, np.cumsum([1, *[e.families.size for e in self.entries]]), strict=False))
        sizes = {entry.name: entry.families.size for entry in self.entries}
        next_ = 1
        for name in kept:
            number[starts[name] : starts[name] + sizes[name]] = np.arange(next_, next_ + sizes[name])
            next_ += sizes[name]
        return {
            name: found
            for name, arrays in self.cover.items()
            if (found := tuple(new for units in arrays if (new := number[units]).any()))
        }

    def only(self, names: Sequence[str]) -> "Layout":
        """The layout with these of its entries, in its order."""
        chosen = {entry.name: entry for entry in self.entries if entry.name in names}
        return replace(self, entries=tuple(chosen.values()), cover=self.cover_of(chosen))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the entries."""
        return tuple(entry.name for entry in self.entries)

    def families_of(self, removed: Mapping[str, np.ndarray]) -> np.ndarray:
        """Bool for each family: removed when these units (entry -> bool for each) are."""
        families = self.trace.families
        chosen = np.zeros(int(families.of.max(initial=0)) + 1, dtype=bool)
        for entry in self.entries:
            if entry.name in removed:
                chosen[entry.families[removed[entry.name]]] = True
        return families.removed(chosen)


def layout(traced: Trace, *, granularity: Granularity, changing: bool = False) -> Layout:
    """The units of a traced network.

    Args:
        traced: what `trace` found.
        granularity: "channel" or "head".
        changing: offer units whose removal changes the statistics of a normalisation over channels, too.

    Raises:
        CannotPrune: there is no such unit; says why not.
    """
    if (granularity, changing) not in traced.layouts:
        traced.layouts[granularity, changing] = _made(traced, granularity, changing=changing)
    known: Layout = traced.layouts[granularity, changing]
    return known


def _made(traced: Trace, granularity: Granularity, *, changing: bool) -> Layout:
    families = traced.families
    offered = _offered(families, traced, granularity, changing=changing)
    homes = _homes(traced)
    if granularity == "head":
        homes = _homes_of_heads(traced, offered, homes)
    entries = tuple(_entries(families, offered, homes))
    if not entries:
        what = "attention heads" if granularity == "head" else "channels"
        reason = _first_reason(traced)
        more = "; some could with changing=True" if not changing and families.changing else ""
        raise CannotPrune(f"no {what} of this network can be removed: {reason}{more}")
    number = np.zeros(int(families.of.max(initial=0)) + 1, dtype=np.int32)
    units = np.concatenate([entry.families.reshape(-1) for entry in entries])
    number[units] = np.arange(1, len(units) + 1)
    if granularity == "head":
        for unit, row in enumerate(units, start=1):
            number[list(families.rows[int(row)])] = unit
    cover = {
        name: tuple(arrays)
        for name, fields in traced.parameters.items()
        if (arrays := [a for f in fields if (a := number[families.of[f.labels]]).any()])
    }
    return Layout(entries=entries, cover=cover, trace=traced)


def _first_reason(traced: Trace) -> str:
    """Why the outputs of the first layer that makes any must stay; that kernels and inputs must is known."""
    families = traced.families
    for name, fields in traced.parameters.items():
        for field in fields:
            if len(field.live) == 1 and (name, field.live[0]) in traced.makers:
                stays = [f for f in np.unique(families.of[field.labels]) if int(f) in families.frozen]
                if stays:
                    return families.frozen[int(stays[0])]
    return next(iter(families.frozen.values()), "it has no layers that could lose any")


def _offered(families: Families, traced: Trace, granularity: Granularity, *, changing: bool) -> set[int]:
    stays = set(families.frozen) | (set() if changing else set(families.changing)) | {0}
    if granularity == "head":
        return {row for row in families.heads if row in families.rows} - stays
    there = np.zeros(int(families.of.max(initial=0)) + 1, dtype=bool)
    for fields in traced.parameters.values():
        for field in fields:
            there[families.of[field.labels]] = True
    return set(np.flatnonzero(there).tolist()) - stays - set(families.rows)


def _homes(traced: Trace) -> dict[int, list[str]]:
    """Family -> the parameters that make it, in the order in which the network uses them; then those that read it."""
    of = traced.families.of
    size = int(of.max(initial=0)) + 1
    makers, readers = _Lists(size), _Lists(size)
    for name, fields in traced.parameters.items():
        for field in fields:
            made = len(field.live) == 1 and (name, field.live[0]) in traced.makers and field.labels.ndim > 1
            (makers if made else readers).append(of[field.labels].reshape(-1), name)
    found = np.flatnonzero(makers.which + readers.which)
    both: dict[tuple[int, int], list[str]] = {}
    return {
        family: both.setdefault((m, r), makers.lists[m] + readers.lists[r])
        for family, m, r in zip(
            found.tolist(), makers.which[found].tolist(), readers.which[found].tolist(), strict=True
        )
    }


class _Lists:
    """A list of names for each family; families with equal lists share one."""

    def __init__(self, families: int) -> None:
        self.which = np.zeros(families, dtype=np.int64)
        self.lists: list[list[str]] = [[]]

    def append(self, families: np.ndarray, name: str) -> None:
        """Another name for these families."""
        own = self.which[families]
        if own.size and (own == own[0]).all():  # as nearly always
            before, place = own[:1], np.zeros(1, dtype=np.int64)
        else:
            before, place = np.unique(own, return_inverse=True)
        self.which[families] = len(self.lists) + place
        self.lists += [[*self.lists[one], name] for one in before.tolist()]


def _homes_of_heads(traced: Trace, heads: set[int], homes: Mapping[int, list[str]]) -> dict[int, list[str]]:
    """Row -> the parameters that know its members; the last one, which reads the heads, comes first."""
    order = {name: i for i, name in enumerate(traced.parameters)}
    found = {}
    for row in heads:
        names = {name for member in traced.families.rows[row] for name in homes.get(member, [])}
        found[row] = sorted(names, key=lambda name: -order[name])
    return found


def _entries(families: Families, offered: set[int], homes: Mapping[int, list[str]]) -> Iterator[Entry]:
    """Units at home in the same layers, and those that must stay equally many, as rows of one entry."""
    used: set[str] = set()
    placed = {0}
    for sets in _connected([groups for groups in families.balanced if offered & set().union(*groups)]):
        placed |= set().union(*[group for groups in sets for group in groups])
        for rows in _refined(sets, offered):
            yield Entry(name=_free(homes[int(rows[0, 0])][0], used), families=rows)
    left: dict[tuple[str, ...], list[int]] = {}
    for family in sorted(offered - placed):
        left.setdefault(tuple(homes.get(family, ())), []).append(family)
    for names, members in left.items():
        if names:
            yield Entry(name=_free(names[0], used), families=np.array(members))


def _free(name: str, used: set[str]) -> str:
    """A name that no entry has yet: a layer may make units of several kinds."""
    free, n = name, 1
    while free in used:
        n += 1
        free = f"{name}#{n}"
    used.add(free)
    return free


def _connected(tied: Sequence[tuple[frozenset[int], ...]]) -> list[list[tuple[frozenset[int], ...]]]:
    parts: list[tuple[set[int], list[tuple[frozenset[int], ...]]]] = []
    for groups in tied:
        members = {family for group in groups for family in group}
        together = [part for part in parts if part[0] & members]
        for part in together:
            members |= part[0]
            parts.remove(part)
        parts.append((members, [s for part in together for s in part[1]] + [groups]))
    return [part[1] for part in parts]


def _refined(sets: Sequence[tuple[frozenset[int], ...]], offered: set[int]) -> list[np.ndarray]:
    """The common refinement of several divisions into groups, if all of it is removable; as rows of one length each.

    Where each group has equally many parts of each size, parts of one size are rows. Else parts are cut into rows as
    long as their greatest common divisor: what keeps equally many in each row keeps equally many in all that is made of
    equally many rows.
    """
    signature: dict[int, list[tuple[int, int]]] = {}
    for s, groups in enumerate(sets):
        for g, group in enumerate(groups):
            for family in group:
                signature.setdefault(family, []).append((s, g))
    if any(len({s for s, _ in places}) < len(places) for places in signature.values()):
        return []
    parts: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for family in sorted(signature):
        parts.setdefault(tuple(signature[family]), []).append(family)
    if not all(family in offered for part in parts.values() for family in part):
        return []
    by_size: dict[int, dict[tuple[tuple[int, int], ...], list[int]]] = {}
    for key, part in parts.items():
        by_size.setdefault(len(part), {})[key] = part
    if not all(_even(same, sets) for same in by_size.values()):
        by_size = {math.gcd(*by_size): parts} if _even(parts, sets) else {}
    return [  # rows of one: all of them would go, or none
        np.concatenate([np.reshape(part, (-1, size)) for part in same.values()])
        for size, same in by_size.items()
        if size > 1 or len(same) == 1
    ]


def _even(parts: Mapping[tuple[tuple[int, int], ...], list[int]], sets: Sequence[tuple[frozenset[int], ...]]) -> bool:
    """Whether each group of a set has equally many members in these parts, so that equal rows make equal groups."""
    return all(
        len({sum(len(part) for key, part in parts.items() if (s, g) in key) for g in range(len(groups))}) == 1
        for s, groups in enumerate(sets)
    )
