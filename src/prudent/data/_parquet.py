"""Labelled images in the Hugging Face hub's parquet layout, from a folder or from the hub."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

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
        BadInput: no such files and no hub, a missing column, or a missing optional dependency.
    """
    folder = Path(os.environ.get("PRUDENT_DATA", "")) / name
    layout = f"{split}-*.parquet with columns {image!r} (encoded image) and {label!r} (class)"
    table = _from_folder(folder, split, layout) if _given(folder) else _from_hub(name, split, hub, config, layout)
    for column in (image, label):
        if column not in table.column_names:
            raise BadInput(f"data set {name!r} needs {layout}; its columns are {', '.join(table.column_names)}")
    images = _decode(table.column(image).to_pylist())
    labels = table.column(label).to_numpy().astype(np.int64)
    return images, labels, _class_names(table.schema.metadata, label, labels)


def _given(folder: Path) -> bool:
    return "PRUDENT_DATA" in os.environ and folder.is_dir()


def _from_folder(folder: Path, split: str, layout: str) -> Any:  # noqa: ANN401 (a pyarrow table; pyarrow has no types)
    files = sorted(folder.glob(f"{split}-*.parquet"))
    if not files:
        raise BadInput(f"data folder {str(folder)!r} needs {layout}; there are none")
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise BadInput("parquet files need pyarrow: pip install 'prudent[hub]'") from error
    return pa.concat_tables([pq.read_table(file) for file in files])


def _from_hub(name: str, split: str, hub: str | None, config: str | None, layout: str) -> Any:  # noqa: ANN401
    where = f"put {layout} into $PRUDENT_DATA/{name}/"
    now = f"PRUDENT_DATA={os.environ['PRUDENT_DATA']}" if "PRUDENT_DATA" in os.environ else "PRUDENT_DATA is not set"
    if hub is None:
        raise BadInput(f"data set {name!r} is not at hand ({now}): {where}")
    try:
        import datasets
    except ImportError as error:
        raise BadInput(
            f"data set {name!r} is not at hand ({now}): {where}, or pip install 'prudent[hub]' to load it from the hub"
        ) from error
    try:
        source = datasets.load_dataset(hub, config, split=split)
    except (OSError, ValueError, RuntimeError) as error:
        raise BadInput(
            f"data set {name!r} is not at hand ({now}) and could not be loaded from the hub ({reason(error)}): {where}"
        ) from error
    return source.with_format("arrow")[:].replace_schema_metadata(source.features.arrow_schema.metadata)


def _decode(cells: list[dict[str, Any]]) -> Images:
    first = _pixels(cells[0])
    pixels = np.empty((len(cells), *first.shape), np.uint8)
    for i, cell in enumerate(cells):
        pixels[i] = _pixels(cell)
    channels = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(channels, np.float32) / np.float32(255)


def _pixels(cell: dict[str, Any]) -> np.ndarray:
    from PIL import Image

    image: Image.Image = Image.open(io.BytesIO(cell["bytes"]))
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode in ("1", "I", "I;16", "LA") else "RGB")
    return np.asarray(image)


def _class_names(metadata: dict[bytes, bytes] | None, label: str, labels: Int64[np.ndarray, " n"]) -> tuple[str, ...]:
    described = json.loads((metadata or {}).get(b"huggingface", b"{}"))
    names = described.get("info", {}).get("features", {}).get(label, {}).get("names")
    return tuple(names) if names else tuple(str(i) for i in range(int(labels.max()) + 1))
