"""Kinds of cells. One file is one: file `x.py` defines `x(options, inputs) -> Made`, a pure function of its arguments.

What a kind reads must be in its options or inputs: they, the data and the code are all that its results are filed
under. A kind knows nothing of stores, processes or other cells.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prudent.catalogue import Catalogue

KINDS = Catalogue("prudent.cells", "kind of cell")


@dataclass(frozen=True)
class Input:
    """What another cell made.

    Args:
        read: name of an output -> its bytes.
        values: the small numbers of its record.
    """

    read: Callable[[str], bytes]
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a cell made: outputs as bytes, and small numbers (JSON) for its record."""

    outputs: Mapping[str, bytes] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
