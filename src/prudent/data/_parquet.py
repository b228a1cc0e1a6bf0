"""Labelled images in the Hugging Face hub's parquet layout, from a folder or from the hub."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from prudent.data._hub import from_hub
from prudent.errors import BadInput, reason
from prudent.splits import Data, partition

Images = Float32[np.ndarray, "n channels height width"]


def labelled_images(
    name: str,
    *,
    hub: str,
    about: str,
    validation: int,
    certification: int,
    test: int,
    seed: int,
    train: int | None = None,
    config: str | None = None,
    image: str = "image",
    label: str = "label",
) -> Data:
    """A data set with an official training set (divided into three splits) and an official test set."""
    images, labels, classes = read_images(name, "train", hub=hub, config=config, image=image, label=label)
    tested, truth, _ = read_images(name, "test", hub=hub, config=config, image=image, label=label)
    return partition(
        images,
        labels,
        name=name,
        classes=classes,
        validation=validation,
        certification=certification,
        test=test,
        seed=seed,
        train=train,
        about=about,
        held_out=(tested, truth),
    )


def read_images(
    name: str,
    split: str,
    *,
    hub: str | None,
    config: str | None = None,
    image: str = "image",
    label: str = "label",
) -> tuple[Images, Int64[np.ndarray, " n"], tuple[str, ...]]:
    """All images of one split, in [0, 1], their labels and the names of the classes.

    Read from `$PRUDENT_DATA/<name>/<split>-*.parquet`; where that folder is absent, loaded from the hub.

    Args:
        name: folder below $PRUDENT_DATA.
        split: "train" or "test".
        hub, config: repository and configuration on the hub; None if it is not there.
        image, label: columns.

    Raises:
        BadInput: no such files and no hub, a missing optional dependency; a file that is damaged, empty, without one of
            the columns, with labels that are no integers or absent, or with images that cannot be decoded or are of
            different sizes. Names the file.
    """
    folder = Path(os.environ.get("PRUDENT_DATA", "")) / name
    layout = f"{split}-*.parquet with columns {image!r} (encoded image) and {label!r} (class)"
    if "PRUDENT_DATA" in os.environ and folder.is_dir():
        tables = _from_folder(folder, split, layout)
    else:
        tables = [(f"{hub} on the hub", from_hub(name, split, hub, config, layout))]
    cells: list[tuple[str, Any]] = []
    labels: list[np.ndarray] = []
    for file, table in tables:
        for column in (image, label):
            if column not in table.column_names:
                raise BadInput(f"{file} needs columns {image!r} and {label!r}; it has {', '.join(table.column_names)}")
        cells += [(file, cell) for cell in table.column(image).to_pylist()]
        labels.append(_labels(file, table.column(label), label))
    if not cells:
        raise BadInput(f"{', '.join(file for file, _ in tables)}: there are no rows; {layout} is needed")
    classes = np.concatenate(labels)
    return _decode(cells, image), classes, _class_names(tables[0][1].schema.metadata, label, classes)


def _from_folder(folder: Path, split: str, layout: str) -> list[tuple[str, Any]]:
    """File -> its table (of pyarrow, which has no types), in order."""
    files = sorted(folder.glob(f"{split}-*.parquet"))
    if not files:
        raise BadInput(f"data folder {str(folder)!r} needs {layout}; there are none")
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise BadInput("parquet files need pyarrow: pip install 'prudent[hub]'") from error
    tables = []
    for file in files:
        try:
            tables.append((str(file), pq.read_table(file)))
        except (pa.ArrowException, OSError) as error:
            raise BadInput(f"{file} is no whole parquet file ({reason(error)}): fetch it again") from error
    return tables


def _labels(file: str, column: Any, name: str) -> Int64[np.ndarray, " n"]:  # noqa: ANN401
    import pyarrow as pa

    if not pa.types.is_integer(column.type):
        raise BadInput(f"{file}: column {name!r} needs integers, one class for each image; it has {column.type}")
    if column.null_count:
        raise BadInput(f"{file}: column {name!r} needs a class for each image; {column.null_count} are missing")
    found: Int64[np.ndarray, " n"] = column.to_numpy().astype(np.int64)
    return found


def _decode(cells: list[tuple[str, Any]], column: str) -> Images:
    first = _pixels(*cells[0], column)
    pixels = np.empty((len(cells), *first.shape), np.uint8)
    for i, (file, cell) in enumerate(cells):
        found = _pixels(file, cell, column)
        if found.shape != first.shape:
            raise BadInput(
                f"{file}: images need one size; the first of all is {first.shape}, row {i} of all is {found.shape}"
            )
        pixels[i] = found
    channels = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(channels, np.float32) / np.float32(255)


def _pixels(file: str, cell: object, column: str) -> np.ndarray:
    from PIL import Image

    content = cell.get("bytes") if isinstance(cell, dict) else None
    if not isinstance(content, bytes):
        raise BadInput(f"{file}: column {column!r} needs encoded images, {{bytes: ...}}; it has a row without")
    try:
        image: Image.Image = Image.open(io.BytesIO(content))
        image.load()
        if image.mode not in ("L", "RGB"):
            image = image.convert("L" if image.mode in ("1", "I", "I;16", "LA") else "RGB")
        return np.asarray(image)
    except Exception as error:
        raise BadInput(f"{file}: column {column!r} has an image that cannot be decoded ({reason(error)})") from error


def _class_names(metadata: dict[bytes, bytes] | None, label: str, labels: Int64[np.ndarray, " n"]) -> tuple[str, ...]:
    described = json.loads((metadata or {}).get(b"huggingface", b"{}"))
    names = described.get("info", {}).get("features", {}).get(label, {}).get("names")
    return tuple(names) if names else tuple(str(i) for i in range(int(labels.max()) + 1))
