"""What a cascade's claim and a Pareto test follow from, as bytes."""

from collections.abc import Sequence

import numpy as np

from prudent.archive import from_bytes, to_bytes
from prudent.cascades import ServedTable

SERVED = ("data", "small", "dense")


def served_to_bytes(table: ServedTable) -> bytes:
    """The same table always gives the same bytes."""
    about: dict[str, object] = {name: getattr(table, name) for name in SERVED}
    return to_bytes({"margins": table.margins, "differs": table.differs.astype(np.uint8)}, about)


def served_from_bytes(content: bytes) -> ServedTable:
    """Raises: PrudentError: not such a file, or not whole; BadInput: contents that are no such table."""
    arrays, about = from_bytes(content, ("margins", "differs"), SERVED)
    differs = arrays["differs"].astype(np.bool_)
    return ServedTable(margins=arrays["margins"].astype(np.float64), differs=differs, **about)


def fixed_to_bytes(numbers: Sequence[float], data: str) -> bytes:
    """Numbers that were fixed before a test, with the fingerprint of the examples that they were chosen by."""
    return to_bytes({"numbers": np.array(numbers, dtype=np.float64)}, {"data": data})


def fixed_from_bytes(content: bytes) -> tuple[tuple[float, ...], str]:
    """Raises: PrudentError: not such a file, or not whole."""
    arrays, about = from_bytes(content, ("numbers",), ("data",))
    return tuple(arrays["numbers"].tolist()), str(about["data"])
