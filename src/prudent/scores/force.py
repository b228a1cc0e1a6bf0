"""Foresight connection sensitivity: SNIP in several steps."""

import copy
from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from prudent.batches import Batch, check_repeatable
from prudent.gradients import mean_gradient, trainable
from prudent.network import Scores, batch_statistics, prunable
from prudent.observation import needed
from prudent.scopes import check_choice, check_sparsity
from prudent.thinning import thin

NEEDS = ("data", "labels", "gradients")
UNIT = "weight"

Variant = Literal["force", "iterative_snip"]


def force(
    model: nn.Module,
    batches: Iterable[Batch] | None = None,
    *,
    sparsity: float = 0.9,
    variant: Variant = "force",
    steps: int = 10,
) -> Scores:
    """Connection sensitivity of the network that is left, over several steps of pruning.

        score(w) = | w * dL/dw at the weights that are kept, the others zero |,    L = mean cross-entropy, in nats

    After step t a share (1 - sparsity) ** (t / steps) of the weights is kept. "force" scores every weight with its
    original value, so that one that was removed can come back; "iterative_snip" never brings one back. One step of
    either is `snip`. Batch normalisations use the batch's statistics and dropout is off.

    Args:
        model: maps inputs (batch, ...) to logits (batch, classes). Not changed.
        batches: inputs (batch, ...) and labels (batch,). Read once a step.
        sparsity: what is to be removed in the end, in [0, 1). Under global scope this many of the lowest scores are
            exactly what the last step removes; for another sparsity or scope the scores are only a ranking.
        variant: "force" or "iterative_snip".
        steps: >= 1.

    Returns: one tensor for each prunable weight, of its shape, in nats; higher = keep. What "iterative_snip" removed
    before the last step has no sensitivity of its own: its scores are below all others, in the order of removal.

    Raises:
        BadInput: no data, no labels, batches that can be read only once, steps < 1, or sparsity outside [0, 1).
        UnknownName: no such variant.
        CannotPrune: nothing to prune, or a frozen weight.

    Source: de Jorge et al. 2021, "Progressive Skeletonization: Trimming more fat from a network at initialization",
    arXiv:2006.09081, with its exponential schedule; there a fresh batch in each step, here all.
    """
    batches = needed(batches, score="force")
    check_sparsity(sparsity)
    check_choice("variant of force", variant, Variant)
    if steps > 1:
        check_repeatable(batches)
    weights = {name: weight.detach() for name, weight in trainable(model).items()}
    probe = copy.deepcopy(model)
    probed = prunable(probe)

    def sensitivity(kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with torch.no_grad():
            for name, weight in probed.items():
                weight.copy_(weights[name] * kept[name])
        with batch_statistics(probe):
            gradient = mean_gradient(probe, batches, score="force")
        return {name: (weight * gradient[name]).abs() for name, weight in weights.items()}

    return thin(sensitivity, weights, sparsity=sparsity, steps=steps, revive=variant == "force")
