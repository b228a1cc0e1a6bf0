"""Rows that must lose equally many units: the least important unit of each row goes with those of the other rows."""

from collections.abc import Sequence

import numpy as np

from prudent.errors import BadInput

Array = np.ndarray
NOT_FINITE = "importance scores must be finite; some are NaN or infinite"


def bundle_order(value: Array, alive: Array | None) -> Array:
    """Of rows that must lose equally many: the units of each, the dead and the least important first."""
    if not np.isfinite(value).all():
        raise BadInput(NOT_FINITE)
    ranked = value if alive is None else np.where(alive, value, -np.inf)
    return np.argsort(ranked, axis=1, kind="stable")


def bundled(value: Array, alive: Array | None, order: Array) -> tuple[Array, Array | None]:
    """The first unit of each row together, the second of each, and so on: their means, and whether they are alive."""
    living = None if alive is None else np.take_along_axis(alive, order, axis=1)
    if living is not None and (living != living[:1]).any():
        raise BadInput("the given mask keeps different numbers of units in rows that must keep equally many")
    return np.take_along_axis(value, order, axis=1).mean(axis=0), None if living is None else living[0]


def unbundled(kept: Array, order: Array) -> Array:
    """What `bundled` put together, back at its places: kept or not, for each unit of each row."""
    whole = np.empty(order.shape, dtype=bool)
    np.put_along_axis(whole, order, np.broadcast_to(kept, order.shape), axis=1)
    return whole


def keep_highest_bundles(
    values: Sequence[Array], alive: Sequence[Array | None], weights: Sequence[int], removed: int, minimum: int
) -> list[Array]:
    """Bundles of several sizes ranked together: those of the lowest mean go, as many as fit into `removed` units."""
    place = np.concatenate([np.full(len(value), i) for i, value in enumerate(values)])
    weight = np.asarray(weights)[place]
    living = np.concatenate([np.ones(len(v), bool) if a is None else a for v, a in zip(values, alive, strict=True)])
    ranked = np.concatenate(values)
    order = np.argsort(np.where(living, ranked, -np.inf), kind="stable")
    left = np.array([len(value) for value in values])
    keep = np.ones(len(ranked), dtype=bool)
    for i in order:
        free = weight[i] <= removed and left[place[i]] > minimum
        if free or not living[i]:
            keep[i] = False
            removed -= int(weight[i])
            left[place[i]] -= 1
    if removed < 0:
        raise BadInput(f"the mask to start from has already removed {-removed} more units than are to be removed now")
    if removed >= max(weights):
        raise BadInput(
            f"keeping at least {minimum} units in every layer, {removed} units fewer can be removed than are asked"
        )
    return np.split(keep, np.cumsum([len(value) for value in values])[:-1])
