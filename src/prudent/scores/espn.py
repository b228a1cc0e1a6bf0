"""A mask that is learned together with the weights."""

import copy
import math
import warnings
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from prudent.batches import Batch, Batches, check_repeatable
from prudent.errors import BadInput, reason
from prudent.gradients import trainable
from prudent.network import Scores, prunable, seeded
from prudent.observation import labelled, needed, quiet
from prudent.scopes import check_sparsity, count

NEEDS = ("data", "labels", "gradients")
UNIT = "weight"

THRESHOLD = 0.01
"""An entry of the mask below it counts as removed."""

MOMENTUM = 0.9


def espn(
    model: nn.Module,
    batches: Iterable[Batch] | None = None,
    *,
    sparsity: float = 0.9,
    penalty: float | None = None,
    lr: float = 0.1,
    max_epochs: int = 300,
    seed: int = 0,
) -> Scores:
    """Entries of a soft mask that is trained together with a copy of the weights, under an L1 penalty.

        score(w) = |m|,    m, w = descent on L(m * w) + penalty * sum |m| from m = 1,    L = cross-entropy, in nats

    Training (SGD with momentum 0.9, no weight decay, the network in training mode) ends with the epoch after which no
    more entries exceed 0.01 than are to be kept. If `max_epochs` come first, a warning says so; the scores still rank.

    Args:
        model: maps inputs (batch, ...) to logits (batch, classes). Not changed: a copy is trained.
        batches: inputs (batch, ...) and labels (batch,), readable more than once. Batches are shuffled anew each epoch
            by (seed, epoch); any other iterable is read in the order that it gives.
        sparsity: what is to be removed in the end, in [0, 1).
        penalty: weight of the L1 penalty, > 0. None: an entry that the loss ignores is at zero after a sixth of the
            steps in `max_epochs` (for 60,000 examples in batches of 256, 8.5e-5; the paper has 8e-5 for LeNet-300-100),
            at most 0.0005 / lr, above which entries would jump to and fro over zero.
        lr: learning rate, > 0.
        max_epochs: >= 1.
        seed: of shuffling and dropout; the global generators are not touched.

    Returns: one tensor for each prunable weight, of its shape, without unit; higher = keep.

    Raises:
        BadInput: no data, no labels, batches that can be read only once, sparsity outside [0, 1), penalty, lr or
            max_epochs that are not positive, or a loss that is no longer finite.
        CannotPrune: nothing to prune, or a frozen weight.

    Source: Cho et al. 2020, "ESPN: Extremely Sparse Pruned Networks", arXiv:2006.15741; entries are counted by |m|, as
    they are ranked, where the authors' code counts m.
    """
    batches = needed(batches, score="espn")
    check_sparsity(sparsity)
    if not (lr > 0 and max_epochs >= 1 and (penalty is None or penalty > 0)):
        raise BadInput(f"lr and penalty are positive and max_epochs is 1 or more; got {lr}, {penalty} and {max_epochs}")
    check_repeatable(batches)
    weights = trainable(model)
    if penalty is None:
        steps = max_epochs * sum(1 for _ in quiet(batches))
        penalty = min(6 * (1 - MOMENTUM) / (lr * max(steps, 1)), THRESHOLD * (1 - MOMENTUM) / (2 * lr))
    total = sum(weight.numel() for weight in weights.values())
    target = total - count(sparsity, total)
    copied = copy.deepcopy(model).train()
    mask = {name: torch.ones_like(weight, requires_grad=True) for name, weight in weights.items()}
    learned = [parameter for parameter in copied.parameters() if parameter.requires_grad]
    method = torch.optim.SGD([*learned, *mask.values()], lr=lr, momentum=MOMENTUM)
    left = total
    with torch.enable_grad(), seeded(seed):
        for epoch in range(max_epochs):
            ordered = batches.shuffled(seed=seed, epoch=epoch) if isinstance(batches, Batches) else batches
            examples = labelled(ordered, model, score="espn", seed=seed * 1_000_003 + epoch)
            _one_epoch(copied, mask, method, examples, penalty)
            left = sum(int((m.detach().abs() > THRESHOLD).sum()) for m in mask.values())
            if left <= target:
                break
    if left > target:
        warnings.warn(
            f"score 'espn': after max_epochs={max_epochs} the mask has {left} entries left, of which {target} are to "
            "be kept; the scores rank them: give it more epochs or a larger penalty",
            stacklevel=2,
        )
    return {name: m.detach().abs() for name, m in mask.items()}


def _one_epoch(
    model: nn.Module,
    mask: Mapping[str, Tensor],
    method: torch.optim.Optimizer,
    batches: Iterable[tuple[Tensor, Tensor]],
    penalty: float,
) -> None:
    weights = prunable(model)
    for inputs, labels in batches:
        masked = {name: weight * mask[name] for name, weight in weights.items()}
        try:
            loss = cross_entropy(functional_call(model, masked, (inputs,)), labels)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise BadInput(f"a batch of {len(labels)} examples has no cross-entropy: {reason(error)}") from error
        if not math.isfinite(float(loss.detach())):
            raise BadInput(f"score 'espn': the loss is {float(loss.detach())}: lower lr, or look for NaN in the inputs")
        method.zero_grad(set_to_none=True)
        torch.autograd.backward(loss + penalty * torch.stack([m.abs().sum() for m in mask.values()]).sum())
        method.step()
