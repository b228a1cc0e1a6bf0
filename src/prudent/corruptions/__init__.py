"""Corruptions of images. One file is one: `x.py` defines `x(inputs, strength, draws) -> Tensor` and its two tables.

    CIFAR, IMAGENET = (five strengths, severity 1 to 5)

The tables are the parameters with which CIFAR-10-C and ImageNet-C were made, as published by Hendrycks and Dietterich
with their code (github.com/hendrycks/robustness, make_cifar_c.py and imagenet_c/corruptions.py, Apache-2.0). They are
in pixels of images of 32 and of 224 pixels, unless a file says that they follow the size of the image.

A corruption takes images (n, c, h, w) in [0, 1], one of its strengths, and random numbers that belong to each example
(`Draws`); it returns images of the same shape in [0, 1] and changes nothing. Images stay floating point numbers
throughout: the published sets were rounded down to 8 bits at the end, and some of them in between.
"""

from types import ModuleType

from prudent.catalogue import Catalogue

CORRUPTIONS = Catalogue("prudent.corruptions", "corruption")


def __getattr__(name: str) -> ModuleType:
    """`prudent.corruptions.fog` without importing the others."""
    if name in CORRUPTIONS:
        return CORRUPTIONS.module(name)
    raise AttributeError(f"module 'prudent.corruptions' has no attribute {name!r}")
