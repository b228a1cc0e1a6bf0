"""Reading images in the hub's parquet layout, on files made here in that layout."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

pa = pytest.importorskip("pyarrow", reason="parquet files need the extra 'hub'")
import pyarrow.parquet as pq  # noqa: E402

from prudent.data._parquet import read_images  # noqa: E402
from prudent.errors import BadInput  # noqa: E402
from tests.parquet_files import write  # noqa: E402


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
    with pytest.raises(BadInput, match="train-0.parquet needs columns 'image' and 'label'; it has picture, label"):
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


def broken(path, cells, labels):
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"image": cells, "label": labels}), path)


def png(size):
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((size, size), np.uint8)).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


@pytest.mark.parametrize(
    ("cells", "labels", "message"),
    [
        ([png(2)] * 2, pa.array([0.5, 0.0]), "column 'label' needs integers, .*; it has double"),
        ([png(2)] * 2, pa.array(["cat", "dog"]), "column 'label' needs integers, .*; it has string"),
        ([png(2)] * 2, pa.array([0, None]), "column 'label' needs a class for each image; 1 are missing"),
        ([png(2), None], pa.array([0, 1]), "column 'image' needs encoded images, .* a row without"),
        ([{"bytes": None, "path": "x"}] * 2, pa.array([0, 1]), "column 'image' needs encoded images"),
        ([3, 4], pa.array([0, 1]), "column 'image' needs encoded images"),
        ([{"bytes": b"no image"}] * 2, pa.array([0, 1]), "column 'image' has an image that cannot be decoded"),
        ([{"bytes": png(9)["bytes"][:45]}] * 2, pa.array([0, 1]), "column 'image' has an image that .*OSError"),
        ([png(2), png(3)], pa.array([0, 1]), r"images need one size; .* \(2, 2\), row 1 of all is \(3, 3\)"),
        (pa.array([], pa.struct({"bytes": pa.binary()})), pa.array([], pa.int64()), "there are no rows"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line_that_names_it(root, cells, labels, message):
    broken(root / "b" / "train-0.parquet", cells, labels)
    with pytest.raises(BadInput, match=rf"{root}/b/train-0.parquet: {message}") as error:
        read_images("b", "train", hub=None)
    assert "\n" not in str(error.value)


def test_a_torn_file_is_named(root):
    write(root / "t" / "train-0.parquet", np.zeros((3, 2, 2), np.uint8), [0, 1, 2])
    path = root / "t" / "train-0.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadInput, match=r"train-0.parquet is no whole parquet file \(ArrowInvalid: .*fetch it again"):
        read_images("t", "train", hub=None)


@pytest.mark.parametrize("given", [True, False], ids=["missing folder", "no variable"])
def test_a_hub_out_of_reach_is_asked_once_and_quietly(tmp_path, given):
    """In a process of its own, with a hub that counts its calls and never answers any."""
    pytest.importorskip("datasets")
    code = """
import socket, threading, time
listener = socket.create_server(("127.0.0.1", 0))
import os
os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{listener.getsockname()[1]}"
calls = []
def count():
    while True:
        calls.append(listener.accept())
threading.Thread(target=count, daemon=True).start()
from prudent.data import _hub
_hub.PATIENCE = 0.5
from prudent.errors import BadInput
from prudent.sources import load_data
start = time.monotonic()
try:
    load_data("mnist", {})
except BadInput as error:
    print(error)
print(len(calls), time.monotonic() - start < 10)
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "PRUDENT_"))}
    environment |= {"HF_HOME": str(tmp_path / "cache")} | ({"PRUDENT_DATA": str(tmp_path / "none")} if given else {})
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    said, counted = done.stdout.splitlines()
    now = f"PRUDENT_DATA={tmp_path / 'none'}" if given else "PRUDENT_DATA is not set"
    assert f"data set 'mnist' is not at hand ({now}) and could not be loaded from the hub (http://127" in said
    assert said.endswith("put train-*.parquet with columns 'image' (encoded image) and 'label' (class) into "
                         "$PRUDENT_DATA/mnist/")  # fmt: skip
    assert counted == "1 True"
