"""Scale of the batch normalisation after each channel: Network Slimming."""

from collections.abc import Iterable

from torch import nn

from prudent.batches import Batch
from prudent.couplings import couplings
from prudent.network import Scores, prunable
from prudent.surgery.layouts import Layout

NEEDS = ()
UNIT = "channel"
SUITS = "normalised"


def batch_norm_scale(
    model: nn.Module,
    batches: Iterable[Batch] | None = None,  # noqa: ARG001 (the contract's)
    *,
    layout: Layout | None = None,
) -> Scores:
    """Absolute value of the scale by which batch normalisation multiplies each channel.

        score(c) = |gamma_c|

    The scale says how much of a channel is left only if training had a reason to make it small: the paper trains with
    an L1 penalty on gamma. Of several normalisations after a layer the last counts, which undoes those before it. In a
    traced network a channel has the mean over all batch normalisations that it passes (in a residual sum, those of
    every layer that adds to it): ours.

    A layer without batch normalisation has no such scale, and no number that could stand beside the others'. So a
    network that has one is refused as a whole, rather than pruned to the asked sparsity by its other layers alone.

    Args:
        model: a network with a batch normalisation for every channel that can be removed. Not changed.
        batches: not used.
        layout: the units of a traced network (see prudent.granularities.layout_for); `prune` fills it in. None for
            networks that are plain.

    Returns: one tensor (channels,) for each layer whose channels can be removed, or of the shape of the layout's units,
    without unit; higher = keep.

    Raises:
        CannotPrune: nothing to prune, a network that is neither plain nor traced, or a layer without batch
            normalisation.

    Source: Liu et al. 2017, "Learning Efficient Convolutional Networks through Network Slimming", arXiv:1708.06519,
    section 3. The penalty is the training's business.
    """
    prunable(model)
    coupled = couplings(model, layout)
    coupled.check_normalised("batch_norm_scale")
    return coupled.means([(stand.units, model.get_parameter(stand.name).detach().abs()) for stand in coupled.scales])
