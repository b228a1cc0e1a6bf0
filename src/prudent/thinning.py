"""Scores that are found by removing weights in several steps, with fresh scores after each."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from prudent.errors import BadInput
from prudent.masks import Mask, select
from prudent.scopes import check_sparsity

ScoreOf = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""From what is kept (name -> bool tensor, True = kept) to scores >= 0 of all weights of the network that is left."""


def thin(
    score_of: ScoreOf, weights: Mapping[str, Tensor], *, sparsity: float, steps: int, revive: bool = False
) -> dict[str, Tensor]:
    """Scores whose lowest are removed little by little, until `sparsity` is reached.

        density after step t = (1 - sparsity) ** (t / steps)

    Removing round(sparsity * units) of the returned scores, all layers ranked together, is the last step.

    Args:
        score_of: called `steps` times, first with everything kept.
        weights: name -> weight; shapes and devices are read.
        sparsity: fraction that is to be removed in the end, in [0, 1).
        steps: how often something is removed, >= 1.
        revive: whether what was removed may come back in a later step. If not, the scores of what was removed are
            below those of everything that was kept, in the order of removal: multiples of the smallest number.

    Returns: name -> tensor of the weight's shape; higher = keep.

    Raises:
        BadInput: sparsity outside [0, 1) or so high that nothing is left; steps < 1.
    """
    check_sparsity(sparsity)
    if steps < 1:
        raise BadInput(f"weights are removed in 1 step or more; got steps={steps}")
    kept = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    gone: dict[str, Tensor] = {}
    mask: Mask | None = None
    for step in range(1, steps if sparsity > 0 else 1):
        scores = _plain(score_of(kept))
        mask = select(scores, 1 - (1 - sparsity) ** (step / steps), within=None if revive else mask)
        gone = gone or {name: torch.zeros_like(score) for name, score in scores.items()}
        for name, before in kept.items():
            now = mask.kept[name].to(before.device)
            gone[name][before & ~now] = step * torch.finfo(gone[name].dtype).tiny
            kept[name] = now
    last = _plain(score_of(kept))
    if revive or not gone:
        return last
    # tiny, and not negative: sums over channels stay what the kept weights make them
    lowest = {name: steps * torch.finfo(score.dtype).tiny for name, score in last.items()}
    return {name: torch.where(kept[name], score.clamp_min(lowest[name]), gone[name]) for name, score in last.items()}


def _plain(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Scores in a precision that has room below them."""
    half = (torch.float16, torch.bfloat16)
    return {name: score.float() if score.dtype in half else score for name, score in scores.items()}
