"""Stability of each channel's ReLU within a ball around the data: pruning for certified robustness."""

from collections.abc import Iterable

import torch
from torch import nn

from prudent.batches import Batch
from prudent.couplings import couplings
from prudent.network import Scores, prunable
from prudent.observation import needed
from prudent.stability import channel_stability
from prudent.surgery.layouts import Layout

NEEDS = ("data",)
UNIT = "channel"
SUITS = "normalised"


def nrs(
    model: nn.Module,
    batches: Iterable[Batch] | None = None,
    *,
    radius: float = 2 / 255,
    layout: Layout | None = None,
) -> Scores:
    """How surely each channel's ReLU stays on or off, whatever is added to the input within a radius.

        score(c) = mean over examples and places of    tanh(1 + l * u / gamma_c ** 2)

    [l, u] holds what the batch normalisation after the channel can answer, by interval bound propagation, and gamma is
    its scale. Channels whose interval has 0 well inside are removed first: they are what makes bounds of a verifier
    loose. In a traced network a channel has the mean over all batch normalisations that it passes: ours.

    Args:
        model: a network with a batch normalisation for every channel that can be removed, of layers that intervals can
            be sent through (see prudent.ends). Not changed.
        batches: inputs (batch, ...); labels are not used. Read once.
        radius: largest change of a value of the input (L-infinity), in its units, > 0.
        layout: the units of a traced network (see prudent.granularities.layout_for); `prune` fills it in. None for
            networks that are plain.

    Returns: one tensor (channels,) for each layer whose channels can be removed, or of the shape of the layout's units,
    in [-1, 1], without unit; higher = keep.

    Raises:
        BadInput: no data, a radius that is not positive, a network that intervals cannot be sent through.
        CannotPrune: nothing to prune, a network that is neither plain nor traced, or a layer without batch
            normalisation.

    Source: Li et al. 2022, "Can pruning improve certified robustness of neural networks?", arXiv:2206.07311.
    """
    prunable(model)
    coupled = couplings(model, layout)
    coupled.check_normalised("nrs")
    batches = needed(batches, score="nrs")
    norms = {stand.name: model.get_submodule(stand.name.rpartition(".")[0]) for stand in coupled.scales}
    with torch.no_grad():
        found = channel_stability(model, batches, norms, radius=radius)
    return coupled.means([(stand.units, found[stand.name]) for stand in coupled.scales])
