"""Operations that take tensors apart and put them together."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prudent.surgery.calls import Call
from prudent.surgery.joining import join
from prudent.surgery.ledger import Labels
from prudent.surgery.shadow import Field, Shadow, freeze


def select(call: Call) -> Shadow:
    """One index of a dimension."""
    return _selected(call, call.dim(), int(call.given["index"]), call.shape)


def unbind(call: Call) -> tuple[Shadow, ...]:
    """Every index of a dimension."""
    return tuple(_selected(call, call.dim(), i, shape) for i, shape in enumerate(call.shapes))


def _selected(call: Call, dim: int, index: int, shape: Sequence[int]) -> Shadow:
    fields = []
    for field in call.x.fields:
        wide = field.labels.shape[dim] > 1
        labels = np.take(field.labels, index if wide else 0, axis=dim)
        if wide and max(labels.shape, default=1) == 1:
            call.ledger.freeze(labels, "it is read by its number")
            continue
        inner = None if field.inner in (None, dim) else field.inner - (field.inner > dim)
        fields.append(Field(labels, inner, field.rows))
    return Shadow(tuple(shape), tuple(fields), call.x.zero)


def slice_(call: Call) -> Shadow:
    """A range of a dimension."""
    dim = call.dim()
    start, end = (call.given.get(name) for name in ("start", "end"))
    step = int(call.given.get("step") or 1)
    if step != 1:
        return _strided(call, dim, slice(start, end, step))
    return _ranged(call, dim, slice(start, end, step), call.shape)


def _strided(call: Call, dim: int, which: slice) -> Shadow:
    """Every so many: each run of so many goes together, so that what is left is at the same place of its run."""
    n = call.x.shape[dim]
    start, end, step = which.indices(n)
    if n % step or start >= step or end != n:
        freeze(call.ledger, call.x, "every so many are taken along this dimension", [dim])
        return _ranged(call, dim, which, call.shape)
    for field in call.x.fields:
        if dim in field.live:
            runs = np.moveaxis(field.labels, dim, -1).reshape(-1, step)
            call.ledger.unite(runs, np.broadcast_to(runs[:, :1], runs.shape))
    return _ranged(call, dim, which, call.shape)


def narrow(call: Call) -> Shadow:
    """A range of a dimension, by its length."""
    start, length = int(call.given["start"]), int(call.given["length"])
    return _ranged(call, call.dim(), slice(start, start + length), call.shape)


def _ranged(call: Call, dim: int, which: slice, shape: Sequence[int]) -> Shadow:
    fields = []
    for field in call.x.fields:
        labels = field.labels
        if labels.shape[dim] > 1:
            labels = labels[(slice(None),) * dim + (which,)]
            if labels.shape[dim] == 1:
                call.ledger.freeze(labels, "it is read by its number")
            if field.inner == dim and not field.rows:
                call.ledger.balance(_lines(labels, dim))  # a part of each row is a row, and as long as the others
        if max(labels.shape) > 1:
            fields.append(Field(labels, field.inner, field.rows))
    return Shadow(tuple(shape), tuple(fields), call.x.zero)


def _lines(labels: Labels, dim: int) -> list[Labels]:
    """The labels along a dimension, for each index of the others."""
    return list(np.moveaxis(labels, dim, -1).reshape(-1, labels.shape[dim]))


def split(call: Call) -> tuple[Shadow, ...]:
    """Consecutive pieces; where they are equally long by rule, they must stay so."""
    dim = call.dim() if "dim" in call.given else 0
    ends = np.cumsum([shape[dim] for shape in call.shapes])
    parts = tuple(
        _ranged(call, dim, slice(int(end) - shape[dim], int(end)), shape)
        for end, shape in zip(ends, call.shapes, strict=True)
    )
    if call.name in ("chunk", "split", "tensor_split") and not isinstance(call.given.get("split_size"), (list, tuple)):
        if len({shape[dim] for shape in call.shapes}) > 1:
            freeze(call.ledger, call.x, "it is cut into unequal pieces", [dim])
        else:
            for live in {field.live for field in call.x.fields if field.inner == dim or field.live == (dim,)}:
                found = [
                    line for part in parts for f in part.fields if f.live == live for line in _lines(f.labels, dim)
                ]
                call.ledger.balance(found)
    return parts


def cat(call: Call) -> Shadow:
    """Pieces one after the other; other dimensions run together."""
    parts = [part for part in call.tensors if part.shape != (0,)]
    dim = int(call.given.get("dim", 0)) % len(call.shape)
    subs = tuple(range(len(call.shape)))
    fields = [
        Field(np.concatenate([_labels(part, sets, dim) for part in parts], axis=dim))
        for sets in {field.live for part in parts for field in part.fields if dim in field.live}
        if _agree(call, parts, sets, dim)
    ]
    rest = [
        Shadow(part.shape, tuple(f for f in part.fields if dim not in f.live), part.zero) for part in parts
    ]  # fmt: skip
    hidden = [(part, tuple(-s - 1 if s == dim else s for s in subs)) for part in rest]
    kept = join(call.ledger, hidden, tuple(s for s in subs if s != dim))
    fields += [_wider(field, dim) for field in kept]
    return Shadow(call.shape, tuple(fields), all(part.zero for part in parts))


def _wider(field: Field, dim: int) -> Field:
    """With a new dimension of size 1."""
    inner = None if field.inner is None else field.inner + (field.inner >= dim)
    return Field(np.expand_dims(field.labels, dim), inner, field.rows)


def _agree(call: Call, parts: Sequence[Shadow], live: tuple[int, ...], dim: int) -> bool:
    """Fields that are live in more dimensions than the one of the pieces can be joined only if every piece has them."""
    if live == (dim,):
        return True
    if all(any(field.live == live for field in part.fields) for part in parts):
        return True
    for part in parts:
        freeze(call.ledger, part, "it is joined with values of another layout", live)
    return False


def _labels(part: Shadow, live: tuple[int, ...], dim: int) -> Any:  # noqa: ANN401 (labels)
    for field in part.fields:
        if field.live == live:
            return field.labels
    shape = [part.shape[d] if d in live else 1 for d in range(len(part.shape))]
    if part.shape[dim] == 1 and len(live) == 1:
        shape[dim] = 1
    return np.zeros(shape, dtype=np.int32)


def stack(call: Call) -> Shadow:
    """Pieces beside each other in a new dimension."""
    parts = call.tensors
    dim = int(call.given.get("dim", 0)) % len(call.shape)
    subs = tuple(range(len(parts[0].shape)))
    fields = join(call.ledger, [(part, subs) for part in parts], subs)
    made = tuple(
        Field(np.expand_dims(f.labels, dim), None if f.inner is None else f.inner + (f.inner >= dim), f.rows)
        for f in fields
    )
    return Shadow(call.shape, made, all(part.zero for part in parts))


def glu(call: Call) -> Shadow:
    """First half times sigmoid of the second."""
    x, dim = call.x, call.dim() if "dim" in call.given else len(call.x.shape) - 1
    half = x.shape[dim] // 2
    parts = [_ranged(call, dim, part, call.shape) for part in (slice(0, half), slice(half, None))]
    subs = tuple(range(len(x.shape)))
    return Shadow(call.shape, join(call.ledger, [(part, subs) for part in parts], subs), x.zero)


RULES: Mapping[str, Any] = {
    "select": select,
    "unbind": unbind,
    "slice": slice_,
    "narrow": narrow,
    **dict.fromkeys(("split", "chunk", "split_with_sizes", "tensor_split", "unsafe_chunk", "unsafe_split"), split),
    **dict.fromkeys(("cat", "concat", "concatenate"), cat),
    "stack": stack,
    "glu": glu,
}
"""Operation -> rule."""
