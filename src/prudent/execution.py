"""Compute one cell and commit it: what runs inside a worker."""

import os
import platform
import time
from functools import partial
from typing import Any

from prudent.cells import KINDS, Input
from prudent.errors import DamagedStore
from prudent.keys import Cell, python_version
from prudent.store import Store


def execute(location: str, cell: Cell) -> dict[str, Any]:
    """Compute a cell, unless it is finished, and return its record.

    Args:
        location: of the store.
        cell: what to compute; its inputs are finished.

    Raises:
        DamagedStore: an input, or what was just committed, is not whole in the store.
        Whatever the cell's own function raises.
    """
    store = Store(location)
    finished = store.record(cell.key)
    if finished is not None:
        return finished
    inputs = {}
    for name, key in cell.inputs.items():
        record = store.record(key)
        if record is None:
            raise DamagedStore(f"input {name!r} of {cell.label!r} is not finished in {location!r}: run again")
        inputs[name] = Input(read=partial(store.read, key), values=record["values"])
    start = time.perf_counter()
    made = KINDS[cell.kind](cell.options, inputs)
    record = {
        "kind": cell.kind,
        "label": cell.label,
        "options": cell.options,
        "inputs": cell.inputs,
        "data": cell.data,
        "code": cell.code,
        "values": made.values,
        "seconds": time.perf_counter() - start,
        "environment": environment(),
    }
    store.commit(cell.key, record, made.outputs)
    committed = store.record(cell.key)
    if committed is None:
        raise DamagedStore(f"{cell.label!r} was written to {location!r} but is not there: is the disk full?")
    return committed


def environment() -> dict[str, str]:
    """What may change the last digits of a result: versions, processor, threads."""
    import numpy
    import torch

    from prudent._version import __version__

    return {
        "prudent": __version__,
        "python": python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "system": platform.system(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": str(torch.get_num_threads()),
        "cores": str(os.cpu_count()),
    }
