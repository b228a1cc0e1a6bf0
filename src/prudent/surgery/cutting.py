"""A plan (which channels stay) applied to a network's state, in both directions."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prudent.errors import BadInput
from prudent.masks import Mask
from prudent.surgery.chain import Link, links

PER_CHANNEL = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which output channels of each layer stay.

    Args:
        kept: name of the layer's weight -> ascending indices of the kept channels, in the original network's numbering.
            A layer that is not named keeps all.
    """

    kept: Mapping[str, tuple[int, ...]]


def plan_of(mask: Mask) -> Plan:
    """The plan that keeps what a channel mask keeps."""
    return Plan(kept={name: tuple(kept.nonzero()[:, 0].tolist()) for name, kept in mask.kept.items()})


def cut(model: nn.Module, plan: Plan) -> nn.Module:
    """A copy of `model` without the channels that the plan does not keep. Its layers are really smaller.

    Raises:
        BadInput: the plan names a layer or a channel that the network does not have, or keeps none of a layer.
        CannotPrune: the network is not a plain one.
    """
    chain = _planned(plan, links(model))
    small = copy.deepcopy(model)
    modules = dict(small.named_modules())
    for name, parts in _parts(model, plan, chain).items():
        owner, _, attribute = name.rpartition(".")
        module, value = modules[owner], small.get_parameter(name) if _is_parameter(small, name) else None
        if value is None:
            module._buffers[attribute] = _take(small.get_buffer(name), parts)
        else:
            smaller = _take(value.detach(), parts).clone()
            module._parameters[attribute] = nn.Parameter(smaller, requires_grad=value.requires_grad)
    for link in chain:
        left = len(plan.kept[link.weight])
        _resize(modules[link.layer], outputs=left)
        _resize(modules[link.reader], inputs=left * link.block)
        for norm in link.norms:
            modules[norm].num_features = left
    return small


def expand(small: nn.Module, original: nn.Module, plan: Plan) -> nn.Module:
    """The masked network of the original's shape that computes what `small`, cut by `plan` and trained on, computes.

    Args:
        small: a network that `cut` made, with any weights.
        original: a network of the original shape. Not changed; its values remain where nothing reads them.
        plan: the plan that made `small`.
    """
    chain = _planned(plan, links(original))
    large = copy.deepcopy(original)
    parts = _parts(original, plan, chain)
    state, source = large.state_dict(), small.state_dict()
    with torch.no_grad():
        for name, value in state.items():
            if name not in parts:
                value.copy_(source[name])
                continue
            if not name.endswith(("running_mean", "running_var")):
                value.zero_()
            _put(value, source[name], parts[name])
    return large


def _parts(model: nn.Module, plan: Plan, chain: tuple[Link, ...]) -> dict[str, dict[int, Tensor]]:
    """State entry -> {dimension: kept indices}."""
    own = model.state_dict()
    parts: dict[str, dict[int, Tensor]] = {}
    for link in chain:
        kept = torch.tensor(plan.kept[link.weight])
        for owner in (link.layer, *link.norms):
            for attribute in PER_CHANNEL:
                if f"{owner}.{attribute}" in own:
                    parts.setdefault(f"{owner}.{attribute}", {})[0] = kept
        inputs = (kept[:, None] * link.block + torch.arange(link.block)).flatten()
        parts.setdefault(f"{link.reader}.weight", {})[1] = inputs
    return parts


def _take(value: Tensor, parts: Mapping[int, Tensor]) -> Tensor:
    for dim, kept in parts.items():
        value = value.index_select(dim, kept.to(value.device))
    return value


def _put(target: Tensor, source: Tensor, parts: Mapping[int, Tensor]) -> None:
    rows = parts.get(0, torch.arange(target.shape[0])).to(target.device)
    if 1 in parts:
        target[rows[:, None], parts[1].to(target.device)[None, :]] = source
    else:
        target[rows] = source


def _is_parameter(model: nn.Module, name: str) -> bool:
    owner, _, attribute = name.rpartition(".")
    return attribute in model.get_submodule(owner)._parameters


def _resize(module: nn.Module, *, outputs: int | None = None, inputs: int | None = None) -> None:
    linear = isinstance(module, nn.Linear)
    if outputs is not None:
        setattr(module, "out_features" if linear else "out_channels", outputs)
    if inputs is not None:
        setattr(module, "in_features" if linear else "in_channels", inputs)


def _planned(plan: Plan, chain: tuple[Link, ...]) -> tuple[Link, ...]:
    """The links that the plan is about, once it is known to fit."""
    channels = {link.weight: link.channels for link in chain}
    if not set(plan.kept) <= set(channels):
        raise BadInput(f"the plan is for the layers {sorted(plan.kept)}; the network has {sorted(channels)}")
    for name, kept in plan.kept.items():
        if not kept:
            raise BadInput(
                f"the plan keeps no channel of {name!r}, so nothing would pass: remove fewer, or prune with "
                'scope="layer" or minimum=1'
            )
        if list(kept) != sorted(set(kept)) or kept[0] < 0 or kept[-1] >= channels[name]:
            raise BadInput(f"the plan keeps channels of {name!r} that are not ascending in 0 .. {channels[name] - 1}")
    return tuple(link for link in chain if link.weight in plan.kept)
