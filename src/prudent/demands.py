"""What training demands before it starts, and of what it returns."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from prudent.batches import Batch, check_purpose, check_repeatable
from prudent.errors import BadInput
from prudent.network import seeded


def check_numbers(*, epochs: object, lr: float, momentum: float, weight_decay: float, seed: object) -> None:
    """Refuse numbers of `train` outside their ranges."""
    if not isinstance(epochs, int) or epochs < 0:
        raise BadInput(f"epochs count passes over the examples, a whole number of 0 or more; got {epochs!r}")
    if not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise BadInput(f"a seed is a whole number in 0 .. 2**63 - 1; got {seed!r}")
    for name, value, fits, wanted in (
        ("the learning rate", lr, 0 < lr < math.inf, "positive and finite"),
        ("momentum", momentum, 0 <= momentum < 1, "in [0, 1)"),
        ("weight_decay", weight_decay, 0 <= weight_decay < math.inf, "0 or more, and finite"),
    ):
        if not fits:
            raise BadInput(f"{name} is {wanted}; got {value}")


def check_trainable(model: nn.Module) -> None:
    """Refuse a network without parameters that could learn, and a place where gradients are switched off."""
    name, parameters = type(model).__name__, list(model.parameters())
    if not parameters:
        raise BadInput(f"training needs a network with parameters; {name} has none")
    if not any(parameter.requires_grad for parameter in parameters):
        raise BadInput(f"all parameters of {name} are frozen: set requires_grad on those that are to be trained")
    if not torch.is_grad_enabled():
        raise BadInput("training needs gradients: call it outside of torch.no_grad() and torch.inference_mode()")


def check_batches(batches: Iterable[Batch]) -> None:
    """Refuse batches of another split than train, and an iterator."""
    check_purpose(batches, purpose="training", allowed=("train",))
    with seeded(0):  # merely asking a DataLoader for its iterator draws a random number
        check_repeatable(batches)


def check_validation(validation: Iterable[Batch] | None, patience: int | None) -> None:
    """Refuse patience without validation, and batches that cannot choose an epoch."""
    if patience is not None and patience < 1:
        raise BadInput(f"patience counts epochs without a lower validation loss, 1 or more; got {patience}")
    if validation is None:
        if patience is not None:
            raise BadInput(f"patience={patience} watches the validation loss: pass validation=...")
        return
    check_purpose(validation, purpose="choosing the epoch", allowed=("validation",))
    with seeded(0):
        check_repeatable(validation)
        first = next(iter(validation), None)
    if not isinstance(first, (tuple, list)):
        raise BadInput("validation needs examples with labels: batches of (inputs, labels)")


def check_finite(model: nn.Module) -> None:
    """Refuse weights that the last step, whose loss nobody has seen, has made NaN or infinite."""
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise BadInput(f"after training {name!r} is no longer finite: lower the learning rate")
