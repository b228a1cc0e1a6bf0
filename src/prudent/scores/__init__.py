"""Importance scores. One file is one score: file `x.py` defines `x(model, batches, *, options) -> Scores`.

Scores are a mapping from the name of every prunable weight to a tensor of its shape: finite, detached, higher = keep.
A score that judges whole output channels gives tensors of shape (channels,) for the layers whose channels can go. A
method that also changes the weights it keeps returns `Reweighted`. A score leaves weights, modes, hooks, gradients and
random generators as they were.

Constants say what a file is: NEEDS, some of "data", "labels", "gradients" (of every prunable weight: none is frozen)
and "example" (the shape of an input, from the option `example` or from batches); UNIT, "weight" or "channel"; and where
it cannot judge every network SUITS, "normalised" for a batch normalisation after every layer but the last. A network
that a score does not suit is refused as a whole. Of its options `prune` fills in `seed`, `sparsity` (the fraction that
is to be removed), `granularity` and `example`, where a score has them.
"""

from types import ModuleType

from prudent.catalogue import Catalogue

SCORES = Catalogue("prudent.scores", "score")


def __getattr__(name: str) -> ModuleType:
    """`prudent.scores.magnitude` without importing the others."""
    if name in SCORES:
        return SCORES.module(name)
    raise AttributeError(f"module 'prudent.scores' has no attribute {name!r}")
