"""What training may minimise in place of the cross-entropy alone. One file is one: file `x.py` defines

    x(*, options) -> Objective

whose result `train(..., objective=...)` calls with each batch that the network has answered (prudent.passes).
"""

from types import ModuleType

from prudent.catalogue import Catalogue

OBJECTIVES = Catalogue("prudent.objectives", "objective")


def __getattr__(name: str) -> ModuleType:
    """`prudent.objectives.interval` without importing the others."""
    if name in OBJECTIVES:
        return OBJECTIVES.module(name)
    raise AttributeError(f"module 'prudent.objectives' has no attribute {name!r}")
