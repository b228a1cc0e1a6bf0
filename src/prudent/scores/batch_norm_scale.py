"""Scale of the batch normalisation after each channel: Network Slimming."""

from collections.abc import Iterable

from torch import nn

from prudent.batches import Batch
from prudent.errors import CannotPrune
from prudent.network import Scores, prunable
from prudent.surgery.chain import links

NEEDS = ()
UNIT = "channel"
SUITS = "normalised"


def batch_norm_scale(model: nn.Module, batches: Iterable[Batch] | None = None) -> Scores:  # noqa: ARG001
    """Absolute value of the scale by which batch normalisation multiplies each channel.

        score(c) = |gamma_c|

    The scale says how much of a channel is left only if training had a reason to make it small: the paper trains with
    an L1 penalty on gamma. Of several normalisations after a layer the last counts, which undoes those before it.

    A layer without batch normalisation has no such scale, and no number that could stand beside the others'. So a
    network that has one is refused as a whole, rather than pruned to the asked sparsity by its other layers alone.

    Args:
        model: a plain network with a batch normalisation after every layer but the last. Not changed.
        batches: not used.

    Returns: one tensor (channels,) for each layer whose channels can be removed, without unit; higher = keep.

    Raises:
        CannotPrune: nothing to prune, a network that is not plain, or a layer without batch normalisation.

    Source: Liu et al. 2017, "Learning Efficient Convolutional Networks through Network Slimming", arXiv:1708.06519,
    section 3. The penalty is the training's business.
    """
    prunable(model)
    chain = links(model)
    without = [link.layer for link in chain if not link.norms]
    if without:
        rest = f" and {len(without) - 1} more have none" if len(without) > 1 else " has none"
        raise CannotPrune(
            f"score 'batch_norm_scale' needs batch normalisation after every layer but the last; {without[0]!r}{rest}"
            ": use another score, 'geometric_median' for one"
        )
    return {link.weight: model.get_parameter(f"{link.norms[-1]}.weight").detach().abs() for link in chain}
