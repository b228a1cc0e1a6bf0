"""Divisions into groups that must stay equally large: the rows found keep all of them so, by their definition."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prudent.surgery.layouts import _refined

Sets = Sequence[tuple[frozenset[int], ...]]


def evenly(rows: Sequence[np.ndarray], sets: Sets) -> bool:
    """Whether removing any one of each row of an array takes equally many from each group of each set."""
    lost = [
        [{sum(int(member) in group for member in column) for group in groups} for groups in sets]
        for array in rows
        for column in np.stack([array, array[:, ::-1]], 2).reshape(len(array), -1).T
    ]
    within = [
        set(row.tolist()) <= group or not set(row.tolist()) & group
        for array in rows
        for row in array
        for groups in sets
        for group in groups
    ]
    return all(within) and all(len(counts) == 1 for column in lost for counts in column)


def divided(sizes: Sequence[int]) -> tuple[frozenset[int], ...]:
    ends = np.cumsum([0, *sizes]) + 1
    return tuple(frozenset(range(a, b)) for a, b in zip(ends, ends[1:], strict=False))


@given(st.data())
def test_what_is_even_in_rows_is_even_in_all_groups(data: st.DataObject):
    """Up to three divisions of up to twelve units, of which some may stay, or not be spoken of."""
    sets = []
    for _ in range(data.draw(st.integers(1, 3))):
        of = data.draw(st.lists(st.integers(0, 3), min_size=12, max_size=12))
        groups = [frozenset(i + 1 for i, g in enumerate(of) if g == one) for one in (1, 2, 3)]
        sets.append(tuple(group for group in groups if group))
    offered = data.draw(st.frozensets(st.integers(1, 12), min_size=8))
    rows = _refined(sets, set(offered))
    assert evenly(rows, sets)
    members = [int(member) for array in rows for member in array.ravel()]
    assert len(set(members)) == len(members)
    assert set(members) <= offered


@pytest.mark.parametrize(
    ("sets", "shapes"),
    [
        ([divided([4, 4, 4])], [(3, 4)]),
        ([divided([6, 6]), divided([4, 4, 4])], [(6, 2)]),  # parts of 4, 2, 2 and 4: not even by size
        ([divided([6, 6]), divided([3, 3, 3, 3])], [(4, 3)]),
        ([divided([6, 6]), (frozenset([1, 2, 7, 8]), frozenset([3, 4, 9, 10]))], [(6, 2)]),
        ([divided([5, 5]), (frozenset([1, 2]), frozenset([6, 7]))], [(2, 2), (2, 3)]),  # even by size: longer rows
        (  # parts of 6, 6, 4, 4 and 4
            [divided([12, 12]), divided([6, 6]), tuple(frozenset(range(a, a + 4)) for a in (13, 17, 21))],
            [(12, 2)],
        ),
        ([divided([3, 3]), divided([2, 2, 2])], []),  # rows of one, all of which would go
        ([divided([4, 2])], []),  # never even
    ],
)
def test_how_finely(sets: Sets, shapes: list[tuple[int, int]]):
    units = {one for groups in sets for group in groups for one in group}
    found = _refined(sets, units)
    assert sorted(array.shape for array in found) == shapes
    assert evenly(found, sets)
    assert _refined(sets, units - {1}) == []  # what must stay could not be equally many


def test_a_unit_in_two_groups_of_a_division_stays():
    assert _refined([(frozenset([1, 2]), frozenset([2, 3]))], {1, 2, 3}) == []
