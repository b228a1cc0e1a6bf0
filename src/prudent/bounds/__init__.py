"""p-values for H0: risk > alpha. One file is one bound: file `x.py` defines `x(losses, alpha, *, options) -> p-value`.

`losses` is a float64 array (n,) in [0, 1] of independent examples. A bound refuses losses it is not valid for, so that
a p-value that comes back is always one: under H0, the probability that it is at most t is at most t, for every t.
It never rises with alpha.

A file may say more, and is then planned with and inverted faster: `of_sum(total, n, alpha)` is the p-value where it
depends on the sum of losses alone, for arrays; `of_count(k, n, alpha)` that of k losses of 1 among n of 0 and 1;
`upper(losses, delta)` the smallest alpha with a p-value of at most delta. `ORDERED = True` says that the order counts.
"""

from types import ModuleType

from prudent.catalogue import Catalogue

BOUNDS = Catalogue("prudent.bounds", "bound")


def __getattr__(name: str) -> ModuleType:
    """`prudent.bounds.binomial` without importing the others."""
    if name in BOUNDS:
        return BOUNDS.module(name)
    raise AttributeError(f"module 'prudent.bounds' has no attribute {name!r}")
