"""Importance scores. One file is one score: file `x.py` defines `x(model, batches, *, options) -> Scores`.

Scores are a mapping from the name of every prunable weight to a tensor of its shape: finite, >= 0, detached, higher =
keep. A score leaves weights, modes, hooks, gradients and random generators as they were.
"""

from types import ModuleType

from prudent.catalogue import Catalogue

SCORES = Catalogue("prudent.scores", "score")


def __getattr__(name: str) -> ModuleType:
    """`prudent.scores.magnitude` without importing the others."""
    if name in SCORES:
        return SCORES.module(name)
    raise AttributeError(f"module 'prudent.scores' has no attribute {name!r}")
