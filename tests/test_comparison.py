import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prudent.comparison import agreement, overlap
from prudent.errors import BadInput
from prudent.masks import Mask

units = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=30)


def mask(values, granularity="channel"):
    half = len(values) // 2
    kept = {"a": torch.tensor(values[:half], dtype=torch.bool), "b": torch.tensor(values[half:], dtype=torch.bool)}
    return Mask(kept=kept, granularity=granularity)


@settings(max_examples=100, deadline=None)
@given(units)
def test_as_sets(pairs):
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    a, b = ({i for i, kept in enumerate(side) if kept} for side in (first, second))
    everything = set(range(len(pairs)))
    if a:
        assert overlap(mask(first), mask(second)) == len(a & b) / len(a)
    assert agreement(mask(first), mask(second)) == len((a & b) | (everything - a - b)) / len(everything)


def test_the_two_differ_where_little_is_kept():
    first, second = mask([True] + [False] * 9), mask([False] * 9 + [True])
    assert overlap(first, second) == 0
    assert agreement(first, second) == 0.8
    assert overlap(first, first) == agreement(first, first) == 1


def test_not_symmetric_for_masks_of_different_size():
    few, many = mask([True, False, False, False]), mask([True, True, True, False])
    assert overlap(few, many) == 1
    assert overlap(many, few) == pytest.approx(1 / 3)


@pytest.mark.parametrize("compare", [overlap, agreement])
@pytest.mark.parametrize("other", [mask([True, False], granularity="weight"), mask([True] * 5)])
def test_masks_of_other_networks_are_refused(compare, other):
    with pytest.raises(BadInput, match="same layers, shapes and granularity"):
        compare(mask([True, False]), other)
