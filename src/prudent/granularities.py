"""What a unit is: from scores of weights to scores of units, and from a mask of units to elements of parameters."""

import functools
import math
from collections.abc import Callable, Iterable, Mapping

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from prudent.attention import Attention, attentions
from prudent.errors import BadInput, CannotPrune
from prudent.examples import Example
from prudent.masks import Mask
from prudent.network import Reweighted, Scores, is_sequence, prunable
from prudent.scopes import TOGETHER, Scope, weight_name
from prudent.surgery.chain import links
from prudent.surgery.layouts import Layout, layout
from prudent.surgery.ranking import of_units, scores_of_units
from prudent.surgery.tracing import trace
from prudent.units import Granularity, Reduction, Units

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
REDUCTIONS: Mapping[Reduction, Callable[[Tensor], Tensor]] = {
    "sum": lambda parts: parts.sum(dim=1),
    "mean": lambda parts: parts.mean(dim=1),
    "max": lambda parts: parts.amax(dim=1),
    "l2": lambda parts: torch.linalg.vector_norm(parts, dim=1),
}
"""Scores of the parts (units, parts) -> scores of the units (units,)."""


def layout_for(
    model: nn.Module,
    granularity: Granularity,
    example: Example | None,
    *,
    changing: bool = False,
    layers: tuple[str, ...] | None = None,
) -> Layout | None:
    """The units of a network that has to be traced for them; None for granularities and networks that need no trace.

    Whole channels of plain networks (layers in a row) are known without running them. With an example, heads are found
    by tracing too; where the graph cannot be traced, by the names that attention modules usually have.

    Args:
        model: the network. Not changed.
        granularity: what a unit is.
        example: inputs to trace it with, or None.
        changing: as in `prudent.surgery.layouts.layout`.
        layers: names of the layers whose units are wanted; None for all.

    Raises:
        CannotPrune: there is no such unit in the traced network.
        UnknownName: no unit of it goes by one of `layers`.
        BadInput: no layer is named.
    """
    if granularity not in ("channel", "head") or example is None:
        return None
    if granularity == "channel" and is_sequence(model) and not changing:
        try:
            links(model)
        except CannotPrune:
            pass  # not plain after all
        else:
            return None
    try:
        whole = layout(trace(model, example), granularity=granularity, changing=changing)
    except CannotPrune:
        if granularity == "head" and _has_known_heads(model):
            return None
        raise
    return whole if layers is None else whole.only(_chosen(whole.names, layers))


def _has_known_heads(model: nn.Module) -> bool:
    try:
        return bool(attentions(model))
    except CannotPrune:
        return False


def unit_scores(
    model: nn.Module, scores: Scores, units: Units, *, scope: Scope = "global", layout: Layout | None = None
) -> Scores:
    """Scores of units, under the names and in the shapes of a mask of that granularity.

    Under global and isomorphic scope the scores of units that are sums over weights are divided by their layer's mean,
    since they grow with the number of weights in a unit; scores that judge whole channels are taken as they are.

    Args:
        model: the network that the scores are of. Not changed.
        scores: of weights (the weight's shape), or of channels (channels,).
        units: what a unit is, and in which layers.
        scope: whether layers will be compared.
        layout: the units of a traced network.

    Raises:
        CannotPrune: a granularity that a layer, or the network, cannot have.
        BadInput: scores of channels where those of weights are needed, or none for a layer.
        UnknownName: a layer, reduction or granularity that is not there.
    """
    judged = layout is not None and of_units(layout, scores)
    if not judged and units.granularity != "channel" and any(score.ndim < 2 for score in scores.values()):
        raise BadInput('this score judges whole channels, not single weights: ask for granularity="channel"')
    found = dict(scores)
    if layout is not None:
        found = scores_of_units(layout, scores, units.reduction)
        found = {name: found[name] for name in _chosen(found, units.layers)}
        return found if scope not in TOGETHER or judged else {name: _comparable(score) for name, score in found.items()}
    if units.granularity == "channel":
        found = _of_channels(model, scores, units.reduction)
    if units.granularity == "head":
        found = _of_heads(model, scores, units.reduction)
    found = {name: found[name] for name in _chosen(found, units.layers)}
    if units.granularity in ("n:m", "block") or scope == "row":
        _check_outputs_first(model, found)
    if units.granularity == "block":
        found = {name: _of_blocks(name, score, units) for name, score in found.items()}
    if units.granularity == "n:m":
        _check_pattern(found, units.pattern)
    if scope in TOGETHER and units.granularity in ("block", "channel", "head"):
        found = {name: _comparable(score) if scores[name].ndim > 1 else score for name, score in found.items()}
    return Reweighted(found, scores.weights) if isinstance(scores, Reweighted) else found


