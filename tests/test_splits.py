import numpy as np
import pytest

from prudent.errors import BadInput, SplitMisuse
from prudent.splits import Data, Examples, partition, strangers

X, Y = np.random.default_rng(0).normal(size=(100, 3)), np.arange(100) % 4


def divide(**change):
    good = {
        "name": "x", "classes": ("a", "b", "c", "d"), "validation": 10, "certification": 20, "test": 30, "seed": 0,
        "about": "numbers",
    }  # fmt: skip
    return partition(change.pop("inputs", X), change.pop("labels", Y), **(good | change))


def test_every_example_is_in_exactly_one_split():
    data = divide()
    assert {k: len(v) for k, v in data.splits.items()} == {
        "train": 40,
        "validation": 10,
        "certification": 20,
        "test": 30,
    }
    ids = np.concatenate([e.ids for e in data.splits.values()])
    assert sorted(ids.tolist()) == list(range(100))
    for examples in data.splits.values():
        np.testing.assert_allclose(examples.inputs, X[examples.ids].astype(np.float32))
        np.testing.assert_array_equal(examples.labels, Y[examples.ids])


def test_the_seed_decides():
    assert divide().fingerprint == divide().fingerprint != divide(seed=1).fingerprint


def test_a_separate_test_set():
    data = divide(held_out=(X + 100, Y), test=50)
    assert len(data.train) == 70
    assert data.test.inputs.min() > 50
    assert data.test.ids.min() >= 100
    with pytest.raises(BadInput, match="the test set of 'x' has 100 examples; asked for 101"):
        divide(held_out=(X, Y), test=101)


@pytest.mark.parametrize("held_out", [None, (X + 100, Y)], ids=["one source", "a separate test set"])
def test_fewer_training_examples_leave_the_other_splits_as_they_are(held_out):
    whole, some, few = (divide(held_out=held_out, train=n) for n in (None, 25, 8))
    assert (len(some.train), len(few.train)) == (25, 8)
    for split in ("validation", "certification", "test"):
        assert some.splits[split].fingerprint == few.splits[split].fingerprint == whole.splits[split].fingerprint
    assert set(few.train.ids) < set(some.train.ids) < set(whole.train.ids)
    np.testing.assert_allclose(few.train.inputs, X[few.train.ids].astype(np.float32))
    np.testing.assert_array_equal(few.train.labels, Y[few.train.ids])
    left = len(whole.train)
    assert divide(held_out=held_out, train=left).fingerprint == whole.fingerprint
    assert divide(held_out=held_out, train=left + 1).fingerprint == whole.fingerprint


def test_which_training_examples_are_kept_is_drawn_by_the_seed():
    # the source is sorted by class in many data sets, so the first of it would be of one class
    assert divide(train=8).train.ids.tolist() == divide(train=8).train.ids.tolist()
    assert divide(train=8).train.ids.tolist() != divide(train=8, seed=1).train.ids.tolist()
    shares = np.mean([np.isin(np.arange(100), divide(train=20, seed=seed).train.ids) for seed in range(400)], axis=0)
    # each example is kept in a fifth of 400 draws: 80 +- 8, so 5 standard deviations are 0.1
    assert abs(shares - 0.2).max() < 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": 0}, "train needs a whole number >= 1 of training examples, or None for all; got 0"),
        ({"train": -3}, "train needs a whole number >= 1 .* got -3"),
        ({"test": 70, "train": 5}, "train 0"),
        ({"test": 70}, "train 0"),
        ({"test": 0}, "every split of 'x' needs examples"),
        ({"certification": 0}, "needs examples"),
        ({"certification": -5}, "needs examples"),
        ({"inputs": np.where(X > 2, np.nan, X)}, "NaN or infinite"),
        ({"labels": Y + 1}, r"labels lie in 0 \.\. 3 for 4 classes; got 1 \.\. 4"),
        ({"labels": Y.astype(float)}, "labels are integers"),
    ],
)
def test_refusals(change, message):
    with pytest.raises(BadInput, match=message):
        divide(**change)


@pytest.mark.parametrize("train", [True, 2.0, "8"])
def test_a_number_of_training_examples_is_whole(train, unchecked):
    with pytest.raises(BadInput, match=f"train needs a whole number .* got {train!r}"):
        divide(train=train)


def examples(ids, split="train"):
    return Examples(inputs=np.zeros((len(ids), 2)), labels=np.zeros(len(ids), int), ids=np.array(ids), split=split)


def test_overlap_is_an_error_by_construction():
    with pytest.raises(SplitMisuse, match="occurs twice in the train split"):
        examples([1, 2, 1])
    splits = {"train": examples([0, 1]), "validation": examples([2], "validation"), "test": examples([3], "test")}
    with pytest.raises(SplitMisuse, match="example 1 of 'x' is in the train and in the certification split"):
        Data(name="x", classes=("a",), splits={**splits, "certification": examples([4, 1], "certification")}, about="")
    with pytest.raises(SplitMisuse, match="made for 'test' cannot serve as the 'certification' split"):
        Data(name="x", classes=("a",), splits={**splits, "certification": examples([5], "test")}, about="")
    with pytest.raises(BadInput, match="needs the splits train, validation, certification, test"):
        Data(name="x", classes=("a",), splits=splits, about="")


def test_empty_and_uneven():
    with pytest.raises(BadInput, match="the test split is empty"):
        examples([], "test")
    with pytest.raises(BadInput, match="2 inputs need as many ids; got 3"):
        Examples(inputs=np.zeros((2, 1)), labels=None, ids=np.arange(3), split="test")


def test_batches_know_what_they_are_for():
    batches = divide().certification.batches(7)
    assert (batches.split, batches.data, len(batches)) == ("certification", divide().certification.fingerprint, 3)


def test_strangers():
    data = strangers(np.ones((5, 2)), name="s", about="ones")
    assert (data.shape, data.classes, len(data.splits["ood"])) == ((2,), (), 5)


def test_fingerprints_see_order_labels_and_purpose():
    a = examples([0, 1])
    assert a.fingerprint != examples([1, 0]).fingerprint
    assert a.fingerprint != examples([0, 1], "test").fingerprint
    b = Examples(inputs=np.zeros((2, 2)), labels=np.array([0, 1]), ids=np.arange(2), split="train")
    assert a.fingerprint != b.fingerprint


def test_inputs_that_also_occur_in_train_are_counted():
    inputs = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    labels = np.arange(40) % 2
    sizes = {"validation": 10, "certification": 12, "test": 14}
    asked = {"name": "x", "classes": ("a", "b"), "seed": 0, "about": "", **sizes}
    assert partition(inputs, labels, **asked).repeated == dict.fromkeys(sizes, 0)
    twice = partition(np.concatenate([inputs, inputs]), np.concatenate([labels, labels]), **asked)
    rows = [tuple(row) for row in twice.train.inputs]
    by_loop = {s: sum(tuple(r) in rows for r in twice.splits[s].inputs) for s in sizes}
    assert twice.repeated == by_loop
    assert sum(by_loop.values()) > 0


def test_what_the_caller_does_with_its_arrays_later_changes_nothing():
    inputs, labels, ids = np.zeros((3, 2), np.float32), np.zeros(3, np.int64), np.arange(3)
    examples = Examples(inputs=inputs, labels=labels, ids=ids, split="train")
    before = examples.fingerprint
    inputs[:], labels[:], ids[:] = 1, 1, 9
    del examples.__dict__["fingerprint"]
    assert examples.fingerprint == before
