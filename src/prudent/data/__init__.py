"""Data sets. One file is one: file `x.py` defines `x(*, options) -> Data`, four disjoint splits or strangers (OOD)."""

from types import ModuleType

from prudent.catalogue import Catalogue

DATA = Catalogue("prudent.data", "data set")


def __getattr__(name: str) -> ModuleType:
    """`prudent.data.digits` without importing the others."""
    if name in DATA:
        return DATA.module(name)
    raise AttributeError(f"module 'prudent.data' has no attribute {name!r}")
