"""One training loop, with or without a mask, to its last epoch or to the best one on the validation split."""

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from prudent.assessment import check_labels, loss_and_error
from prudent.augmentation import epochs_of
from prudent.batches import Batch
from prudent.corrupting import SEVERITIES
from prudent.demands import check_batches, check_finite, check_numbers, check_trainable, check_validation
from prudent.errors import BadInput, reason
from prudent.granularities import removed_elements, zero
from prudent.masks import Mask
from prudent.network import seeded
from prudent.optimizers import LearningRate, Optimizer, optimizer_of, rate_of
from prudent.passes import Objective, Pass
from prudent.scopes import check_choice
from prudent.seeds import stream
from prudent.upkeep import Revise, Upkeep


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one pass over the examples came to.

    Args:
        index: from 0.
        loss: mean cross-entropy over the epoch's examples as they were trained on, or mean of the objective, nats.
        error: share of them decided wrongly, in [0, 1].
        validation_loss: mean cross-entropy over the validation examples after the epoch, in evaluation mode, nats;
            None without validation.
        validation_error: share of those decided wrongly, in [0, 1]; None without validation.
        seconds: wall-clock time of the pass over the training examples, validation not counted. Not compared.
    """

    index: int
    loss: float
    error: float
    validation_loss: float | None = None
    validation_error: float | None = None
    seconds: float = field(default=0.0, compare=False)


def train(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    epochs: int,
    lr: float,
    mask: Mask | None = None,
    validation: Iterable[Batch] | None = None,
    patience: int | None = None,
    optimizer: Optimizer = "adam",
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    schedule: LearningRate = "constant",
    corruptions: Sequence[str] = (),
    severities: Sequence[int] = SEVERITIES,
    label_noise: float = 0.0,
    objective: Objective | None = None,
    seed: int = 0,
    accelerator: str = "auto",
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"] = "32-true",
    on_epoch: Callable[[Epoch], None] | None = None,
    on_step: Revise | None = None,
) -> nn.Module:
    """Train a copy of `model` with cross-entropy, or another objective.

    With a mask, what it removes is zero after every step, exactly, whatever momentum the optimiser holds. Zeroing
    happens after the step, so forward and backward passes cost what they cost without a mask.

    With validation, the network of the epoch with the lowest validation loss comes back (of equal ones the first), bit
    by bit, and not that of the last epoch. Looking at the validation examples changes nothing of the training.

    Args:
        model: maps inputs (batch, ...) to logits (batch, classes). Not changed.
        batches: inputs and labels of the train split, readable more than once. Batches are shuffled anew each epoch by
            (seed, epoch); any other iterable is read in the order that it gives.
        epochs: passes over the batches, a whole number >= 0.
        lr: learning rate (peak rate for "one_cycle"), > 0 and finite.
        mask: what is removed stays zero.
        validation: inputs and labels of the validation split, read once after each epoch.
        patience: stop after so many epochs in a row without a new lowest validation loss, >= 1; None trains all epochs.
        optimizer: "adam" or "sgd" (Nesterov).
        momentum: of "sgd", in [0, 1).
        weight_decay: decoupled for "adam" (AdamW), L2 for "sgd"; >= 0.
        schedule: "constant", "cosine" (to 0), or "one_cycle" (up over 30 % of the steps, then down to almost 0).
        corruptions: each epoch leaves each image clean or corrupts it by one of these (`corrupted`); none for no
            corruption. Needs `Batches` of images in [0, 1].
        severities: of the corruptions, equally likely.
        label_noise: share of the examples that are trained on with another class than their own (`relabelled`), in
            [0, 1). Needs `Batches`.
        objective: the loss of each batch (see prudent.objectives); None for the mean cross-entropy.
        seed: of shuffling, corruptions, wrong labels and dropout, in 0 .. 2**63 - 1; the global generators are not
            touched.
        accelerator, precision: as in lightning-fabric.
        on_epoch: called after each epoch. `best_epoch` tells from what it got which epoch was kept.
        on_step: called after each step; may change the mask (see prudent.schedules). Weights that come back start at
            zero, without momentum. With validation, only epochs after the last change can be the best.

    Returns: the trained copy, on the device and in the mode of `model`.

    Raises:
        BadInput: no batches, batches without labels, labels that are not int64 or outside the classes, inputs that the
            network does not take, a number outside its range, patience without validation, a mask that does not fit,
            nothing to train (no parameters, all frozen, gradients off), a loss or weights that are no longer finite.
        SplitMisuse: batches or validation of another split.
        UnknownName: no such optimizer or schedule.

    Source: Prechelt 1998, "Early Stopping - But When?" (arXiv: none), for patience.
    """
    check_batches(batches)
    check_numbers(epochs=epochs, lr=lr, momentum=momentum, weight_decay=weight_decay, seed=seed)
    check_choice("optimizer", optimizer, Optimizer)
    check_choice("schedule", schedule, LearningRate)
    check_trainable(model)
    check_validation(validation, patience)
    epoch_of = epochs_of(batches, corruptions=corruptions, severities=severities, label_noise=label_noise, seed=seed)
    fabric = _fabric(accelerator, precision)
    trained = copy.deepcopy(model)
    device = next(trained.parameters()).device
    removed = removed_elements(trained, mask) if mask is not None else {}
    zero(trained, removed)
    if epochs == 0:
        return trained
    modes = [module.training for module in trained.modules()]
    trained.train()
    method = optimizer_of(trained, optimizer, lr, momentum, weight_decay)
    wrapped, method = fabric.setup(trained, method)
    steps = epochs * _count(batches, seed)
    rate = rate_of(method, schedule, lr, steps)
    upkeep = Upkeep(trained, method, on_step, steps, mask, {k: v.to(fabric.device) for k, v in removed.items()})
    best: _Best | None = None
    with seeded(stream("training", seed)):
        for index in range(epochs):
            epoch = _one_epoch(fabric, wrapped, method, rate, epoch_of(index), upkeep, index, objective)
            if upkeep.changed():
                best = None  # what was best had another mask
            if validation is not None:
                epoch, best = _look(epoch, best, wrapped, trained, validation)
            if on_epoch is not None:
                on_epoch(epoch)
            if best is not None and patience is not None and index - best.index >= patience:
                break
    if best is not None:
        _put_back(trained, best)
    check_finite(trained)
    for module, training in zip(trained.modules(), modes, strict=True):
        module.training = training
    method.zero_grad(set_to_none=True)
    return trained.to(device)


def best_epoch(history: Sequence[Epoch]) -> Epoch:
    """The epoch whose network `train` returned: of the lowest validation loss, of equal ones the first.

    Raises:
        BadInput: no epochs, or epochs without validation.
    """
    if not history or any(epoch.validation_loss is None for epoch in history):
        raise BadInput("the best epoch is the one of the lowest validation loss: train with validation=...")
    return min(history, key=lambda epoch: math.inf if epoch.validation_loss is None else epoch.validation_loss)


def _one_epoch(
    fabric: Fabric,
    wrapped: nn.Module,
    method: torch.optim.Optimizer,
    rate: torch.optim.lr_scheduler.LRScheduler,
    batches: Iterable[Batch],
    upkeep: Upkeep,
    index: int,
    objective: Objective | None,
) -> Epoch:
    total = torch.zeros((), device=fabric.device)
    wrong = torch.zeros((), device=fabric.device)
    seen, started = 0, time.perf_counter()
    for batch in batches:
        if not isinstance(batch, (tuple, list)):
            raise BadInput("training needs labels: batches of (inputs, labels)")
        inputs, labels = fabric.to_device(batch[0]), fabric.to_device(batch[1])
        method.zero_grad(set_to_none=True)
        logits = _answer(wrapped, inputs)
        check_labels(labels, logits)
        loss = _loss(objective, upkeep, inputs, labels, logits)
        fabric.backward(loss)
        method.step()
        rate.step()
        upkeep.after_step()
        with torch.no_grad():
            total += loss.detach() * len(labels)
            wrong += (logits.argmax(dim=1) != labels).sum()
        seen += len(labels)
    mean = float(total) / max(seen, 1)
    if not math.isfinite(mean):
        raise BadInput(f"the loss is {mean} in epoch {index}: lower the learning rate, or look for NaN in the inputs")
    # float(wrong) and the mean have waited for the device, so the time is that of finished work
    error, seconds = float(wrong) / max(seen, 1), time.perf_counter() - started
    return Epoch(index=index, loss=mean, error=error, seconds=seconds)


def _loss(objective: Objective | None, upkeep: Upkeep, inputs: Tensor, labels: Tensor, logits: Tensor) -> Tensor:
    if objective is None:
        return cross_entropy(logits, labels)
    return objective(
        Pass(index=upkeep.index, total=upkeep.total, model=upkeep.trained, inputs=inputs, labels=labels, logits=logits)
    )


def _count(batches: Iterable[Batch], seed: int) -> int:
    with seeded(seed):
        count = sum(1 for _ in batches)
    if count == 0:
        raise BadInput("there is nothing to train on: the batches are empty")
    return count


def _fabric(accelerator: str, precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]) -> Fabric:
    try:
        return Fabric(accelerator=accelerator, devices=1, precision=precision)
    except Exception as error:
        asked = f"accelerator={accelerator!r} and precision={precision!r}"
        raise BadInput(f"lightning-fabric cannot work with {asked}: {reason(error)}") from error


def _answer(wrapped: nn.Module, inputs: Tensor) -> Tensor:
    try:
        logits: Tensor = wrapped(inputs)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        came = f"inputs of shape {tuple(inputs.shape)} and dtype {inputs.dtype}"
        raise BadInput(f"the network cannot be trained on {came}: {reason(error)}") from error
    return logits


@dataclass(frozen=True, kw_only=True, eq=False)
class _Best:
    index: int
    loss: float
    state: dict[str, Tensor]


def _look(
    epoch: Epoch, best: _Best | None, wrapped: nn.Module, trained: nn.Module, validation: Iterable[Batch]
) -> tuple[Epoch, _Best]:
    # seeded: a DataLoader draws from the global generator, and the training after it must not feel that
    with seeded(0):
        loss, error = loss_and_error(wrapped, validation)
    if not math.isfinite(loss):
        raise BadInput(f"the validation loss is {loss} after epoch {epoch.index}: lower the learning rate")
    epoch = dataclasses.replace(epoch, validation_loss=loss, validation_error=error)
    if best is not None and not loss < best.loss:
        return epoch, best
    return epoch, _Best(index=epoch.index, loss=loss, state={k: v.clone() for k, v in _tensors(trained)})


def _put_back(trained: nn.Module, best: _Best) -> None:
    with torch.no_grad():
        for name, value in _tensors(trained):
            value.copy_(best.state[name])


def _tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    # not the state dict, which leaves out buffers that are not saved
    return [(k, v.detach()) for k, v in (*model.named_parameters(), *model.named_buffers())]
