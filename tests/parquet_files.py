"""Files of labelled images in the hub's parquet layout, made for tests."""

import io
import json

import numpy as np
from PIL import Image


def write(path, pixels, labels, *, form="PNG", mode=None, image="image", label="label", names=None):
    """One parquet file of encoded images and integer labels."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    cells = []
    for p in pixels:
        buffer = io.BytesIO()
        picture = Image.fromarray(p)
        (picture.convert(mode) if mode else picture).save(buffer, form)
        cells.append({"bytes": buffer.getvalue(), "path": None})
    table = pa.table({image: cells, label: pa.array(np.asarray(labels), pa.int64())})
    if names:
        features = {image: {"_type": "Image"}, label: {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
