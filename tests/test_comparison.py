from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prudent.comparison import agreement, chance_overlap, overlap
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


def layers(first, second, units=(3, 4)):
    """The mask of two layers that keeps these places."""
    places = (first, second)
    kept = {str(i): torch.zeros(n, dtype=torch.bool) for i, n in enumerate(units)}
    for i, own in enumerate(places):
        kept[str(i)][list(own)] = True
    return Mask(kept=kept, granularity="channel")


@pytest.mark.parametrize("other", [layers((0,), (1, 2, 3)), layers((0, 1, 2), ()), layers((2,), (0,))])
@pytest.mark.parametrize(("a", "b"), [(1, 2), (3, 0), (0, 3), (2, 4)])
def test_chance_is_the_mean_over_all_masks(other, a, b):
    one = layers(range(a), range(b))
    anywhere = [
        overlap(layers([i for i in units if i < 3], [i - 3 for i in units if i >= 3]), other)
        for units in combinations(range(7), a + b)
    ]
    by_layer = [
        overlap(layers(first, second), other)
        for first in combinations(range(3), a)
        for second in combinations(range(4), b)
    ]
    assert chance_overlap(one, other) == pytest.approx(sum(anywhere) / len(anywhere), abs=1e-12)
    assert chance_overlap(one, other, by_layer=True) == pytest.approx(sum(by_layer) / len(by_layer), abs=1e-12)


def test_not_symmetric_for_masks_of_different_size():
    few, many = mask([True, False, False, False]), mask([True, True, True, False])
    assert overlap(few, many) == 1
    assert overlap(many, few) == pytest.approx(1 / 3)


@pytest.mark.parametrize("compare", [overlap, agreement, chance_overlap])
@pytest.mark.parametrize("other", [mask([True, False], granularity="weight"), mask([True] * 5)])
def test_masks_of_other_networks_are_refused(compare, other):
    with pytest.raises(BadInput, match="same layers, shapes and granularity"):
        compare(mask([True, False]), other)
