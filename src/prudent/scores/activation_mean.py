"""Mean activation of each channel: DropNet's importance."""

from collections.abc import Iterable
from typing import Literal

import torch
from torch import nn

from prudent.activations import channel_means, read_means
from prudent.batches import Batch
from prudent.couplings import couplings
from prudent.network import Scores, prunable
from prudent.observation import needed
from prudent.scopes import check_choice
from prudent.surgery.chain import links
from prudent.surgery.layouts import Layout

NEEDS = ("data",)
UNIT = "channel"

Direction = Literal["minimum", "maximum"]
"""Which channels are removed first: those of the smallest mean activation, or, as a control, of the largest."""


def activation_mean(
    model: nn.Module,
    batches: Iterable[Batch] | None = None,
    *,
    direction: Direction = "minimum",
    layout: Layout | None = None,
) -> Scores:
    """Mean absolute activation of each channel over the examples, and over the positions of its map.

        score(c) = 1/(N M) sum_n sum_m |a_c(x_n, m)|           (direction "minimum")
        score(c) = the same with a minus sign                  (direction "maximum", the control)

    a is what the layer hands on after its activation function and before pooling, N the number of examples, M that of
    positions (1 for linear layers). Layers are ranked together on this one scale, as in the paper. Any activation
    function will do. The network runs in evaluation mode.

    In a traced network a is what the layers that read the channel get, after normalisation, sum, activation function
    and pooling, and a channel that several layers read has the mean over them: ours, the paper has no such networks.

    Args:
        model: a plain network, or one that was traced. Not changed.
        batches: inputs, with labels or without, of the train or validation split; read once.
        direction: which channels are removed first.
        layout: the units of a traced network (see prudent.granularities.layout_for); `prune` fills it in. None for
            networks that are plain.

    Returns: one float64 tensor (channels,) for each layer whose channels can be removed, or of the shape of the
    layout's units, in the activation's units; higher = keep.

    Raises:
        BadInput: no data.
        CannotPrune: nothing to prune, a network that is neither plain nor traced, or channels that no layer reads.
        UnknownName: no such direction.

    Source: Tan, Motani 2020, "DropNet: Reducing Neural Network Complexity via Iterative Pruning", arXiv:2207.06646,
    metrics "minimum" and "maximum".
    """
    check_choice("direction", direction, Direction)
    prunable(model)
    data = needed(batches, score="activation_mean")
    if layout is None:
        means = channel_means(model, links(model), data, torch.abs)
    else:
        coupled = couplings(model, layout)
        coupled.check_read("activation_mean")
        means = read_means(model, coupled, data, torch.abs)
    return means if direction == "minimum" else {name: -mean for name, mean in means.items()}
