"""The optimisers of training, and how their learning rate runs."""

from typing import Literal

import torch
from torch import nn

Optimizer = Literal["adam", "sgd"]
LearningRate = Literal["constant", "cosine", "one_cycle"]


def optimizer_of(
    model: nn.Module, name: Optimizer, lr: float, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    """The optimiser of a network's parameters; what the words mean stands at `train`."""
    if name == "adam":
        return torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay, fused=True)
    return torch.optim.SGD(
        model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=momentum > 0, fused=True
    )


def rate_of(
    method: torch.optim.Optimizer, name: LearningRate, lr: float, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning rate of every step, `lr` being the highest."""
    if name == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(method, T_max=steps)
    if name == "one_cycle":
        return torch.optim.lr_scheduler.OneCycleLR(method, max_lr=lr, total_steps=steps + 1, cycle_momentum=False)
    return torch.optim.lr_scheduler.LambdaLR(method, lambda _: 1.0)
