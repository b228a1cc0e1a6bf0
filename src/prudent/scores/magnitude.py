"""Magnitude of the weights."""

from collections.abc import Iterable

from torch import nn

from prudent.batches import Batch
from prudent.errors import BadInput
from prudent.network import Scores, prunable

NEEDS = ()
UNIT = "weight"


def magnitude(
    model: nn.Module,
    batches: Iterable[Batch] | None = None,  # noqa: ARG001 (the contract's)
    *,
    power: int = 1,
) -> Scores:
    """Absolute value of each weight.

        score(w) = |w| ** power

    Summed over a channel it is the channel's L1 norm, and with power 2 the square of its L2 norm.

    Args:
        model: any network with linear or convolution layers. Not changed.
        batches: not used; magnitude needs no data.
        power: >= 1. Single weights are ranked the same by every power, channels are not.

    Returns: one tensor for each prunable weight, of its shape, in the weight's units ** power; higher = keep.

    Raises:
        BadInput: power < 1.
        CannotPrune: nothing to prune.

    Source: Han et al. 2015, "Learning both Weights and Connections for Efficient Neural Networks", arXiv:1506.02626;
    Li et al. 2017, "Pruning Filters for Efficient ConvNets", arXiv:1608.08710, for channels.
    """
    if power < 1:
        raise BadInput(f"the power of a magnitude is 1 (L1) or more; got power={power}")
    sizes = {name: weight.detach().abs() for name, weight in prunable(model).items()}
    # the first power of a large network is another copy of it
    return sizes if power == 1 else {name: size**power for name, size in sizes.items()}
