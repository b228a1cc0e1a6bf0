"""How the labels of several tensors meet in one operation, written with subscripts as in einsum."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prudent.surgery.ledger import Labels, Ledger
from prudent.surgery.shadow import Field, Shadow, freeze

Subscripts = tuple[int, ...]
"""One number for each dimension of a tensor; equal numbers run together."""


@dataclass(eq=False)
class _Entry:
    operand: int
    subs: frozenset[int]
    labels: Labels  # dimensions in the order of sorted(subs)
    field: Field
    at: Subscripts


def join(ledger: Ledger, operands: Sequence[tuple[Shadow, Subscripts]], out: Subscripts) -> tuple[Field, ...]:
    """Unite the labels that meet, and give the fields of the result.

    Fields over the same subscripts are united place by place; a field over fewer subscripts that has no partner is
    united with the one over more, and with all of its rows. A field that meets a full dimension of another tensor
    that has no labels there is frozen.

    Args:
        ledger: gets what is learnt.
        operands: each tensor with the subscripts of its dimensions.
        out: subscripts of the result; those that are missing are summed over.
    """
    entries = [_entry(i, field, subs) for i, (shadow, subs) in enumerate(operands) for field in shadow.fields]
    leaders: dict[frozenset[int], _Entry] = {}
    for entry in entries:
        leader = leaders.setdefault(entry.subs, entry)
        if leader is not entry:
            ledger.unite(leader.labels, entry.labels)
    _unite_parts(ledger, entries)
    for entry in entries:
        _check_met(ledger, entry, entries, operands)
    merged = [leader for subs, leader in leaders.items() if subs <= set(out)]
    return tuple(_placed(entry, out) for entry in merged)


def broadcast(shadows: Sequence[Shadow], shape: Sequence[int]) -> list[tuple[Shadow, Subscripts]]:
    """Operands of an element-wise operation: dimensions are counted from the last one."""
    ndim = len(shape)
    return [(shadow, tuple(range(ndim - len(shadow.shape), ndim))) for shadow in shadows]


def contracted(
    ledger: Ledger, operands: Sequence[tuple[Shadow, Subscripts]], out: Subscripts, shape: Sequence[int]
) -> Shadow:
    """A sum of products over the subscripts that are not in `out`. What is summed over must be zero when removed.

    Rows that run along with it (the heads of an attention) are noted as heads.
    """
    fields = join(ledger, operands, out)
    for shadow, subs in operands:
        if shadow.parameter is not None:
            ledger.makers |= {(shadow.parameter, d): None for d, s in enumerate(subs) if s in out}
    if not any(shadow.zero for shadow, _ in operands):
        for shadow, subs in operands:
            gone = [d for d, s in enumerate(subs) if s not in out]
            freeze(ledger, shadow, "it is summed over, and is not zero when removed", gone)
    if all(shadow.parameter is None for shadow, _ in operands):
        ledger.heads += [field.labels for field in fields if field.rows]
    return Shadow(tuple(shape), fields, all(_silent(field, operands, out) for field in fields))


def _silent(field: Field, operands: Sequence[tuple[Shadow, Subscripts]], out: Subscripts) -> bool:
    """Whether a product is zero where a label of this field is removed: one factor that has the label is."""
    live = {out[d] for d in field.live}
    return any(
        shadow.zero and any({subs[d] for d in own.live} == live for own in shadow.fields) for shadow, subs in operands
    )


def _entry(operand: int, field: Field, subs: Subscripts) -> _Entry:
    live = sorted(field.live, key=lambda d: subs[d])
    rest = [d for d in range(len(subs)) if d not in live]
    labels = field.labels.transpose([*live, *rest]).reshape([field.labels.shape[d] for d in live])
    return _Entry(operand, frozenset(subs[d] for d in live), labels, field, subs)


def _unite_parts(ledger: Ledger, entries: Sequence[_Entry]) -> None:
    for small in entries:
        for large in entries:
            if not small.subs < large.subs or small.operand == large.operand:
                continue
            partnered = any(e.operand == large.operand and e.subs == small.subs for e in entries)
            if not partnered and not _has_partner(large, small.operand, entries):
                order = sorted(large.subs)
                shape = [n if s in small.subs else 1 for s, n in zip(order, large.labels.shape, strict=True)]
                ledger.unite(large.labels, small.labels.reshape(shape))


def _has_partner(entry: _Entry, operand: int, entries: Sequence[_Entry]) -> bool:
    return any(e.operand == operand and e.subs == entry.subs for e in entries)


def _check_met(
    ledger: Ledger, entry: _Entry, entries: Sequence[_Entry], operands: Sequence[tuple[Shadow, Subscripts]]
) -> None:
    for i, (shadow, subs) in enumerate(operands):
        if i == entry.operand:
            continue
        full = {s for s, n in zip(subs, shadow.shape, strict=True) if n > 1}
        covered = {s for e in entries if e.operand == i for s in e.subs}
        partial = any(e.operand == i and e.subs & entry.subs and not _nested(e.subs, entry.subs) for e in entries)
        if (entry.subs & full) - covered or partial:
            ledger.freeze(entry.labels, "it meets values that cannot be removed")


def _nested(a: frozenset[int], b: frozenset[int]) -> bool:
    return a <= b or b <= a


def _placed(entry: _Entry, out: Subscripts) -> Field:
    sizes = dict(zip(sorted(entry.subs), entry.labels.shape, strict=True))
    labels = entry.labels.transpose([sorted(entry.subs).index(s) for s in out if s in entry.subs])
    labels = labels.reshape([sizes.get(s, 1) for s in out])
    inner = None if entry.field.inner is None else entry.at[entry.field.inner]
    return Field(np.asarray(labels), out.index(inner) if inner in out else None, entry.field.rows)
