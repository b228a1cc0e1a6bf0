"""One training loop, with or without a mask."""

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from prudent.batches import Batch, Batches, check_purpose, check_repeatable
from prudent.errors import BadInput
from prudent.masks import Mask, check_choice, removed_elements, zero
from prudent.network import seeded
from prudent.seeds import stream

Optimizer = Literal["adam", "sgd"]
LearningRate = Literal["constant", "cosine", "one_cycle"]


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one pass over the examples came to.

    Args:
        index: from 0.
        loss: mean cross-entropy over the epoch's examples as they were trained on, nats.
        error: share of them decided wrongly, in [0, 1].
    """

    index: int
    loss: float
    error: float


def train(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    epochs: int,
    lr: float,
    mask: Mask | None = None,
    optimizer: Optimizer = "adam",
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    schedule: LearningRate = "constant",
    seed: int = 0,
    accelerator: str = "auto",
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"] = "32-true",
    on_epoch: Callable[[Epoch], None] | None = None,
) -> nn.Module:
    """Train a copy of `model` with cross-entropy.

    With a mask, what it removes is zero after every step, exactly, whatever momentum the optimiser holds. Zeroing
    happens after the step, so forward and backward passes cost what they cost without a mask.

    Args:
        model: maps inputs (batch, ...) to logits (batch, classes). Not changed.
        batches: inputs and labels of the train split, readable more than once. Batches are shuffled anew each epoch by
            (seed, epoch); any other iterable is read in the order that it gives.
        epochs: passes over the batches, >= 0.
        lr: learning rate (peak rate for "one_cycle"), > 0.
        mask: what is removed stays zero.
        optimizer: "adam" or "sgd" (Nesterov).
        momentum: of "sgd", in [0, 1).
        weight_decay: decoupled for "adam" (AdamW), L2 for "sgd".
        schedule: "constant", "cosine" (to 0), or "one_cycle" (up over 30 % of the steps, then down to almost 0).
        seed: of shuffling and dropout; the global generators are not touched.
        accelerator, precision: as in lightning-fabric.
        on_epoch: called after each epoch.

    Returns: the trained copy, on the device and in the mode of `model`.

    Raises:
        BadInput: no batches, batches without labels, labels outside the classes, epochs < 0, lr <= 0, a mask that
            does not fit, a loss that is no longer finite.
        SplitMisuse: batches of another split.
        UnknownName: no such optimizer or schedule.
    """
    _check(batches, epochs, lr, optimizer, schedule)
    fabric = Fabric(accelerator=accelerator, devices=1, precision=precision)
    trained = copy.deepcopy(model)
    device = next(trained.parameters()).device
    removed = removed_elements(trained, mask) if mask is not None else {}
    zero(trained, removed)
    if epochs == 0:
        return trained
    modes = [module.training for module in trained.modules()]
    trained.train()
    method = _optimizer(trained, optimizer, lr, momentum, weight_decay)
    wrapped, method = fabric.setup(trained, method)
    removed = {name: gone.to(fabric.device) for name, gone in removed.items()}
    steps = epochs * sum(1 for _ in batches)
    if steps == 0:
        raise BadInput("there is nothing to train on: the batches are empty")
    rate = _schedule(method, schedule, lr, steps)
    with seeded(stream("training", seed)):
        for index in range(epochs):
            ordered = batches.shuffled(seed=seed, epoch=index) if isinstance(batches, Batches) else batches
            epoch = _one_epoch(fabric, wrapped, method, rate, trained, ordered, removed, index)
            if on_epoch is not None:
                on_epoch(epoch)
    for module, training in zip(trained.modules(), modes, strict=True):
        module.training = training
    method.zero_grad(set_to_none=True)
    return trained.to(device)


def _one_epoch(
    fabric: Fabric,
    wrapped: nn.Module,
    method: torch.optim.Optimizer,
    rate: torch.optim.lr_scheduler.LRScheduler,
    trained: nn.Module,
    batches: Iterable[Batch],
    removed: dict[str, Tensor],
    index: int,
) -> Epoch:
    total = torch.zeros((), device=fabric.device)
    wrong = torch.zeros((), device=fabric.device)
    seen = 0
    for batch in batches:
        if not isinstance(batch, (tuple, list)):
            raise BadInput("training needs labels: batches of (inputs, labels)")
        inputs, labels = fabric.to_device(batch[0]), fabric.to_device(batch[1])
        method.zero_grad(set_to_none=True)
        logits = wrapped(inputs)
        _check_labels(labels, logits)
        loss = cross_entropy(logits, labels)
        fabric.backward(loss)
        method.step()
        rate.step()
        zero(trained, removed)
        with torch.no_grad():
            total += loss.detach() * len(labels)
            wrong += (logits.argmax(dim=1) != labels).sum()
        seen += len(labels)
    mean = float(total) / max(seen, 1)
    if not math.isfinite(mean):
        raise BadInput(f"the loss is {mean} in epoch {index}: lower the learning rate, or look for NaN in the inputs")
    return Epoch(index=index, loss=mean, error=float(wrong) / max(seen, 1))


def _optimizer(
    model: nn.Module, name: Optimizer, lr: float, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    if name == "adam":
        return torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay, fused=True)
    return torch.optim.SGD(
        model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=momentum > 0, fused=True
    )


def _schedule(
    method: torch.optim.Optimizer, name: LearningRate, lr: float, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    if name == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(method, T_max=steps)
    if name == "one_cycle":
        return torch.optim.lr_scheduler.OneCycleLR(method, max_lr=lr, total_steps=steps + 1, cycle_momentum=False)
    return torch.optim.lr_scheduler.LambdaLR(method, lambda _: 1.0)


def _check(batches: Iterable[Batch], epochs: int, lr: float, optimizer: str, schedule: str) -> None:
    check_choice("optimizer", optimizer, Optimizer)
    check_choice("schedule", schedule, LearningRate)
    if epochs < 0:
        raise BadInput(f"epochs count passes over the examples, 0 or more; got {epochs}")
    if not lr > 0:
        raise BadInput(f"the learning rate is positive; got {lr}")
    check_repeatable(batches)
    check_purpose(batches, purpose="training", allowed=("train",))


def _check_labels(labels: Tensor, logits: Tensor) -> None:
    # on a GPU the comparison would stall every step, and there cross_entropy refuses by itself
    if labels.device.type == "cpu" and (int(labels.min()) < 0 or int(labels.max()) >= logits.shape[1]):
        raise BadInput(
            f"labels lie in 0 .. {logits.shape[1] - 1} for {logits.shape[1]} logits; "
            f"got {int(labels.min())} .. {int(labels.max())}"
        )
