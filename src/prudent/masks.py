"""Scores -> Mask: which units stay, with exact counts, ties broken deterministically."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from prudent.bundles import NOT_FINITE, Array, bundle_order, bundled, keep_highest_bundles, unbundled
from prudent.errors import BadInput
from prudent.network import Scores
from prudent.scopes import TOGETHER, Scope, check_choice, check_sparsity, count, groups
from prudent.units import Granularity, check_shape_of_unit


@dataclass(frozen=True, kw_only=True, eq=False)
class Mask:
    """Which units of a network are kept.

    Args:
        kept: name of the weight -> bool tensor, True = kept, one entry for each unit. Layers that are not named are not
            pruned. By granularity: "weight" and "n:m" of the weight's shape; "block" (rows, columns) of blocks;
            "channel" (output channels,), or (rows, channels of each) where equally many must stay in each row; "head"
            (heads,), filed under the weight of the projection that reads them.
        granularity: what a unit is.
        pattern: (n, m) for "n:m": of each m neighbours along the input dimension n are kept.
        block: (r, c) for "block": r outputs by c columns of the weight seen as a matrix (outputs, inputs x kernel).
        cover: of channels and heads of a network that was traced: parameter or buffer -> arrays of unit numbers, which
            broadcast to its shape. Units are numbered from 1 in the order of `kept`; 0 stands where nothing is removed.
            An element is removed when a unit at its place is, in any of the arrays.

    Raises:
        BadInput: no layer, or a granularity without its pattern or block.
    """

    kept: Mapping[str, Bool[Tensor, "..."]]
    granularity: Granularity
    pattern: tuple[int, int] | None = None
    block: tuple[int, int] | None = None
    cover: Mapping[str, tuple[np.ndarray, ...]] | None = None

    def __post_init__(self) -> None:
        check_choice("granularity", self.granularity, Granularity)
        if not self.kept:
            raise BadInput("a mask needs at least one layer")
        check_shape_of_unit(self.granularity, self.pattern, self.block)
        # copies: what the caller does with its own tensors afterwards must not change the mask
        frozen = {name: kept.detach().to("cpu", copy=True) for name, kept in self.kept.items()}
        object.__setattr__(self, "kept", MappingProxyType(frozen))

    @cached_property
    def total(self) -> int:
        """Number of prunable units."""
        return sum(kept.numel() for kept in self.kept.values())

    @cached_property
    def remaining(self) -> int:
        """Number of units that are kept."""
        return sum(int(kept.sum()) for kept in self.kept.values())

    @cached_property
    def removed_units(self) -> np.ndarray:
        """Bool for each unit number of `cover`, 0 among them: whether it is removed."""
        return np.concatenate([[False], *[~kept.numpy().reshape(-1) for kept in self.kept.values()]])

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
    sparsity: float | None = None,
    *,
    scope: Scope = "global",
    granularity: Granularity = "weight",
    pattern: tuple[int, int] | None = None,
    block: tuple[int, int] | None = None,
    fractions: Mapping[str, float] | None = None,
    minimum: int = 0,
    within: Mask | None = None,
    like: Mask | None = None,
    kinds: Mapping[str, str] | None = None,
) -> Mask:
    """Keep the units with the highest scores.

    The number removed is round(sparsity * units), exactly, ties or not: of equal scores those that come first (in the
    order of layers, then of elements) are removed first. Found by selection, not by sorting.

    Args:
        scores: name -> finite tensor; one number for each unit.
        sparsity: fraction of all units to be removed, in [0, 1); counts what `within` removed already. Not used with
            `fractions`, `like` or granularity "n:m", which say it themselves.
        scope: "global" ranks all units together, "isomorphic" those of layers of the same kind, "layer" removes the
            same fraction in each layer, "row" in each row of outputs; "erdos_renyi" and "erdos_renyi_kernel"
            spread it over layers by their sizes (see prudent.scopes).
        granularity, pattern, block: what the mask will call a unit (see `Mask`).
        fractions: name -> the fraction to remove in that layer; layers that are not named stay whole.
        minimum: at least so many units stay in every layer, under scopes "global" and "isomorphic".
        within: a mask whose removed units stay removed.
        like: a mask whose number of removed units in each layer is copied.
        kinds: name -> what its units are like, for scope "isomorphic" (see prudent.surgery.structures).

    Raises:
        BadInput: sparsity outside [0, 1) or so high that nothing would be left, or less than `minimum` allows; scores
            that are not finite; `within` or `like` of other layers or shapes; fewer units to be removed than `within`
            removed already; a pattern that `within` has broken.
        UnknownName: a scope, or a layer in `fractions`, that is not there.
    """
    names = list(scores)
    values = {name: _array(scores[name]) for name in names}
    for other in (within, like):
        _check_fits(other, {name: value.shape for name, value in values.items()})
    alive = {name: None if within is None else within.kept[name].numpy() for name in names}
    rows = {n: v for n, v in values.items() if granularity in ("channel", "head") and v.ndim == 2}
    orders = {name: bundle_order(value, alive[name]) for name, value in rows.items()}
    for name, order in orders.items():
        values[name], alive[name] = bundled(values[name], alive[name], order)
    # under a ranking of several layers a bundle counts as many units as it has; in a layer alone it is one of its own
    everywhere = scope in TOGETHER and fractions is None and like is None and len(names) > 1
    shapes = {name: rows[name].shape if everywhere and name in rows else v.shape for name, v in values.items()}
    kept: dict[str, Array] = {}
    if granularity == "n:m":
        check_shape_of_unit(granularity, pattern, block)
        kept = {name: _keep_pattern(values[name], alive[name], pattern or (1, 1)) for name in names}
    elif scope == "row" and like is None and fractions is None:
        kept = {name: _keep_in_rows(values[name], alive[name], check_sparsity(sparsity)) for name in names}
    else:
        sparsity = sparsity if fractions is not None or like is not None else check_sparsity(sparsity)
        removals = None
        if like is not None:
            removals = {n: gone // (len(rows[n]) if n in rows else 1) for n, gone in like.removed_by_layer.items()}
        found = groups(shapes, sparsity, scope=scope, fractions=fractions, removals=removals, kinds=kinds)
        for members, removed in found:
            ranked, living = [values[name] for name in members], [alive[name] for name in members]
            weights = [len(rows[name]) if name in rows else 1 for name in members]
            if max(weights) > 1 and everywhere:
                chosen = keep_highest_bundles(ranked, living, weights, removed, minimum)
            else:
                chosen = _keep_highest(ranked, living, removed, minimum if everywhere else 0)
            kept |= dict(zip(members, chosen, strict=True))
    for name, order in orders.items():
        kept[name] = unbundled(kept[name], order)
    tensors = {name: torch.from_numpy(kept[name]) for name in names}
    return Mask(kept=tensors, granularity=granularity, pattern=pattern, block=block)


def _array(score: Tensor) -> Array:
    half = score.dtype in (torch.bfloat16, torch.float16)  # NumPy has no bfloat16, and is slow on float16
    array: Array = (score.float() if half else score).detach().cpu().numpy()
    # channels-last scores too are ranked, and ties broken, in the order of their indices
    return np.ascontiguousarray(array)


def _keep_highest(
    values: Sequence[Array], alive: Sequence[Array | None], removed: int, minimum: int = 0
) -> list[Array]:
    """For several arrays ranked together: True where kept, exactly `removed` entries False, dead ones among them.

    `alive` marks what may be kept; None stands for everything. The `minimum` highest of each array stay.
    """
    if minimum:
        return _keep_highest_with_minimum(values, alive, removed, minimum)
    removed -= sum(0 if a is None else a.size - int(np.count_nonzero(a)) for a in alive)
    _check_not_less(removed)
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


def _keep_highest_with_minimum(
    values: Sequence[Array], alive: Sequence[Array | None], removed: int, minimum: int
) -> list[Array]:
    """The best of each array are safe; among the others the ranking decides. No other choice of that size is better."""
    safe = []
    for value, a in zip(values, alive, strict=True):
        living = value.size if a is None else int(np.count_nonzero(a))
        safe.append(_keep_highest([value], [a], value.size - min(minimum, living))[0])
    total = sum(value.size for value in values)
    most = total - sum(int(np.count_nonzero(s)) for s in safe)
    if removed > most:
        raise BadInput(
            f"keeping at least {minimum} units in every layer, {most} of {total} can be removed; {removed} are asked"
        )
    rest = [~s if a is None else a & ~s for s, a in zip(safe, alive, strict=True)]
    # what is safe counts as dead here, so that it takes no part in the ranking
    chosen = _keep_highest(values, rest, removed + total - most)
    return [keep | s for keep, s in zip(chosen, safe, strict=True)]


def _check_not_less(removed: int) -> None:
    if removed < 0:
        raise BadInput(f"the mask to start from has already removed {-removed} more units than are to be removed now")


def _keep_pattern(value: Array, alive: Array | None, pattern: tuple[int, int]) -> Array:
    """The n highest of each m neighbours along dimension 1, True where kept."""
    n, m = pattern
    ranked = np.moveaxis(value, 1, -1)
    living = None if alive is None else np.moveaxis(alive, 1, -1).reshape(-1, m)
    keep = _lowest_out(ranked.reshape(-1, m), living, m - n)
    return np.ascontiguousarray(np.moveaxis(keep.reshape(ranked.shape), -1, 1))


def _keep_in_rows(value: Array, alive: Array | None, sparsity: float) -> Array:
    """The same fraction removed in each row of outputs, True where kept."""
    rows = value.reshape(len(value), -1)
    living = None if alive is None else alive.reshape(rows.shape)
    return _lowest_out(rows, living, count(sparsity, rows.shape[1])).reshape(value.shape)


def _lowest_out(rows: Array, alive: Array | None, removed: int) -> Array:
    """In each row exactly `removed` entries False: the dead ones first, then the lowest, of equal ones the first."""
    if not np.isfinite(rows).all():
        raise BadInput(NOT_FINITE)
    ranked = rows
    if alive is not None:
        dead = rows.shape[1] - int(alive.sum(axis=1).min())
        _check_not_less(removed - dead)
        ranked = np.where(alive, rows, -np.inf)
    keep = np.ones(rows.shape, dtype=bool)
    np.put_along_axis(keep, np.argsort(ranked, axis=1, kind="stable")[:, :removed], values=False, axis=1)
    return keep


def _threshold(values: Sequence[Array], alive: Sequence[Array | None], removed: int) -> tuple[float, int]:
    """The score below which everything goes, and how many of those equal to it go too."""
    # the only copy of the scores: partitioned in place
    flat = np.concatenate([v.ravel() if a is None else v[a] for v, a in zip(values, alive, strict=True)])
    if len(flat) and not (np.isfinite(flat.max()) and np.isfinite(flat.min())):
        raise BadInput(NOT_FINITE)
    if removed == 0:
        return -np.inf, 0
    flat.partition(removed - 1)
    threshold = float(flat[removed - 1])
    return threshold, removed - int(np.count_nonzero(flat[:removed] < threshold))


def _check_fits(mask: Mask | None, shapes: Mapping[str, tuple[int, ...]]) -> None:
    if mask is not None and {name: tuple(kept.shape) for name, kept in mask.kept.items()} != dict(shapes):
        raise BadInput("the given mask does not fit: its layers or their shapes are not those of the scores")