def removed_elements(model: nn.Module, mask: Mask) -> dict[str, Bool[Tensor, "..."]]:
    """Parameter name -> bool tensor of its shape, True where the mask demands zero.

    A removed channel is silent: its weights, its bias, and scale and shift of the batch normalisation after it. A
    removed head loses its rows of query, key and value, and the columns that read it. In a traced network a removed
    unit loses everything that belongs to it, what reads it too.

    Raises:
        BadInput: the mask does not fit the network.
        CannotPrune: the network cannot have this granularity.
    """
    if mask.cover is not None:
        return _covered(model, mask)
    if mask.granularity == "channel":
        return _silent_channels(model, mask)
    if mask.granularity == "head":
        return _silent_heads(model, mask)
    weights = prunable(model)
    removed: dict[str, Tensor] = {}
    for name, kept in mask.kept.items():
        if name not in weights:
            raise BadInput(f"the mask does not fit: the network has no prunable weight {name!r}")
        weight = weights[name]
        whole = kept if mask.block is None else _spread(kept, mask.block, weight.shape)
        if whole is None or whole.shape != weight.shape:
            raise BadInput(
                f"the mask does not fit: {name!r} has shape {tuple(weight.shape)}, the mask {tuple(kept.shape)}"
            )
        removed[name] = ~whole.to(weight.device)
    return removed


def _covered(model: nn.Module, mask: Mask) -> dict[str, Bool[Tensor, "..."]]:
    own = dict(model.named_parameters(remove_duplicate=False))
    buffers = {name for name, _ in model.named_buffers()}
    gone = mask.removed_units
    removed: dict[str, Tensor] = {}
    for name, arrays in (mask.cover or {}).items():
        if name not in own and name not in buffers:
            raise BadInput(f"the mask does not fit: the network has no parameter {name!r}")
        if name not in own:
            continue
        shape = own[name].shape
        parts = [torch.from_numpy(gone[units]) for units in arrays]
        if any(n not in (1, m) for dead in parts for n, m in zip(dead.shape, shape, strict=True)):
            raise BadInput(f"the mask does not fit: {name!r} has shape {tuple(shape)}")
        touched = [dead for dead in parts if dead.any()]
        if touched:
            removed[name] = functools.reduce(torch.logical_or, touched).to(own[name].device).expand(shape)
    return removed


