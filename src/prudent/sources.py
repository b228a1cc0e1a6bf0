"""Data sets by name, kept in memory."""

import json
from functools import lru_cache
from typing import Any

from prudent.catalogue import check_options
from prudent.data import DATA
from prudent.errors import BadInput
from prudent.keys import canonical
from prudent.splits import Data


def load_data(name: str, options: dict[str, Any]) -> Data:
    """A data set by name, or by "package.module:callable"; kept in memory, since many cells of a study read the same.

    Raises:
        UnknownName: no such data set or option.
        BadInput: what the data set itself refuses (absent files, bad sizes, NaN), or fails at; options that are no
            plain numbers, words, lists and tables.
    """
    check_options(DATA.find(name), options, noun=f"data set {name!r}")
    return _load(name, canonical(options).decode())


@lru_cache(maxsize=4)
def _load(name: str, options: str) -> Data:
    data = DATA.call(name, **json.loads(options))
    if not isinstance(data, Data):
        raise BadInput(f"data set {name!r} must return prudent's Data; it returned {type(data).__name__}")
    return data
