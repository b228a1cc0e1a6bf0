"""Distance to the other filters of the layer: what lies near the geometric median can be replaced by the rest."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from prudent.batches import Batch
from prudent.couplings import couplings, mean_of_places
from prudent.errors import CannotPrune
from prudent.network import Scores, prunable
from prudent.surgery.layouts import Layout
from prudent.surgery.neighbours import Stand

NEEDS = ()
UNIT = "channel"


def geometric_median(
    model: nn.Module,
    batches: Iterable[Batch] | None = None,  # noqa: ARG001 (the contract's)
    *,
    normalise: bool = True,
    layout: Layout | None = None,
) -> Scores:
    """Sum of the Euclidean distances from each filter to all filters of its layer.

        distance(c) = sum_j |w_c - w_j|_2
        score(c)    = distance(c) / mean of the layer's distances

    The filter with the smallest sum is the one nearest to the layer's geometric median. Filters are compared within a
    layer only; divided by their mean, distances of several layers can be ranked together (global scope), which the
    paper does not do. The order within a layer is the same either way. In a traced network a channel that several
    layers make (a residual sum) has the mean of its scores in each of them: ours.

    Args:
        model: a plain network, or one that was traced. Not changed.
        batches: not used.
        normalise: divide by the layer's mean; otherwise the distances as they are, in the weights' units.
        layout: the units of a traced network (see prudent.granularities.layout_for); `prune` fills it in. None for
            networks that are plain.

    Returns: one float64 tensor (channels,) for each layer whose channels can be removed, or of the shape of the
    layout's units, without unit; higher = keep. Where all filters of a layer are the same, zeros.

    Raises:
        CannotPrune: nothing to prune, a network that is neither plain nor traced, or channels that no weight makes.

    Source: He et al. 2019, "Filter Pruning via Geometric Median for Deep Convolutional Neural Networks Acceleration",
    arXiv:1811.00250, equation 4 and the sums that replace it. Biases and batch norms are no part of a filter, as there.
    """
    prunable(model)
    coupled = couplings(model, layout)
    unmade = coupled.without(coupled.makers)
    if unmade:
        raise CannotPrune(
            f"score 'geometric_median' compares filters; no weight makes the channels of {next(iter(unmade))!r}: name "
            "the other layers (layers=...), or use score 'magnitude' or 'oracle'"
        )
    layers = [(stand.units, _of_layer(model, stand, normalise=normalise)) for stand in coupled.makers]
    return coupled.means([mean_of_places(units, values) for units, values in layers])


def _of_layer(model: nn.Module, stand: Stand, *, normalise: bool) -> Tensor:
    distances = _sums(model.get_parameter(stand.name).detach().movedim(stand.dim, 0))
    return distances / distances.mean().clamp_min(1e-300) if normalise else distances


def _sums(weight: Tensor) -> Tensor:
    filters = weight.double().flatten(1)
    # not by a matrix product, in which the small distances of filters that are nearly alike cancel
    return torch.cdist(filters, filters, compute_mode="donot_use_mm_for_euclid_dist").sum(dim=1)
