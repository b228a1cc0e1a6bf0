"""Mean activation of each channel: DropNet's importance."""

from collections.abc import Iterable
from typing import Literal

import torch
from torch import nn

from prudent.activations import channel_means
from prudent.batches import Batch
from prudent.network import Scores, prunable
from prudent.observation import needed
from prudent.scopes import check_choice
from prudent.surgery.chain import links

NEEDS = ("data",)
UNIT = "channel"

Direction = Literal["minimum", "maximum"]
"""Which channels are removed first: those of the smallest mean activation, or, as a control, of the largest."""


def activation_mean(
    model: nn.Module, batches: Iterable[Batch] | None = None, *, direction: Direction = "minimum"
) -> Scores:
    """Mean absolute activation of each channel over the examples, and over the positions of its map.

        score(c) = 1/(N M) sum_n sum_m |a_c(x_n, m)|           (direction "minimum")
        score(c) = the same with a minus sign                  (direction "maximum", the control)

    a is what the layer hands on after its activation function and before pooling, N the number of examples, M that of
    positions (1 for linear layers). Layers are ranked together on this one scale, as in the paper. Any activation
    function will do. The network runs in evaluation mode.

    Args:
        model: a plain network. Not changed.
        batches: inputs, with labels or without, of the train or validation split; read once.
        direction: which channels are removed first.

    Returns: one float64 tensor (channels,) for each layer whose channels can be removed, in the activation's units;
    higher = keep.

    Raises:
        BadInput: no data.
        CannotPrune: nothing to prune, or a network that is not plain.
        UnknownName: no such direction.

    Source: Tan, Motani 2020, "DropNet: Reducing Neural Network Complexity via Iterative Pruning", arXiv:2207.06646,
    metrics "minimum" and "maximum".
    """
    check_choice("direction", direction, Direction)
    prunable(model)
    means = channel_means(model, links(model), needed(batches, score="activation_mean"), torch.abs)
    return means if direction == "minimum" else {name: -mean for name, mean in means.items()}
