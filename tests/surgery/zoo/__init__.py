"""Small networks of every kind that surgery has to answer for, each with the answer of a perfect tool.

Add a network: a builder and a `Case` in the file of its kind.
"""

from tests.surgery.zoo import (
    attention,
    awkward,
    channels,
    convolution,
    linear,
    normalisation,
    recurrent,
    residual,
    signature,
    transformers,
    wrapped,
)
from tests.surgery.zoo.case import Case

CASES: tuple[Case, ...] = (
    *residual.CASES,
    *convolution.CASES,
    *channels.CASES,
    *normalisation.CASES,
    *attention.CASES,
    *transformers.CASES,
    *linear.CASES,
    *recurrent.CASES,
    *signature.CASES,
    *wrapped.CASES,
    *awkward.CASES,
)

__all__ = ["CASES", "Case"]
