"""Data sets. One file is one: file `x.py` defines `x(*, options) -> Data`, four disjoint splits or strangers (OOD)."""

import json
from functools import lru_cache
from types import ModuleType

from prudent.catalogue import Catalogue, check_options
from prudent.errors import BadInput
from prudent.splits import Data

DATA = Catalogue("prudent.data", "data set")


@lru_cache(maxsize=4)
def _load(name: str, options: str) -> Data:
    data = DATA.find(name)(**json.loads(options))
    if not isinstance(data, Data):
        raise BadInput(f"data set {name!r} must return prudent's Data; it returned {type(data).__name__}")
    return data


def load(name: str, options: dict[str, object]) -> Data:
    """A data set by name, or by "package.module:callable"; kept in memory, since many cells of a study read the same.

    Raises:
        UnknownName: no such data set or option.
        BadInput: what the data set itself refuses (absent files, bad sizes, NaN).
    """
    check_options(DATA.find(name), options, noun=f"data set {name!r}")
    return _load(name, json.dumps(options, sort_keys=True))


def __getattr__(name: str) -> ModuleType:
    """`prudent.data.digits` without importing the others."""
    if name in DATA:
        return DATA.module(name)
    raise AttributeError(f"module 'prudent.data' has no attribute {name!r}")
