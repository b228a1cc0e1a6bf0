"""What training asks an objective about: one batch that the network has just answered."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, eq=False)
class Pass:
    """One batch on its way through a network in training.

    Args:
        index: of the step, from 0.
        total: how many steps there will be, unless training stops early.
        model: the network in training. To be run, not changed.
        inputs, labels: (batch, ...) and (batch,).
        logits: (batch, classes) what it has answered, with gradients.
    """

    index: int
    total: int
    model: nn.Module
    inputs: Tensor
    labels: Tensor
    logits: Tensor


Objective = Callable[[Pass], Tensor]
"""The loss of a batch, a number with gradients, in nats; in place of the mean cross-entropy."""
