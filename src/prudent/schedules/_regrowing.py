"""Drop the smallest weights and grow others in their place: what SET and RigL share."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from prudent.errors import BadInput
from prudent.masks import Mask, select
from prudent.network import prunable
from prudent.upkeep import Revise, Step

Grow = Callable[[Step, str, Tensor], Tensor]
"""(step, name of a weight, its shape-giving weight) -> scores of which weights to grow, higher first."""


def check(fraction: float, every: int, until: float) -> None:
    """Refuse options out of range."""
    if not 0 < fraction < 1:
        raise BadInput(f"fraction is the share of kept weights that are replaced, in (0, 1); got {fraction}")
    if every < 1:
        raise BadInput(f"every counts steps between two replacements, 1 or more; got {every}")
    if not 0 < until <= 1:
        raise BadInput(f"until is the share of all steps after which the mask stays, in (0, 1]; got {until}")


def cosine(fraction: float, index: int, last: float) -> float:
    """The share to replace at a step: from `fraction` at the start down to 0 at step `last`."""
    return fraction / 2 * (1 + math.cos(math.pi * index / last))


def regrowing(share: Callable[[int, float], float], grow: Grow, *, every: int, until: float) -> Revise:
    """A schedule that replaces, in each layer, a share of the kept weights by as many others.

    Args:
        share: (index of the step, last step that replaces) -> share of kept weights to replace.
        grow: which weights come; what was kept after dropping is not asked about.
        every: steps between two replacements.
        until: share of all steps after which the mask stays as it is.
    """

    def revise(step: Step) -> Mask | None:
        if step.mask is None or step.mask.granularity != "weight":
            raise BadInput(
                "dropping and growing needs a mask of single weights to start from: train(..., mask=prune(model, "
                'score="random", scope="erdos_renyi_kernel", sparsity=...).mask)'
            )
        last = until * step.total
        if step.index == 0 or step.index % every or step.index >= last:
            return None
        weights = prunable(step.model)
        kept = {
            name: _replaced(weights[name].detach(), before, share(step.index, last), grow(step, name, weights[name]))
            for name, before in step.mask.kept.items()
        }
        return Mask(kept=kept, granularity="weight")

    return revise


def _replaced(weight: Tensor, before: Tensor, share: float, growth: Tensor) -> Tensor:
    """The layer's mask after dropping and growing: as many kept as before."""
    alive = int(before.sum())
    replaced = int(share * alive)
    if replaced == 0:
        return before
    # what is not kept ranks below everything that is
    magnitude = torch.where(before, weight.abs().cpu(), -torch.ones(()))
    left = _keep(magnitude, alive - replaced)
    # what was dropped a moment ago may come back, as in both papers; what is left is not grown again
    ranked = torch.where(left, torch.full((), -math.inf), growth.cpu()).clamp_min(torch.finfo(growth.dtype).min)
    return left | _keep(ranked, replaced)


def _keep(scores: Tensor, number: int) -> Tensor:
    """True for the `number` highest."""
    units = scores.numel()
    return select({"w": scores}, (units - number) / units).kept["w"]
