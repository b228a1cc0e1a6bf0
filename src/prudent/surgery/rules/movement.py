"""Operations that move data: on labels they are done as they are on numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from prudent.surgery.calls import Call
from prudent.surgery.shadow import Field, Shadow, freeze, fused, permuted, reshaped, without


def reshape(call: Call) -> Shadow:
    """Another shape, in the same order."""
    return reshaped(call.ledger, call.x, call.shape)


def permute(call: Call) -> Shadow:
    """Dimensions in another order."""
    return permuted(call.x, call.given["dims"])


def transpose(call: Call) -> Shadow:
    """Two dimensions exchanged."""
    order = list(range(len(call.x.shape)))
    if call.name in ("t", "numpy_T"):
        return permuted(call.x, order[::-1])
    a, b = (-1, -2) if call.name in ("mT", "adjoint") else (call.given["dim0"], call.given["dim1"])
    order[a], order[b] = order[b], order[a]
    return permuted(call.x, order)


def movedim(call: Call) -> Shadow:
    """Dimensions moved to other places."""
    source, target = (np.atleast_1d(call.given[name]).tolist() for name in ("source", "destination"))
    ndim = len(call.x.shape)
    rest = [d for d in range(ndim) if d not in [s % ndim for s in source]]
    places = dict(zip([t % ndim for t in target], [s % ndim for s in source], strict=True))
    left = iter(rest)
    return permuted(call.x, [places[d] if d in places else next(left) for d in range(ndim)])


def expand(call: Call) -> Shadow:
    """Dimensions of size 1 repeated, and new ones in front."""
    x = call.x
    new = len(call.shape) - len(x.shape)
    grown = [d for d, n in enumerate(call.shape) if n > 1 and (d < new or x.shape[d - new] != n)]
    fields = tuple(
        replace(
            f,
            labels=f.labels.reshape([1] * new + list(f.labels.shape)),
            inner=None if f.inner is None else f.inner + new,
        )
        for f in x.fields
    )
    # what is spread over a dimension can be spread over a shorter one, in each row by itself; but units that are read
    # several times, as the keys of grouped queries are, go with all that read them
    rows = {d for f in fields if f.rows for d in f.live}
    several = rows and any(not f.rows for f in fields)
    made = [] if several else [_spread_over(call, sorted({*rows, d}), d) for d in grown]
    return Shadow(call.shape, (*fields, *made), x.zero and not made)


def _spread_over(call: Call, live: Sequence[int], inner: int) -> Field:
    sizes = [n if d in live else 1 for d, n in enumerate(call.shape)]
    labels = call.ledger.fresh(int(np.prod(sizes))).reshape(sizes)
    return Field(labels, inner if len(live) > 1 else None)


def repeat(call: Call) -> Shadow:
    """The whole tensor several times along dimensions."""
    times = [int(n) for n in call.given.get("repeats", call.given.get("dims", ()))]
    x = call.x
    new = len(times) - len(x.shape)
    fields = []
    for field in x.fields:
        labels = field.labels.reshape([1] * new + list(field.labels.shape))
        labels = np.tile(labels, [n if d in [v + new for v in field.live] else 1 for d, n in enumerate(times)])
        fields.append(replace(field, labels=labels, inner=None if field.inner is None else field.inner + new))
    return Shadow(call.shape, tuple(fields), x.zero)


def repeat_interleave(call: Call) -> Shadow:
    """Each element several times along a dimension."""
    if not isinstance(call.given.get("repeats"), int) or call.given.get("dim") is None:
        raise NotImplementedError
    dim, times = call.dim(), call.given["repeats"]
    fields = tuple(
        replace(f, labels=np.repeat(f.labels, times, axis=dim)) if f.labels.shape[dim] > 1 else f for f in call.x.fields
    )
    return Shadow(call.shape, fields, call.x.zero)


def flip(call: Call) -> Shadow:
    """Backwards along dimensions."""
    dims = tuple(d % len(call.x.shape) for d in call.given["dims"])
    fields = tuple(replace(f, labels=np.flip(f.labels, dims)) for f in call.x.fields)
    return Shadow(call.shape, fields, call.x.zero)


def roll(call: Call) -> Shadow:
    """Shifted in a circle; by how much is a constant, so labelled dimensions must stay."""
    dims = np.atleast_1d(call.given.get("dims", ())).tolist()
    freeze(call.ledger, call.x, "it is rolled along this dimension", dims or None)
    return Shadow(call.shape, without(call.x, dims) if dims else (), call.x.zero)


def pad(call: Call) -> Shadow:
    """A border of a constant; in a labelled dimension it has labels of its own."""
    x, amounts = call.x, list(call.given["pad"])
    value = call.given.get("value")
    if str(call.given.get("mode", "constant")) != "constant" or min(amounts) < 0:
        raise NotImplementedError
    fields = []
    ndim = len(x.shape)
    around = {ndim - 1 - i: (amounts[2 * i], amounts[2 * i + 1]) for i in range(len(amounts) // 2)}
    for field in x.fields:
        labels = field.labels
        for d, (before, after) in around.items():
            if labels.shape[d] > 1 and before + after:
                if field.live != (d,):
                    raise NotImplementedError
                parts = [call.ledger.fresh(before), labels.reshape(-1), call.ledger.fresh(after)]
                labels = np.concatenate(parts).reshape([-1 if i == d else 1 for i in range(ndim)])
        fields.append(replace(field, labels=labels))
    return Shadow(call.shape, tuple(fields), x.zero and not value)


def pixel_shuffle(call: Call) -> Shadow:
    """Channels become pixels: each run of r * r channels goes together."""
    times = int(call.given["upscale_factor"]) ** 2
    x = fused(call.ledger, call.x, range(2, len(call.x.shape)))
    vector = x.along(1).reshape(-1, times)
    call.ledger.unite(vector, np.broadcast_to(vector[:, :1], vector.shape))
    freeze(call.ledger, x, "pixels", [0, *range(2, len(call.x.shape))])
    fields = (Field(vector[:, 0].reshape(1, -1, *[1] * (len(call.shape) - 2))),) if call.shape[1] > 1 else ()
    if call.shape[1] == 1:
        freeze(call.ledger, call.x, "one channel is left")
    return Shadow(call.shape, fields if vector.any() else (), call.x.zero)


def pixel_unshuffle(call: Call) -> Shadow:
    """Pixels become channels: each channel becomes r * r."""
    times = int(call.given["downscale_factor"]) ** 2
    vector = np.repeat(call.x.along(1), times)
    freeze(call.ledger, call.x, "pixels", [0, *range(2, len(call.x.shape))])
    fields = (Field(vector.reshape(1, -1, *[1] * (len(call.shape) - 2))),) if vector.any() else ()
    return Shadow(call.shape, fields, call.x.zero)


def channel_shuffle(call: Call) -> Shadow:
    """(groups, channels of each) read the other way round."""
    x, groups = call.x, int(call.given["groups"])
    parts = (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    split = reshaped(call.ledger, x, parts)
    turned = permuted(split, [0, 2, 1, *range(3, len(parts))])
    return reshaped(call.ledger, turned, call.shape)


def index(call: Call) -> Shadow:
    """Entries chosen by constant numbers along one dimension, which must stay as it is."""
    chosen: Sequence[Any] = call.given["indices"]
    at = [d for d, part in enumerate(chosen) if part is not None]
    if len(at) != 1:
        raise NotImplementedError
    d, picked = at[0], chosen[at[0]]
    x = call.x
    freeze(call.ledger, x, "entries are chosen by number", [d])
    freeze(call.ledger, picked, "it chooses entries by number")
    more = len(picked.shape) - 1
    fields = tuple(
        Field(f.labels.reshape([*f.labels.shape[:d], *[1] * (more + 1), *f.labels.shape[d + 1 :]]), rows=f.rows)
        for f in without(x, [d])
    )
    return Shadow(call.shape, fields, x.zero)


RULES: Mapping[str, Any] = {
    **dict.fromkeys(
        ("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "_unsafe_view", "view_as", "reshape_as",
         "_reshape_alias", "ravel"), reshape
    ),
    "permute": permute,
    **dict.fromkeys(("transpose", "t", "numpy_T", "mT", "adjoint", "swapaxes", "swapdims"), transpose),
    "movedim": movedim,
    **dict.fromkeys(("expand", "expand_as", "broadcast_to"), expand),
    **dict.fromkeys(("repeat", "tile"), repeat),
    "repeat_interleave": repeat_interleave,
    "flip": flip,
    "roll": roll,
    **dict.fromkeys(("pad", "constant_pad_nd"), pad),
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    "channel_shuffle": channel_shuffle,
    "index": index,
}  # fmt: skip
"""Operation -> rule."""
