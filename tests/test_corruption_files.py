"""Folders of the -C layout, written here and read back."""

import numpy as np
import pytest

from prudent.corruption_files import list_corruptions, read_corruption
from prudent.errors import BadInput, SplitMisuse, UnknownName

N = 7


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    for name in ("fog", "snow"):
        np.save(tmp_path / f"{name}.npy", generator.integers(0, 256, (5 * N, 4, 6, 3), dtype=np.uint8))
    np.save(tmp_path / "labels.npy", np.tile(np.array([3, 1, 2, 0, 9, 9, 4], np.uint8), 5))
    return tmp_path


def test_rows_of_a_severity(folder):
    raw, labels = np.load(folder / "fog.npy"), np.load(folder / "labels.npy")
    assert list_corruptions(folder) == ("fog", "snow")
    for severity in range(1, 6):
        got = read_corruption(folder, "fog", severity=severity)
        assert got.inputs.shape == (N, 3, 4, 6)
        assert got.split == "test"
        for i in range(N):
            row = (severity - 1) * N + i
            assert got.labels[i] == labels[row]
            for channel in range(3):
                assert np.allclose(got.inputs[i, channel] * 255, raw[row, :, :, channel], atol=1e-4)
    assert (read_corruption(folder, "fog").inputs == read_corruption(folder, "fog", severity=3).inputs).all()


def test_ids_keep_images_in_their_split(folder):
    whole = read_corruption(folder, "snow", severity=4)
    some = read_corruption(folder, "snow", severity=4, ids=(5, 0), split="certification")
    assert some.split == "certification"
    assert some.ids.tolist() == [5, 0]
    assert some.labels.tolist() == [9, 3]
    assert (some.inputs == whole.inputs[[5, 0]]).all()


def test_grey_images(folder):
    raw = np.load(folder / "fog.npy")[..., 0]
    np.save(folder / "grey.npy", raw)
    got = read_corruption(folder, "grey", severity=5)
    assert got.inputs.shape == (N, 1, 4, 6)
    assert np.allclose(got.inputs[:, 0] * 255, raw[4 * N :], atol=1e-4)


def test_what_is_refused(folder, tmp_path):
    with pytest.raises(UnknownName, match="Did you mean 'fog'"):
        read_corruption(folder, "fogg")
    with pytest.raises(UnknownName):
        read_corruption(folder, "labels")
    with pytest.raises(BadInput, match="labels.npy"):
        read_corruption(tmp_path / "absent", "fog")
    for severity in (0, 6, True):
        with pytest.raises(BadInput, match="1, 2, 3, 4 or 5"):
            read_corruption(folder, "fog", severity=severity)
    for ids in ((7,), (-1,)):
        with pytest.raises(BadInput, match=r"ids lie in 0 \.\. 6"):
            read_corruption(folder, "fog", ids=ids)
    with pytest.raises(BadInput, match="at least one"):
        read_corruption(folder, "fog", ids=())
    with pytest.raises(SplitMisuse, match="twice"):
        read_corruption(folder, "fog", ids=(1, 1))


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((5 * N, 4, 6, 3), np.float32),
        np.zeros((5 * N - 1, 4, 6, 3), np.uint8),
        np.zeros((5 * N, 3, 4, 6), np.uint8),
        np.zeros((0, 4, 6, 3), np.uint8),
        np.zeros((5 * N, 24), np.uint8),
    ],
)
def test_other_layouts_of_images(folder, bad):
    np.save(folder / "bad.npy", bad)
    with pytest.raises(BadInput, match="five severities one after the other"):
        read_corruption(folder, "bad")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(N, np.uint8), "one integer for each of 35"),
        (np.zeros(5 * N, np.float32), "one integer for each of 35"),
        (np.repeat(np.arange(N), 5), "differ between severities"),
    ],
)
def test_other_layouts_of_labels(folder, labels, message):
    np.save(folder / "labels.npy", labels)
    with pytest.raises(BadInput, match=message):
        read_corruption(folder, "fog")


def test_files_that_are_no_arrays(folder):
    (folder / "torn.npy").write_bytes((folder / "fog.npy").read_bytes()[:200])
    (folder / "text.npy").write_text("no array")
    (folder / "empty.npy").write_bytes(b"")
    np.save(folder / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with (folder / "several.npy").open("wb") as file:
        np.savez(file, a=np.zeros(3))
    for name in ("torn", "text", "empty", "objects", "several"):
        with pytest.raises(BadInput, match=f"{name}.npy must be"):
            read_corruption(folder, name)
