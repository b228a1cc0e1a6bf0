"""What a mask removes stays zero while a network trains, and the mask may change."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prudent.granularities import removed_elements, zero
from prudent.masks import Mask


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One step of training that was just taken.

    Args:
        index: from 0.
        total: how many steps there will be, unless training stops early.
        model: the network in training, with its gradients of this step. To be read, not written.
        mask: what is removed now; None without a mask.
    """

    index: int
    total: int
    model: nn.Module
    mask: Mask | None


Revise = Callable[[Step], Mask | None]
"""Called after each step: a mask that holds from now on, or None to go on as before."""


@dataclass(eq=False)
class Upkeep:
    """Keeps at zero what the mask removes, and lets `on_step` change the mask.

    Args:
        trained: the network in training; changed.
        method: its optimiser, whose state of weights that come or go is cleared.
        on_step: as for `train`.
        total: number of steps.
        mask: what is removed now.
        removed: the same as elements of parameters.
        index: of the step that comes next.
        revised: whether the mask has changed since `changed` was last asked.
    """

    trained: nn.Module
    method: torch.optim.Optimizer
    on_step: Revise | None
    total: int
    mask: Mask | None
    removed: dict[str, Tensor]
    index: int = 0
    revised: bool = False

    def after_step(self) -> None:
        """Restore the zeros, then ask for another mask."""
        zero(self.trained, self.removed)
        if self.on_step is not None:
            mask = self.on_step(Step(index=self.index, total=self.total, model=self.trained, mask=self.mask))
            if mask is not None:
                self.revise(mask)
        self.index += 1

    def revise(self, mask: Mask) -> None:
        """Let another mask hold. What comes back starts at zero, without momentum."""
        own = dict(self.trained.named_parameters(remove_duplicate=False))
        new = {name: gone.to(own[name].device) for name, gone in removed_elements(self.trained, mask).items()}
        for name in {*new, *self.removed}:
            nothing = torch.zeros_like(own[name], dtype=torch.bool)
            changed = new.get(name, nothing) ^ self.removed.get(name, nothing)
            for value in self.method.state[own[name]].values():
                if isinstance(value, Tensor) and value.shape == changed.shape:
                    value.masked_fill_(changed, 0)
        self.mask, self.removed, self.revised = mask, new, True
        zero(self.trained, new)

    def changed(self) -> bool:
        """Whether the mask has changed since this was last asked."""
        revised, self.revised = self.revised, False
        return revised
