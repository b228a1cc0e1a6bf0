"""Percentile of the activation of each channel: DropNet's importance, of the examples that excite a channel most."""

from collections.abc import Iterable

import torch
from torch import nn

from prudent.activations import channel_percentiles, read_percentiles
from prudent.batches import Batch
from prudent.couplings import couplings
from prudent.errors import BadInput
from prudent.network import Scores, prunable
from prudent.observation import needed
from prudent.scopes import check_choice
from prudent.scores.activation_mean import Direction
from prudent.surgery.chain import links
from prudent.surgery.layouts import Layout

NEEDS = ("data",)
UNIT = "channel"


def activation_percentile(
    model: nn.Module,
    batches: Iterable[Batch] | None = None,
    *,
    percentile: float = 90.0,
    direction: Direction = "minimum",
    layout: Layout | None = None,
) -> Scores:
    """Percentile over the examples of each channel's mean absolute activation.

        score(c) = percentile over n of  1/M sum_m |a_c(x_n, m)|           (direction "minimum")
        score(c) = the same with a minus sign                              (direction "maximum", the control)

    A channel that few examples excite, but those strongly, has a small mean and a large high percentile. Between two
    examples it is interpolated linearly. a, N, M and traced networks as for `activation_mean`.

    Args:
        model: a plain network, or one that was traced. Not changed.
        batches: inputs, with labels or without, of the train or validation split; read once. One number for each
            channel and example is held in memory.
        percentile: in [0, 100]; 50 is the median.
        direction: which channels are removed first.
        layout: the units of a traced network (see prudent.granularities.layout_for); `prune` fills it in. None for
            networks that are plain.

    Returns: one float64 tensor (channels,) for each layer whose channels can be removed, or of the shape of the
    layout's units, in the activation's units; higher = keep.

    Raises:
        BadInput: no data, a percentile outside [0, 100].
        CannotPrune: nothing to prune, a network that is neither plain nor traced, or channels that no layer reads.
        UnknownName: no such direction.

    Source: ours, after Tan, Motani 2020, "DropNet: Reducing Neural Network Complexity via Iterative Pruning",
    arXiv:2207.06646, which takes the mean.
    """
    check_choice("direction", direction, Direction)
    if not 0 <= percentile <= 100:
        raise BadInput(f"score 'activation_percentile' needs a percentile in [0, 100]; got {percentile}")
    prunable(model)
    data = needed(batches, score="activation_percentile")
    if layout is None:
        found = channel_percentiles(model, links(model), data, torch.abs, percentile)
    else:
        coupled = couplings(model, layout)
        coupled.check_read("activation_percentile")
        found = read_percentiles(model, coupled, data, torch.abs, percentile)
    return found if direction == "minimum" else {name: -values for name, values in found.items()}
