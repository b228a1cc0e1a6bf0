"""Reading images in the hub's parquet layout, on files made here in that layout."""

import io
import json

import numpy as np
import pytest
from PIL import Image

pa = pytest.importorskip("pyarrow", reason="parquet files need the extra 'hub'")
import pyarrow.parquet as pq  # noqa: E402

from prudent.data._parquet import read_images  # noqa: E402
from prudent.errors import BadInput  # noqa: E402


def write(path, pixels, labels, *, form="PNG", mode=None, image="image", label="label", names=None):
    cells = []
    for p in pixels:
        buffer = io.BytesIO()
        picture = Image.fromarray(p)
        (picture.convert(mode) if mode else picture).save(buffer, form)
        cells.append({"bytes": buffer.getvalue(), "path": None})
    table = pa.table({image: cells, label: pa.array(labels, pa.int64())})
    if names:
        features = {image: {"_type": "Image"}, label: {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUDENT_DATA", str(tmp_path))
    return tmp_path


def test_grey_and_colour_are_read_exactly(root):
    rng = np.random.default_rng(0)
    grey, colour = rng.integers(0, 256, (5, 6, 7), np.uint8), rng.integers(0, 256, (4, 6, 7, 3), np.uint8)
    write(root / "g" / "train-00000-of-00001.parquet", grey, [0, 1, 1, 0, 2], names=["a", "b", "c"])
    write(root / "c" / "test-00000-of-00001.parquet", colour, [0, 1, 1, 0], image="img", label="fine")
    images, labels, classes = read_images("g", "train", hub=None)
    assert images.shape == (5, 1, 6, 7)
    np.testing.assert_array_equal(np.rint(images[:, 0] * 255).astype(np.uint8), grey)
    assert (labels.tolist(), classes) == ([0, 1, 1, 0, 2], ("a", "b", "c"))
    images, labels, classes = read_images("c", "test", hub=None, image="img", label="fine")
    np.testing.assert_array_equal(np.rint(images.transpose(0, 2, 3, 1) * 255).astype(np.uint8), colour)
    assert classes == ("0", "1")


def test_one_bit_images_reach_white(root):
    pixels = np.array([[[0, 255], [255, 0]]], np.uint8)
    write(root / "b" / "test-0.parquet", pixels, [0], mode="1")
    images, _, _ = read_images("b", "test", hub=None)
    assert images[0, 0].tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_several_files_are_joined_in_order(root):
    for part in (0, 1):
        write(root / "s" / f"train-0000{part}-of-00002.parquet", np.full((2, 3, 3), part * 255, np.uint8), [part, part])
    images, labels, _ = read_images("s", "train", hub=None)
    assert labels.tolist() == [0, 0, 1, 1]
    assert images.mean(axis=(1, 2, 3)).tolist() == [0, 0, 1, 1]


def test_missing_column_is_named(root):
    write(root / "m" / "train-0.parquet", np.zeros((1, 2, 2), np.uint8), [0], image="picture")
    with pytest.raises(BadInput, match="'image' .*its columns are picture, label"):
        read_images("m", "train", hub=None)


def test_the_hub_is_read_like_a_folder(root, monkeypatch, tmp_path):
    # the hub's client also reads a folder in the hub's layout, so its code path is tested without the network
    pytest.importorskip("datasets")
    pixels = np.random.default_rng(1).integers(0, 256, (6, 4, 4), np.uint8)
    repository = tmp_path / "somebody" / "numbers" / "data"
    for split in ("train", "test"):
        write(repository / f"{split}-00000-of-00001.parquet", pixels, [0, 1, 2, 0, 1, 2], names=["zero", "one", "two"])
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    images, labels, classes = read_images("numbers", "train", hub=str(repository.parent))
    np.testing.assert_array_equal(np.rint(images[:, 0] * 255).astype(np.uint8), pixels)
    assert labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert classes == ("zero", "one", "two")
