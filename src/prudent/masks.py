"""Scores -> Mask: which units stay, with exact counts, and how a mask is applied."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from prudent.errors import BadInput, UnknownName
from prudent.network import Reweighted, Scores, prunable
from prudent.surgery.chain import links

Granularity = Literal["weight", "channel"]
Scope = Literal["global", "layer"]
Array = np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Mask:
    """Which units of a network are kept.

    Args:
        kept: name of the weight -> bool tensor, True = kept. For granularity "weight" of the weight's shape, for
            "channel" of shape (output channels,) and without the last layer, which makes the classes.
        granularity: what a unit is.
    """

    kept: Mapping[str, Bool[Tensor, "..."]]
    granularity: Granularity

    def __post_init__(self) -> None:
        check_choice("granularity", self.granularity, Granularity)
        if not self.kept:
            raise BadInput("a mask needs at least one layer")
        frozen = {name: kept.detach().cpu() for name, kept in self.kept.items()}
        object.__setattr__(self, "kept", MappingProxyType(frozen))

    @cached_property
    def total(self) -> int:
        """Number of prunable units."""
        return sum(kept.numel() for kept in self.kept.values())

    @cached_property
    def remaining(self) -> int:
        """Number of units that are kept."""
        return sum(int(kept.sum()) for kept in self.kept.values())

    @property
    def sparsity(self) -> float:
        """Fraction of the prunable units that are removed, in [0, 1)."""
        return 1 - self.remaining / self.total

    @property
    def removed_by_layer(self) -> dict[str, int]:
        """How many units each layer loses."""
        return {name: kept.numel() - int(kept.sum()) for name, kept in self.kept.items()}

    @property
    def collapsed(self) -> tuple[str, ...]:
        """Layers that lost every unit: nothing passes through them any more."""
        return tuple(name for name, kept in self.kept.items() if not kept.any())


def select(
    scores: Scores,
    sparsity: float,
    *,
    scope: Scope = "global",
    granularity: Granularity = "weight",
    within: Mask | None = None,
    like: Mask | None = None,
) -> Mask:
    """Keep the units with the highest scores.

    The number removed is round(sparsity * units), exactly, ties or not: of equal scores those that come first (in the
    order of layers, then of elements) are removed first. Found by selection, not by sorting.

    Args:
        scores: name -> finite tensor; one number for each unit.
        sparsity: fraction of all units to be removed, in [0, 1); counts what `within` removed already.
        scope: "global" ranks all units together, "layer" removes the same fraction in each layer.
        granularity: what the mask will call a unit.
        within: a mask whose removed units stay removed.
        like: a mask whose number of removed units in each layer is copied; `sparsity` and `scope` are then not used.

    Raises:
        BadInput: sparsity outside [0, 1) or so high that nothing would be left; scores that are not finite; `within`
            or `like` of other layers or shapes; fewer units to be removed than `within` removed already.
    """
    check_choice("scope", scope, Scope)
    check_sparsity(sparsity)
    names = list(scores)
    values = [_array(scores[name]) for name in names]
    for other in (within, like):
        _check_fits(other, names, values)
    alive = [None if within is None else within.kept[name].numpy() for name in names]
    if like is not None:
        groups = [([i], like.removed_by_layer[name]) for i, name in enumerate(names)]
    elif scope == "layer":
        groups = [([i], count(sparsity, values[i].size)) for i in range(len(names))]
    else:
        groups = [(list(range(len(names))), count(sparsity, sum(v.size for v in values)))]
    kept: dict[str, Tensor] = {}
    for members, removed in groups:
        chosen = _keep_highest([values[i] for i in members], [alive[i] for i in members], removed)
        kept |= {names[i]: torch.from_numpy(keep) for i, keep in zip(members, chosen, strict=True)}
    return Mask(kept={name: kept[name] for name in names}, granularity=granularity)


def count(sparsity: float, units: int) -> int:
    """How many of `units` a sparsity removes: the nearest integer, halves up. 20 % of 100 is 20.

    Raises:
        BadInput: nothing would be left.
    """
    # in decimals: 0.145 * 100 is 14.499999999999998 in floats
    removed = int((Decimal(repr(float(sparsity))) * units).to_integral_value(ROUND_HALF_UP))
    if removed >= units:
        raise BadInput(f"sparsity {sparsity:g} of {units} units leaves none; at most {units - 1} can be removed")
    return removed


def _array(score: Tensor) -> Array:
    half = score.dtype in (torch.bfloat16, torch.float16)  # NumPy has no bfloat16, and is slow on float16
    array: Array = (score.float() if half else score).detach().cpu().numpy()
    # channels-last scores too are ranked, and ties broken, in the order of their indices
    return np.ascontiguousarray(array)


def _keep_highest(values: Sequence[Array], alive: Sequence[Array | None], removed: int) -> list[Array]:
    """For several arrays ranked together: True where kept, exactly `removed` entries False, dead ones among them.

    `alive` marks what may be kept; None stands for everything.
    """
    removed -= sum(0 if a is None else a.size - int(np.count_nonzero(a)) for a in alive)
    if removed < 0:
        raise BadInput(f"the mask to start from has already removed {-removed} more units than are to be removed now")
    threshold, ties = _threshold(values, alive, removed)
    kept = []
    for value, a in zip(values, alive, strict=True):
        keep = value >= threshold
        if a is not None:
            keep &= a
        if ties:
            equal = value == threshold if a is None else (value == threshold) & a
            at = np.flatnonzero(equal)[:ties]
            keep.reshape(-1)[at] = False
            ties -= len(at)
        kept.append(keep)
    return kept


def _threshold(values: Sequence[Array], alive: Sequence[Array | None], removed: int) -> tuple[float, int]:
    """The score below which everything goes, and how many of those equal to it go too."""
    # the only copy of the scores: partitioned in place
    flat = np.concatenate([v.ravel() if a is None else v[a] for v, a in zip(values, alive, strict=True)])
    if len(flat) and not (np.isfinite(flat.max()) and np.isfinite(flat.min())):
        raise BadInput("importance scores must be finite; some are NaN or infinite")
    if removed == 0:
        return -np.inf, 0
    flat.partition(removed - 1)
    threshold = float(flat[removed - 1])
    return threshold, removed - int(np.count_nonzero(flat[:removed] < threshold))


def by_channel(model: nn.Module, scores: Scores, *, scope: Scope) -> Scores:
    """Scores of output channels.

    Scores of weights are summed over the channel (for magnitude, the L1 norm), and under global scope divided by the
    layer's mean, since a sum grows with the number of weights. Scores that judge channels are taken as they are.

    Raises:
        CannotPrune: the network is not a plain one.
        BadInput: no score for a layer whose channels can be removed.
    """
    layers = links(model)
    missing = [link.weight for link in layers if link.weight not in scores]
    if missing:
        raise BadInput(f"there is no score for {missing[0]!r}, whose channels can be removed")
    found: dict[str, Tensor] = {}
    for link in layers:
        score = scores[link.weight]
        if score.ndim > 1:
            score = score.flatten(1).sum(dim=1)
            score = score if scope == "layer" else score / score.mean().clamp_min(1e-30)
        found[link.weight] = score
    return Reweighted(found, scores.weights) if isinstance(scores, Reweighted) else found


def removed_elements(model: nn.Module, mask: Mask) -> dict[str, Bool[Tensor, "..."]]:
    """Parameter name -> bool tensor of its shape, True where the mask demands zero.

    A removed channel is silent: its weights, its bias, and scale and shift of the batch normalisation after it.

    Raises:
        BadInput: the mask does not fit the network.
    """
    own = dict(model.named_parameters())
    if mask.granularity == "weight":
        _check_shapes(mask, prunable(model))
        return {name: ~kept.to(own[name].device) for name, kept in mask.kept.items()}
    removed: dict[str, Tensor] = {}
    for link in links(model):
        if link.weight not in mask.kept or mask.kept[link.weight].shape != (link.channels,):
            raise BadInput(f"the mask does not fit: layer {link.layer!r} has {link.channels} channels")
        gone = ~mask.kept[link.weight]
        for owner in (link.layer, *link.norms):
            for name in (f"{owner}.weight", f"{owner}.bias"):
                if name in own:
                    shape = [-1] + [1] * (own[name].ndim - 1)
                    removed[name] = gone.to(own[name].device).view(shape).expand_as(own[name])
    return removed


def zero(model: nn.Module, removed: Mapping[str, Bool[Tensor, "..."]]) -> None:
    """Set the elements named by `removed_elements` to zero, in place."""
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, gone in removed.items():
            own[name].masked_fill_(gone, 0.0)


def check_sparsity(sparsity: float) -> None:
    """Refuse a sparsity outside [0, 1)."""
    if not 0 <= sparsity < 1:
        raise BadInput(f"sparsity is the removed fraction, in [0, 1); got {sparsity}")


def check_choice(what: str, value: str, choices: object) -> None:
    """Refuse a word that is not among the `choices` of a Literal."""
    known = get_args(choices)
    if value not in known:
        raise UnknownName.of(what, value, known)


def _check_fits(mask: Mask | None, names: Sequence[str], values: Sequence[Array]) -> None:
    if mask is None:
        return
    shapes = {name: value.shape for name, value in zip(names, values, strict=True)}
    if {name: tuple(kept.shape) for name, kept in mask.kept.items()} != shapes:
        raise BadInput("the given mask does not fit: its layers or their shapes are not those of the scores")


def _check_shapes(mask: Mask, weights: Mapping[str, Tensor]) -> None:
    for name, kept in mask.kept.items():
        if name not in weights:
            raise BadInput(f"the mask does not fit: the network has no prunable weight {name!r}")
        if kept.shape != weights[name].shape:
            raise BadInput(
                f"the mask does not fit: {name!r} has shape {tuple(weights[name].shape)}, the mask {tuple(kept.shape)}"
            )
