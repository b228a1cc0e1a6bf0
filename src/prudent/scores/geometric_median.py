"""Distance to the other filters of the layer: what lies near the geometric median can be replaced by the rest."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from prudent.batches import Batch
from prudent.network import Scores, prunable
from prudent.surgery.chain import links

NEEDS = ()
UNIT = "channel"


def geometric_median(
    model: nn.Module,
    batches: Iterable[Batch] | None = None,  # noqa: ARG001 (the contract's)
    *,
    normalise: bool = True,
) -> Scores:
    """Sum of the Euclidean distances from each filter to all filters of its layer.

        distance(c) = sum_j |w_c - w_j|_2
        score(c)    = distance(c) / mean of the layer's distances

    The filter with the smallest sum is the one nearest to the layer's geometric median. Filters are compared within a
    layer only; divided by their mean, distances of several layers can be ranked together (global scope), which the
    paper does not do. The order within a layer is the same either way.

    Args:
        model: a plain network. Not changed.
        batches: not used.
        normalise: divide by the layer's mean; otherwise the distances as they are, in the weights' units.

    Returns: one float64 tensor (channels,) for each layer whose channels can be removed, without unit; higher = keep.
    Where all filters of a layer are the same, zeros.

    Raises:
        CannotPrune: nothing to prune, or a network that is not plain.

    Source: He et al. 2019, "Filter Pruning via Geometric Median for Deep Convolutional Neural Networks Acceleration",
    arXiv:1811.00250, equation 4 and the sums that replace it. Biases and batch norms are no part of a filter, as there.
    """
    weights = prunable(model)
    distances = {link.weight: _sums(weights[link.weight].detach()) for link in links(model)}
    if not normalise:
        return distances
    return {name: value / value.mean().clamp_min(1e-300) for name, value in distances.items()}


def _sums(weight: Tensor) -> Tensor:
    filters = weight.double().flatten(1)
    # not by a matrix product, in which the small distances of filters that are nearly alike cancel
    return torch.cdist(filters, filters, compute_mode="donot_use_mm_for_euclid_dist").sum(dim=1)
