"""Layer-adaptive magnitude."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from prudent.batches import Batch
from prudent.network import Scores, prunable

NEEDS = ()
UNIT = "weight"


def lamp(model: nn.Module, batches: Iterable[Batch] | None = None) -> Scores:  # noqa: ARG001 (the contract's)
    """Squared weight over the squares of all weights of its layer that would outlive it.

        score(w_u) = w_u ** 2 / sum of w_v ** 2 over v >= u,    u, v in order of increasing |w| within the layer

    Each layer's largest weight scores 1, the most there is, so that no layer is emptied before every layer is down to
    one weight. Within a layer the order is that of the magnitude. Of equal weights the one that comes first counts as
    the smaller one, which is also the one that goes first. Zero weights score 0.

    Args:
        model: any network with linear or convolution layers. Not changed.
        batches: not used; the score needs no data.

    Returns: one float64 tensor for each prunable weight, of its shape, in [0, 1], without unit; higher = keep.

    Raises:
        CannotPrune: nothing to prune.

    Source: Lee et al. 2021, "Layer-adaptive sparsity for the Magnitude-based Pruning", arXiv:2010.07611.
    """
    return {name: _scores(weight.detach()) for name, weight in prunable(model).items()}


def _scores(weight: Tensor) -> Tensor:
    squares = weight.double().flatten().square()
    order = squares.argsort(stable=True)
    ranked = squares[order]
    # summed from the largest down: the last terms are the small ones, and lose nothing
    rest = ranked.flip(0).cumsum(0).flip(0)
    score = torch.where(rest > 0, ranked / rest.clamp_min(torch.finfo(torch.float64).tiny), 0.0)
    return torch.empty_like(squares).index_copy_(0, order, score).reshape(weight.shape)
