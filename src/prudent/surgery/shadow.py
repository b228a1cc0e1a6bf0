"""What is known of a tensor while a network is traced: its shape, and which labels stand at its indices.

The labels of a tensor are held as *fields*: integer arrays with the tensor's number of dimensions, of size 1 in each
dimension along which they do not differ. An element is removed when a label of any field at its place is removed. So
operations that move data are done on labels by doing them on these small arrays.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from prudent.surgery.ledger import Labels, Ledger


@dataclass(frozen=True, eq=False)
class Field:
    """Labels at the places of a tensor.

    Args:
        labels: with the tensor's number of dimensions, each of full size or 1.
        inner: the dimension along which a split tensor keeps equally many of each row, or None.
        rows: whether the labels are those of rows.
    """

    labels: Labels
    inner: int | None = None
    rows: bool = False

    @property
    def live(self) -> tuple[int, ...]:
        """The dimensions along which labels differ."""
        return tuple(d for d, n in enumerate(self.labels.shape) if n > 1)


@dataclass(frozen=True, eq=False)
class Shadow:
    """A tensor's shape and fields.

    Args:
        shape: the tensor's.
        fields: at most one for each set of live dimensions.
        zero: elements whose labels are removed are zero in the masked network.
        parameter: name in the state of the network if it is a parameter or a buffer, else None.
        made: a tensor of constants that can be made in another shape.
    """

    shape: tuple[int, ...]
    fields: tuple[Field, ...] = ()
    zero: bool = True
    parameter: str | None = None
    made: bool = False

    def along(self, dim: int) -> Labels:
        """The labels of the field that is live in this dimension alone, as a vector; zeros if there is none."""
        for field in self.fields:
            if field.live == (dim,):
                return field.labels.reshape(-1)
        return np.zeros(self.shape[dim], dtype=np.int32)


def labelled(ledger: Ledger, shape: Sequence[int], *, parameter: str | None = None, zero: bool = True) -> Shadow:
    """A tensor all of whose dimensions can shrink: each index of each dimension has a label of its own."""
    shape = tuple(shape)
    fields = tuple(Field(spread(ledger.fresh(n), d, len(shape))) for d, n in enumerate(shape) if n > 1)
    return Shadow(shape, fields, zero, parameter)


def spread(vector: Labels, dim: int, ndim: int) -> Labels:
    """A vector of labels as the array of a field that is live in `dim`."""
    return vector.reshape([-1 if d == dim else 1 for d in range(ndim)])


def of_dim(vector: Labels, dim: int, ndim: int) -> tuple[Field, ...]:
    """The field of these labels in `dim`; none if it has one index or no label."""
    return (Field(spread(vector, dim, ndim)),) if vector.size > 1 and vector.any() else ()


def freeze(ledger: Ledger, shadow: Shadow, reason: str, dims: Sequence[int] | None = None) -> None:
    """Freeze all labels of a tensor, or those of fields that are live in one of `dims`."""
    for field in shadow.fields:
        if dims is None or set(field.live) & {d % len(shadow.shape) for d in dims}:
            ledger.freeze(field.labels, reason)


def without(shadow: Shadow, dims: Sequence[int]) -> tuple[Field, ...]:
    """The fields that are not live in any of `dims`."""
    gone = {d % len(shadow.shape) for d in dims}
    return tuple(field for field in shadow.fields if not gone & set(field.live))


def fused(ledger: Ledger, shadow: Shadow, dims: Sequence[int], *, whole: bool = True) -> Shadow:
    """The tensor whose labels go together along these dimensions, where something else tells them apart.

    A layer's outputs that are viewed as (channels, height, width) can so be removed by whole channels.

    Args:
        ledger: gets what is learnt.
        shadow: the tensor.
        dims: along which labels go together.
        whole: also labels of rows that lie along them: else any of a row may go, equally many of each.
    """
    ndim = len(shadow.shape)
    over = {d % ndim for d in dims}
    fields: list[Field] = []
    for field in shadow.fields:
        here = over & set(field.live)
        if not here or here == set(field.live) or (not whole and field.inner in here):
            fields.append(field)
        else:
            first = field.labels
            for d in here:
                first = first.take([0], axis=d)
            ledger.unite(field.labels, np.broadcast_to(first, field.labels.shape))
            fields.append(Field(first, None if field.inner in here else field.inner, field.rows))
    return replace(shadow, fields=_distinct(ledger, fields))


def permuted(shadow: Shadow, order: Sequence[int]) -> Shadow:
    """The tensor with dimension order[i] at place i."""
    order = [d % len(shadow.shape) for d in order]
    fields = tuple(
        replace(
            field,
            labels=field.labels.transpose(order),
            inner=None if field.inner is None else order.index(field.inner),
        )
        for field in shadow.fields
    )
    return Shadow(tuple(shadow.shape[d] for d in order), fields, shadow.zero)


def reshaped(ledger: Ledger, shadow: Shadow, shape: Sequence[int]) -> Shadow:
    """The tensor in another shape.

    Splitting a labelled dimension makes rows: each keeps equally many of its labels, or goes as a whole. Joining
    dimensions in another order than rows come in ties what stands at the same place of each row.
    """
    shape = tuple(shape)
    fields = []
    for field in shadow.fields:
        made, rows = _reshaped(ledger, field, shadow.shape, shape)
        fields += [made] if made.live else []
        fields += [rows] if rows is not None and rows.live else []
    return Shadow(shape, _distinct(ledger, fields), shadow.zero)


def _distinct(ledger: Ledger, fields: Sequence[Field]) -> tuple[Field, ...]:
    """Rows in the dimensions of another field say nothing any more; two other fields there cannot be told apart."""
    own = [field.live for field in fields if not field.rows]
    for field in fields:
        if not field.rows and own.count(field.live) > 1:
            ledger.freeze(field.labels, "two dimensions that could shrink become one")
    kept: dict[tuple[int, ...], Field] = {}
    for field in fields:
        if not field.rows or field.live not in own:
            kept.setdefault(field.live, field)
    return tuple(kept.values())


def _reshaped(ledger: Ledger, field: Field, old: tuple[int, ...], new: tuple[int, ...]) -> tuple[Field, Field | None]:
    labels, inner, split = field.labels, None, None
    done = 0  # dimensions of `labels` that are new ones already
    for before, after in _blocks(old, new):
        live = [d for d in before if field.labels.shape[d] > 1]
        head, tail = labels.shape[:done], labels.shape[done + len(before) :]
        if not live:
            labels = labels.reshape(*head, *[1] * len(after), *tail)
        else:
            if len(live) > 1 and len([d for d in after if new[d] > 1]) == 1 and field.inner in live[:-1]:
                _align(ledger, field, live)
            full = np.broadcast_to(labels, (*head, *[old[d] for d in before], *tail))
            labels = _compact(full.reshape(*head, *[new[d] for d in after], *tail), range(done, done + len(after)))
            there = [d for d in range(done, done + len(after)) if labels.shape[d] > 1]
            if len(there) > len(live) and not field.rows:
                split = there[-1]
            if field.inner in live:
                inner = there[-1] if there else None
        if field.inner is not None and field.inner in before and not live:
            inner = None
        done += len(after)
    if split is None:
        return Field(labels, inner, field.rows), None
    return Field(labels, split, rows=False), Field(_rows(ledger, labels, split), rows=True)


def _align(ledger: Ledger, field: Field, live: list[int]) -> None:
    """What stands at the same place of each row goes together, since rows are not read one after the other."""
    others = [d for d in live if d != field.inner]
    first = field.labels
    for d in others:
        first = first.take([0], axis=d)
    ledger.unite(field.labels, np.broadcast_to(first, field.labels.shape))


def _rows(ledger: Ledger, labels: Labels, inner: int) -> Labels:
    """Labels of the rows along `inner`, which keep equally many each."""
    lines = np.moveaxis(labels, inner, -1)
    flat = lines.reshape(-1, lines.shape[-1])
    names = np.array([ledger.row(line) for line in flat], dtype=np.int32)
    ledger.balance(list(flat))
    rows = np.expand_dims(names.reshape(lines.shape[:-1]), inner)
    live = [d for d, n in enumerate(rows.shape) if n > 1]
    if len(live) > 1:
        whole = np.moveaxis(rows, live[-1], -1)
        ledger.balance(list(whole.reshape(-1, whole.shape[-1])))
    return rows


def _compact(labels: Labels, dims: range) -> Labels:
    """Size 1 in those of `dims` along which the labels do not differ."""
    for d in dims:
        if labels.shape[d] > 1:
            first = labels.take([0], axis=d)
            if (labels == first).all():
                labels = first
    return labels


def _blocks(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """The shortest runs of dimensions of equal product, in order: [(old dimensions, new dimensions)]."""
    blocks: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old) or j < len(new):
        before, after = [], []
        a = b = 1
        if i < len(old):
            before.append(i)
            a, i = old[i], i + 1
        if j < len(new):
            after.append(j)
            b, j = new[j], j + 1
        while a != b:
            if (a < b and i < len(old)) or j >= len(new):
                before.append(i)
                a, i = a * old[i], i + 1
            else:
                after.append(j)
                b, j = b * new[j], j + 1
        blocks.append((before, after))
    return blocks
