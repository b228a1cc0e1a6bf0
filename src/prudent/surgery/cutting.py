"""From a mask of channels or heads to the plan that removes them."""

import numpy as np
import torch
from torch import Tensor, nn

from prudent.errors import BadInput
from prudent.examples import Example
from prudent.masks import Mask
from prudent.surgery.chain import links
from prudent.surgery.emission import emit, graph_of
from prudent.surgery.layouts import layout
from prudent.surgery.plans import Plan
from prudent.surgery.slicing import plan_that_keeps

PER_CHANNEL = ("weight", "bias", "running_mean", "running_var")


def plan_of(model: nn.Module, mask: Mask) -> Plan:
    """The plan that keeps what a mask of channels or heads keeps.

    Args:
        model: the original network, masked or not. Not changed.
        mask: of a traced network, or of channels of a plain one.

    Raises:
        BadInput: the mask does not fit the network, or keeps no channel of a layer.
        CannotPrune: the network is not a plain one, and the mask does not say what its units are.
    """
    for name in mask.collapsed:
        raise BadInput(
            f"the mask keeps no channel of {name!r}, so nothing would pass: remove fewer, or prune with "
            'scope="layer" or minimum=1'
        )
    return plan_that_keeps(model, _of_chain(model, mask) if mask.cover is None else covered(mask))


def covered(mask: Mask) -> dict[str, list[np.ndarray]]:
    """What the mask of a traced network keeps: parameter or buffer -> bool arrays that broadcast to its shape."""
    gone = mask.removed_units
    return {name: [~gone[units] for units in arrays] for name, arrays in (mask.cover or {}).items()}


def as_graph(model: nn.Module, mask: Mask, example: Example) -> nn.Module:
    """The smaller network as a graph, for its sizes: not proved, and not to be computed with.

    Args:
        model: the masked network. Not changed.
        mask: of a traced network.
        example: inputs.

    Raises:
        CannotPrune: a constant of the network's code cannot be rewritten.
    """
    graph, traced = graph_of(model, example, sizes_only=True)
    units = layout(traced, granularity=mask.granularity, changing=True)
    gone = units.families_of({name: ~kept.numpy() for name, kept in mask.kept.items()})
    return emit(model, graph, traced, gone, plan_of(model, mask))


def _of_chain(model: nn.Module, mask: Mask) -> dict[str, list[np.ndarray]]:
    own = model.state_dict()
    chain = {link.weight: link for link in links(model)}
    if not set(mask.kept) <= set(chain):
        raise BadInput(f"the mask is for the layers {sorted(mask.kept)}; the network has {sorted(chain)}")
    keeps: dict[str, list[np.ndarray]] = {}
    for weight, kept in mask.kept.items():
        link = chain[weight]
        if kept.shape != (link.channels,):
            raise BadInput(f"the mask has {kept.numel()} channels of {link.layer!r}; the network has {link.channels}")
        for owner in (link.layer, *link.norms):
            for attribute in PER_CHANNEL:
                if f"{owner}.{attribute}" in own:
                    keeps.setdefault(f"{owner}.{attribute}", []).append(_along(kept, own[f"{owner}.{attribute}"], 0))
        read = f"{link.reader}.weight"
        keeps.setdefault(read, []).append(_along(kept.repeat_interleave(link.block), own[read], 1))
    return keeps


def _along(kept: torch.Tensor, value: Tensor, dim: int) -> np.ndarray:
    return kept.numpy().reshape([-1 if d == dim else 1 for d in range(value.ndim)])
