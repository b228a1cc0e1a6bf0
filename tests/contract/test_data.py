"""Every data set that is at hand: four disjoint splits or strangers, labels in range, a stable fingerprint."""

import os

import numpy as np
import pytest

from prudent.data import DATA
from prudent.errors import BadInput, UnknownName
from prudent.sources import load_data
from tests.parquet_files import write

NAMES = list(DATA)


def at_hand(name: str):
    """The data set with its defaults, or a skip that says what is missing."""
    try:
        return DATA[name]()
    except BadInput as error:
        if "not at hand" in str(error):
            pytest.skip(f"{name} is not at hand: {error}")
        raise


@pytest.mark.parametrize("name", NAMES)
def test_splits(name):
    data = at_hand(name)
    assert data.name == name
    assert data.about
    if not data.classes:
        assert set(data.splits) == {"ood"}
        return
    assert set(data.splits) == {"train", "validation", "certification", "test"}
    ids = np.concatenate([examples.ids for examples in data.splits.values()])
    assert len(np.unique(ids)) == len(ids)
    for examples in data.splits.values():
        assert examples.inputs.dtype == np.float32
        assert examples.inputs.shape == (len(examples), *data.shape)
        assert 0 <= examples.labels.min() <= examples.labels.max() < len(data.classes)
    assert set(np.unique(data.train.labels)) == set(range(len(data.classes)))


@pytest.mark.parametrize("name", ["digits", "moons", "photo_patches", "shapes"])
def test_fingerprint_is_stable_and_says_everything(name):
    first, again = (DATA[name]() for _ in range(2))
    other = DATA[name](seed=1)
    assert first.fingerprint == again.fingerprint != other.fingerprint


@pytest.mark.parametrize("name", NAMES)
def test_names_its_source_and_refuses_unknown_options(name):
    assert DATA.summary(name)[1]
    with pytest.raises(UnknownName, match=f"option of data set '{name}' named 'sed'"):
        load_data(name, {"sed": 1})


@pytest.mark.parametrize("name", ["mnist", "cifar10", "cifar100", "fashion_mnist", "svhn", "omniglot"])
def test_absent_files_are_told_with_their_layout(name, tmp_path, monkeypatch):
    monkeypatch.setenv("PRUDENT_DATA", str(tmp_path))
    with pytest.raises(BadInput, match=rf"{name}' is not at hand.*-\*\.parquet with columns .*PRUDENT_DATA/{name}/"):
        DATA[name]()
    (tmp_path / name).mkdir()
    with pytest.raises(BadInput, match=r"needs (train|test)-\*\.parquet .*there are none"):
        DATA[name]()


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("mnist", ("image", "label")),
        ("fashion_mnist", ("image", "label")),
        ("svhn", ("image", "label")),
        ("cifar10", ("img", "label")),
        ("cifar100", ("img", "fine_label")),
    ],
)
def test_fewer_training_examples_of_a_file_leave_the_other_splits_as_they_are(name, columns, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow", reason="parquet files need the extra 'hub'")
    for split, n in (("train", 30), ("test", 12)):
        pixels = np.random.default_rng(n).integers(0, 256, (n, 3, 3), np.uint8)
        write(tmp_path / name / f"{split}-0.parquet", pixels, np.arange(n) % 4, image=columns[0], label=columns[1])
    monkeypatch.setenv("PRUDENT_DATA", str(tmp_path))
    sizes = {"validation": 5, "certification": 6, "test": 7}
    whole, few = DATA[name](**sizes), DATA[name](**sizes, train=10)
    assert [len(data.train) for data in (whole, few)] == [19, 10]
    assert set(few.train.ids) < set(whole.train.ids)
    assert all(few.splits[split].fingerprint == whole.splits[split].fingerprint for split in sizes)


def test_options_reach_the_data_set():
    data = load_data("digits", {"certification": 100, "seed": 3})
    assert len(data.certification) == 100
    assert len(data.train) == 1797 - 100 - 150 - 400


def test_real_mnist_if_at_hand():
    if not os.environ.get("PRUDENT_DATA"):
        pytest.skip("PRUDENT_DATA is not set: the real MNIST is tested where it is")
    data = at_hand("mnist")
    assert {k: len(v) for k, v in data.splits.items()} == {
        "train": 50000, "validation": 5000, "certification": 5000, "test": 10000,
    }  # fmt: skip
    assert 0.12 < data.test.inputs.mean() < 0.14
