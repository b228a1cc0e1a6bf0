"""Which candidates may be declared "risk <= alpha" from their p-values. One file is one procedure.

File `x.py` defines `x(p_values, *, delta, options) -> rejected`. `p_values` is a float64 array (candidates,) with the
p-value of each H0 "risk > alpha", NaN where none could be computed, which counts as 1. `rejected` is a boolean array
(candidates,), True = certified. Every procedure controls the family-wise error under any dependence:

    P(at least one True at a candidate whose risk is above alpha) <= delta

Any choice among the certified candidates is therefore free.
"""

from types import ModuleType

from prudent.catalogue import Catalogue
from prudent.procedures._refusals import refuse_uncontrolled

PROCEDURES = Catalogue("prudent.procedures", "procedure", refuse_uncontrolled)


def __getattr__(name: str) -> ModuleType:
    """`prudent.procedures.holm` without importing the others."""
    if name in PROCEDURES:
        return PROCEDURES.module(name)
    raise AttributeError(f"module 'prudent.procedures' has no attribute {name!r}")
