"""OOD detectors. One file is one: `x.py` defines `x(model, batches, *, options) -> (inputs -> scores)`.

`batches` are examples from the task, of the train or validation split; what a detector learns from them belongs to
this network alone, so a pruned network gets detectors of its own. The function that comes back takes inputs (n, ...)
and answers float64 scores (n,), higher = more OOD. It runs the network in evaluation mode, in parts of bounded size,
and leaves weights, modes, hooks, gradients and random generators as they were. If the network has changed since, it
refuses to go on with statistics of another network.

NEEDS says what a file cannot go without: some of "data" (batches), "labels" (of these), "features" (a last linear
layer, whose inputs are the features; another layer is named by the option `layer`), "gradients" (with respect to
inputs).
"""

from types import ModuleType

from prudent.catalogue import Catalogue

OOD = Catalogue("prudent.ood", "detector")


def __getattr__(name: str) -> ModuleType:
    """`prudent.ood.energy` without importing the others."""
    if name in OOD:
        return OOD.module(name)
    raise AttributeError(f"module 'prudent.ood' has no attribute {name!r}")
