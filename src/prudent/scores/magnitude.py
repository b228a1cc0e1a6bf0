"""Magnitude of the weights."""

from collections.abc import Iterable

from torch import nn

from prudent.batches import Batch
from prudent.network import Scores, prunable

NEEDS = ()
UNIT = "weight"


def magnitude(model: nn.Module, batches: Iterable[Batch] | None = None) -> Scores:  # noqa: ARG001 (the contract's)
    """Absolute value of each weight.

        score(w) = |w|

    Summed over a channel it is the channel's L1 norm.

    Args:
        model: any network with linear or convolution layers. Not changed.
        batches: not used; magnitude needs no data.

    Returns: one tensor for each prunable weight, of its shape, in the weight's units; higher = keep.

    Raises:
        CannotPrune: nothing to prune.

    Source: Han et al. 2015, "Learning both Weights and Connections for Efficient Neural Networks", arXiv:1506.02626;
    Li et al. 2017, "Pruning Filters for Efficient ConvNets", arXiv:1608.08710, for channels.
    """
    return {name: weight.detach().abs() for name, weight in prunable(model).items()}