def zero(model: nn.Module, removed: Mapping[str, Bool[Tensor, "..."]]) -> None:
    """Set the elements named by `removed_elements` to zero, in place."""
    # a tied weight has several names, and the mask may go by any of them
    own = dict(model.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name, gone in removed.items():
            own[name].masked_fill_(gone, 0.0)


def _chosen(names: Iterable[str], layers: tuple[str, ...] | None) -> list[str]:
    """Those of the names that stand for one of the layers, in their order."""
    known = dict.fromkeys(names)
    if layers is None:
        return list(known)
    if not layers:
        raise BadInput("layers=() leaves nothing to prune: name at least one, or leave it out for all")
    wanted = {weight_name(layer, known) for layer in layers}
    return [name for name in known if name in wanted]


def _comparable(score: Tensor) -> Tensor:
    return score / score.abs().mean().clamp_min(1e-30)


def _of_channels(model: nn.Module, scores: Scores, reduction: Reduction) -> dict[str, Tensor]:
    names = [link.weight for link in links(model)]
    missing = [name for name in names if name not in scores]
    if missing:
        raise BadInput(f"there is no score for {missing[0]!r}, whose channels can be removed")
    reduce = REDUCTIONS[reduction]
    return {n: reduce(scores[n].flatten(1)) if scores[n].ndim > 1 else scores[n] for n in names}


def _of_heads(model: nn.Module, scores: Scores, reduction: Reduction) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for attention in attentions(model):
        heads, size = attention.heads, attention.size
        parts = [
            scores[name][offset : offset + heads * size].reshape(heads, -1)
            for name, offset in attention.makers
            if name in scores
        ]
        read = scores[attention.weight]
        parts.append(read.reshape(len(read), heads, size).transpose(0, 1).reshape(heads, -1))
        found[attention.weight] = REDUCTIONS[reduction](torch.cat(parts, dim=1))
    return found


def _check_outputs_first(model: nn.Module, names: Iterable[str]) -> None:
    """Rows and columns are outputs and inputs; a transposed convolution has its weight the other way round."""
    for name in names:
        layer = name.removesuffix(".weight")
        if isinstance(model.get_submodule(name.rpartition(".")[0]), TRANSPOSED):
            raise CannotPrune(
                f"layer {layer!r} is a transposed convolution, whose weight has inputs before outputs: patterns, "
                "blocks and rows are not defined for it; name the other layers (layers=...)"
            )


def _of_blocks(name: str, score: Tensor, units: Units) -> Tensor:
    rows, columns = score.shape[0], math.prod(score.shape[1:])
    r, c = units.block or (1, 1)
    if rows % r or columns % c:
        raise CannotPrune(
            f"layer {name.removesuffix('.weight')!r} is a matrix of {rows} x {columns}, which {r} x {c} blocks do not "
            "tile: choose other blocks, or name the layers to prune (layers=...)"
        )
    tiles = score.reshape(rows // r, r, columns // c, c).transpose(1, 2)  # (rows of blocks, columns of blocks, r, c)
    return REDUCTIONS[units.reduction](tiles.reshape(-1, r * c)).reshape(rows // r, columns // c)


def _check_pattern(scores: Mapping[str, Tensor], pattern: tuple[int, int] | None) -> None:
    for name, score in scores.items():
        if pattern is not None and score.shape[1] % pattern[1]:
            raise CannotPrune(
                f"layer {name.removesuffix('.weight')!r} has {score.shape[1]} inputs, no multiple of {pattern[1]}: it "
                f"cannot be {pattern[0]}:{pattern[1]} sparse; name the layers to prune (layers=...)"
            )


def _spread(kept: Tensor, block: tuple[int, int], shape: torch.Size) -> Tensor | None:
    """A mask of blocks as a mask of weights; None if the blocks do not cover the weight."""
    whole = kept.repeat_interleave(block[0], dim=0).repeat_interleave(block[1], dim=1)
    return whole.reshape(shape) if whole.shape == (shape[0], math.prod(shape[1:])) else None


def _silent_channels(model: nn.Module, mask: Mask) -> dict[str, Tensor]:
    own = dict(model.named_parameters(remove_duplicate=False))
    removed: dict[str, Tensor] = {}
    chain = {link.weight: link for link in links(model)}
    for name, kept in mask.kept.items():
        if name not in chain or kept.shape != (chain[name].channels,):
            known = f"has {chain[name].channels} channels" if name in chain else "has no channels that can be removed"
            raise BadInput(f"the mask does not fit: layer {name.removesuffix('.weight')!r} {known}")
        for owner in (chain[name].layer, *chain[name].norms):
            for parameter in (f"{owner}.weight", f"{owner}.bias"):
                if parameter in own:
                    shape = [-1] + [1] * (own[parameter].ndim - 1)
                    gone = ~kept.to(own[parameter].device)
                    removed[parameter] = gone.view(shape).expand_as(own[parameter])
    return removed


def _silent_heads(model: nn.Module, mask: Mask) -> dict[str, Tensor]:
    own = dict(model.named_parameters(remove_duplicate=False))
    known: dict[str, Attention] = {attention.weight: attention for attention in attentions(model)}
    removed: dict[str, Tensor] = {}
    for name, kept in mask.kept.items():
        if name not in known or kept.shape != (known[name].heads,):
            raise BadInput(f"the mask does not fit: {name!r} does not read {len(kept)} heads in this network")
        attention = known[name]
        gone = (~kept).repeat_interleave(attention.size).to(own[name].device)
        removed[name] = gone.expand_as(own[name])
        for parameter, offset in attention.makers:
            whole = removed.get(parameter, torch.zeros_like(own[parameter], dtype=torch.bool)).clone()
            rows = whole[offset : offset + len(gone)]
            rows |= gone.view(-1, *[1] * (rows.ndim - 1))
            removed[parameter] = whole
    return removed
