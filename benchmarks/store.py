"""What a cell costs besides its own work: key, look-up, hash-checked read, create-only commit."""

import os
import tempfile

from benchmarks import Row, alternate
from prudent.keys import Cell
from prudent.store import Store

CELLS = 500
RECORD = {"kind": "k", "values": {}, "seconds": 0.0, "environment": {}}


def run() -> list[Row]:
    payload = os.urandom(200_000)

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = Store(folder)
            for i in range(CELLS):
                cell = Cell(kind="k", options={"i": i}, inputs={}, data=(), code="c", label="")
                store.record(cell.key)
                store.commit(cell.key, RECORD, {"out": payload})
                store.read(cell.key, "out")

    def plain() -> None:
        with tempfile.TemporaryDirectory() as folder:
            for i in range(CELLS):
                path = os.path.join(folder, str(i))
                with open(path, "wb") as file:
                    file.write(payload)
                with open(path, "rb") as file:
                    file.read()

    own, other = alternate(ours, plain, turns=3)
    each = own / CELLS
    return [
        Row(
            work="one cell's look-up, commit and checked read, 200 kB", beside="writing and reading a file",
            seconds=each, other=other / CELLS, promise="<= 3 ms", kept=each <= 0.003,
        )
    ]  # fmt: skip
