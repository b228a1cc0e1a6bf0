"""Inputs of the certification split that occur elsewhere or twice: counted as by comparing every pair of them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prudent.data.digits import digits
from prudent.data.shapes import shapes
from prudent.errors import BadInput, SplitMisuse
from prudent.leakage import Leaks, check_leaks, leaks
from prudent.splits import TASK, Data, Examples, strangers


def task(**inputs):
    """A task whose splits have these inputs, one number each."""
    splits, first = {}, 0
    for split in TASK:
        values = np.array(inputs[split], np.float32)[:, None]
        ids = np.arange(first, first + len(values))
        splits[split] = Examples(inputs=values, labels=np.zeros(len(values), int), ids=ids, split=split)
        first += len(values)
    return Data(name="x", classes=("a",), splits=splits, about="")


def by_pairs(data):
    """The definition: every pair of examples, number by number."""
    own = data.certification.inputs
    same = {
        split: [any((a == b).all() for b in data.splits[split].inputs) for a in own]
        for split in ("train", "validation", "test")
    }
    within = [any((own[i] == own[j]).all() for j in range(i)) for i in range(len(own))]
    spoiled = [a or b or c for a, b, c in zip(same["train"], same["validation"], within, strict=True)]
    return Leaks(
        n=len(own), within=sum(within), spoiled=sum(spoiled), **{split: sum(which) for split, which in same.items()}
    )


few = st.lists(st.integers(-6, 6), min_size=1, max_size=8)


@settings(max_examples=200, deadline=None)
@given(few, few, few, few)
def test_counts_are_those_of_all_pairs(train, validation, certification, test):
    data = task(train=train, validation=validation, certification=certification, test=test)
    assert leaks(data) == by_pairs(data)


def test_each_kind_by_hand():
    data = task(train=[1, 2, 1], validation=[3, 4], certification=[1, 5, 3, 5, 5, 6, 1, 7], test=[6, 6, 8])
    found = leaks(data)
    # 1 twice in train, one of them again; 3 in validation; 5 three times; 6 in test only, which spoils nothing
    assert found == Leaks(n=8, train=2, validation=1, within=3, test=1, spoiled=5)
    assert found.sentence() == (
        "Of 8 certification inputs, some occur elsewhere: 2 in train, 1 in validation, 1 in test; some repeat an "
        "earlier one: 3."
    )
    with pytest.raises(SplitMisuse) as refusal:
        check_leaks(data, tolerated=4)
    assert str(refusal.value) == (
        "a certificate needs independent examples that nothing else has used; of the 8 inputs in the certification "
        "split of 'x' 2 are also in train, 1 in validation, and 3 are there twice: remove 5 of them, or tolerate as "
        "many"
    )
    assert check_leaks(data, tolerated=5) == found


def test_each_kind_alone_is_refused_but_for_the_test_split():
    clean = {"train": [1], "validation": [2], "certification": [3, 4], "test": [5]}
    assert check_leaks(task(**clean)).sentence() == ""
    for change in ({"train": [1, 3]}, {"validation": [4]}, {"certification": [3, 3]}):
        with pytest.raises(SplitMisuse, match="remove 1 of them"):
            check_leaks(task(**(clean | change)))
    assert check_leaks(task(**(clean | {"test": [4]}))).test == 1
    assert check_leaks(task(**(clean | {"train": [1, 2, 5]}))).sentence() == "", "only certification is looked at"


def test_minus_zero_is_zero_and_labels_do_not_tell_inputs_apart():
    data = task(train=[0.0], validation=[1], certification=[-0.0, 2], test=[3])
    assert leaks(data).train == 1
    relabelled = replace(data.certification, labels=None)
    assert leaks(replace(data, splits={**data.splits, "certification": relabelled})).train == 1


def test_every_number_of_an_input_counts():
    data = shapes(train=9, validation=9, certification=9, test=9, size=16)
    planted = data.certification.inputs.copy()
    planted[3], planted[5] = data.train.inputs[8], planted[2]
    changed = replace(data.certification, inputs=planted)
    found = leaks(replace(data, splits={**data.splits, "certification": changed}))
    assert found == Leaks(n=9, train=1, validation=0, within=1, test=0, spoiled=2)
    planted[3, 0, 15, 15] += 1e-3
    planted[5, 0, 0, 0] += 1e-3
    changed = replace(data.certification, inputs=planted)
    assert leaks(replace(data, splits={**data.splits, "certification": changed})).spoiled == 0


@pytest.mark.parametrize("data", [digits, shapes])
def test_data_sets_at_hand_are_clean(data):
    assert check_leaks(data()).spoiled == 0
    assert data().repeated["certification"] == leaks(data()).train


def test_refusals():
    with pytest.raises(BadInput, match="'s' is a set of strangers, without splits"):
        leaks(strangers(np.ones((5, 2)), name="s", about="ones"))
    data = task(train=[1], validation=[2], certification=[3], test=[4])
    with pytest.raises(BadInput, match="0 or more; got -1"):
        check_leaks(data, tolerated=-1)
