"""Sums of products: linear layers, matrix products, einsum, attention, embeddings."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from prudent.surgery.calls import Call
from prudent.surgery.joining import contracted, join
from prudent.surgery.shadow import Field, Shadow, freeze, of_dim, without

NEW = 1000
"""Subscript of a dimension that the second operand brings."""


def linear(call: Call) -> Shadow:
    """y = x W^T + b."""
    x, weight, bias = call.x, call.given["weight"], call.given.get("bias")
    subs = tuple(range(len(x.shape)))
    out = (*subs[:-1], NEW)
    made = contracted(call.ledger, [(x, subs), (weight, (NEW, subs[-1]))], out, call.shape)
    return _with_bias(call, made, bias)


def _with_bias(call: Call, made: Shadow, bias: Shadow | None) -> Shadow:
    if bias is None:
        return made
    subs = tuple(range(len(made.shape)))
    fields = join(call.ledger, [(made, subs), (bias, subs[-len(bias.shape) :])], subs)
    return Shadow(made.shape, fields, made.zero and bias.zero)


def matmul(call: Call) -> Shadow:
    """Matrix product with batch dimensions, of tensors with at least two dimensions."""
    a, b = call.tensors[-2:]
    if min(len(a.shape), len(b.shape)) < 2:
        return _vector_product(call, a, b)
    ndim = max(len(a.shape), len(b.shape))
    batch = tuple(range(ndim - 2))
    left = (*batch[len(batch) - (len(a.shape) - 2) :], ndim, NEW)
    right = (*batch[len(batch) - (len(b.shape) - 2) :], NEW, ndim + 1)
    made = contracted(call.ledger, [(a, left), (b, right)], (*batch, ndim, ndim + 1), call.shape)
    return _with_bias(call, made, call.tensors[0]) if len(call.tensors) == 3 else made


def _vector_product(call: Call, a: Shadow, b: Shadow) -> Shadow:
    left = (*range(len(a.shape) - 1), NEW)
    right = (NEW,) if len(b.shape) == 1 else (*range(len(b.shape) - 2), NEW, NEW + 1)
    out = (*left[:-1], *right[1:]) if len(b.shape) < 2 else (*right[:-2], NEW + 1)
    return contracted(call.ledger, [(a, left), (b, right)], out, call.shape)


def einsum(call: Call) -> Shadow:
    """A sum of products in letters; without "..." and without repeated letters in one operand."""
    text = str(call.given["equation"]).replace(" ", "")
    operands = call.tensors
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if not arrow or "." in text or len(terms) != len(operands) or any(len(set(t)) < len(t) for t in [*terms, right]):
        raise NotImplementedError
    given = [(shadow, tuple(ord(c) for c in term)) for shadow, term in zip(operands, terms, strict=True)]
    return contracted(call.ledger, given, tuple(ord(c) for c in right), call.shape)


def attention(call: Call) -> Shadow:
    """softmax(q k^T / scale + mask) v over the last two dimensions."""
    q, k, v = (call.given[name] for name in ("query", "key", "value"))
    ndim = len(q.shape)
    batch = tuple(range(ndim - 2))
    enough = call.given.get("enable_gqa")
    if enough and q.shape[1] != k.shape[1]:
        k, v = _repeated(k, q.shape[1]), _repeated(v, q.shape[1])
    scores_shape = (*q.shape[:-1], k.shape[-2])
    scores = contracted(
        call.ledger, [(q, (*batch, 100, NEW)), (k, (*batch, 101, NEW))], (*batch, 100, 101), scores_shape
    )
    mask = call.given.get("attn_mask")
    if mask is not None:
        subs = (*batch, 100, 101)
        fields = join(call.ledger, [(scores, subs), (mask, subs[-len(mask.shape) :])], subs)
        scores = Shadow(scores_shape, fields, zero=False)
    freeze(call.ledger, scores, "softmax over this dimension", [ndim - 1])
    weights = Shadow(scores_shape, without(scores, [ndim - 1]), zero=False)
    return contracted(
        call.ledger, [(weights, (*batch, 100, 101)), (v, (*batch, 101, 102))], (*batch, 100, 102), call.shape
    )


def _repeated(kv: Shadow, heads: int) -> Shadow:
    """Keys or values of grouped-query attention, each head as often as it is read."""
    times = heads // kv.shape[1]
    fields = tuple(
        Field(np.repeat(f.labels, times, axis=1) if f.labels.shape[1] > 1 else f.labels, f.inner, f.rows)
        for f in kv.fields
    )
    return Shadow((kv.shape[0], heads, *kv.shape[2:]), fields, kv.zero)


def embedding(call: Call) -> Shadow:
    """Rows of a table: which rows there are is what the inputs mean, so they stay."""
    table = call.given["weight"]
    freeze(call.ledger, table, "the inputs choose among these", [0])
    return Shadow(call.shape, _read(call, table, len(call.shape)), table.zero)


def embedding_bag(call: Call) -> tuple[Shadow, ...]:
    """Sums or means of rows of a table."""
    table = call.given["weight"]
    freeze(call.ledger, table, "the inputs choose among these", [0])
    made = Shadow(call.shapes[0], _read(call, table, 2), table.zero)
    return (made, *[Shadow(shape) for shape in call.shapes[1:]])


def _read(call: Call, table: Shadow, ndim: int) -> tuple[Field, ...]:
    if table.parameter is not None:
        call.ledger.makers[table.parameter, 1] = None
    return of_dim(table.along(1), ndim - 1, ndim)


def bilinear(call: Call) -> Shadow:
    """y[o] = sum over i, j of a[i] w[o, i, j] b[j]."""
    a, b, weight = (call.given[name] for name in ("input1", "input2", "weight"))
    subs = tuple(range(len(a.shape) - 1))
    operands = [(a, (*subs, NEW + 1)), (b, (*subs, NEW + 2)), (weight, (NEW, NEW + 1, NEW + 2))]
    return _with_bias(call, contracted(call.ledger, operands, (*subs, NEW), call.shape), call.given.get("bias"))


RULES: Mapping[str, Any] = {
    "linear": linear,
    **dict.fromkeys(("matmul", "mm", "bmm", "addmm", "baddbmm", "mv", "dot"), matmul),
    "einsum": einsum,
    "scaled_dot_product_attention": attention,
    "bilinear": bilinear,
    "embedding": embedding,
    "embedding_bag": embedding_bag,
}
"""Operation -> rule."""
