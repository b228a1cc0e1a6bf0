"""Architectures. One file is one: file `x.py` defines `x(shape, classes, *, options) -> nn.Module`.

`shape` is that of one input without the batch, for example (1, 28, 28); `classes` the number of logits.
"""

from types import ModuleType

from prudent.catalogue import Catalogue

MODELS = Catalogue("prudent.models", "model")


def __getattr__(name: str) -> ModuleType:
    """`prudent.models.small_cnn` without importing the others."""
    if name in MODELS:
        return MODELS.module(name)
    raise AttributeError(f"module 'prudent.models' has no attribute {name!r}")
