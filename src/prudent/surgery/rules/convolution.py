"""Convolutions: ordinary, grouped, depthwise, transposed."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from prudent.surgery.calls import Call
from prudent.surgery.joining import contracted, join
from prudent.surgery.ledger import Labels
from prudent.surgery.shadow import Field, Shadow, freeze, fused, of_dim, reshaped, spread

OUT = 1000


def convolution(call: Call) -> Shadow:
    """y[o] = sum over i of w[o, i] * x[i] + b[o]; transposed: the weight is w[i, o]."""
    weight = call.given["weight"]
    transposed = "transpose" in call.name or bool(call.given.get("transposed"))
    batched = len(call.x.shape) == len(weight.shape)
    channel = 1 if batched else 0
    places = list(range(channel + 1, len(call.x.shape)))
    x = fused(call.ledger, call.x, places)
    freeze(call.ledger, x, "the kernel runs along this dimension", places)
    freeze(call.ledger, weight, "positions of a kernel", list(range(2, len(weight.shape))))
    kernel = tuple(range(2000, 2000 + len(weight.shape) - 2))
    spatial = tuple(range(3000, 3000 + len(x.shape) - channel - 1))
    if int(call.given.get("groups", 1)) > 1:
        made = _grouped(call, x, weight, channel, transposed=transposed)
    else:
        head = (0,) if batched else ()
        pair = (1, OUT) if transposed else (OUT, 1)
        bare = Shadow(x.shape, tuple(f for f in x.fields if set(f.live) <= {0, channel}), x.zero)
        inner = Shadow(
            weight.shape, tuple(f for f in weight.fields if set(f.live) <= {0, 1}), weight.zero, weight.parameter
        )
        sizes = (*head, 1, *spatial), (*pair, *kernel)
        made = contracted(call.ledger, [(bare, sizes[0]), (inner, sizes[1])], (*head, OUT, *spatial), call.shape)
    bias = call.given.get("bias")
    if bias is None:
        return made
    subs = tuple(range(len(call.shape)))
    fields_ = join(call.ledger, [(made, subs), (bias, (channel,))], subs)
    return Shadow(call.shape, fields_, made.zero and bias.zero)


def _grouped(call: Call, x: Shadow, weight: Shadow, channel: int, *, transposed: bool) -> Shadow:
    groups, inputs, outputs = int(call.given["groups"]), x.shape[channel], call.shape[channel]
    read = x.along(channel)
    if not read.any() or weight.parameter is None:
        freeze(call.ledger, weight, "a grouped convolution that reads what cannot be removed")
        freeze(call.ledger, x, "a grouped convolution with computed weights", [channel])
        return Shadow(call.shape)
    own = weight.along(0)
    call.ledger.makers[weight.parameter, int(transposed and groups < inputs)] = None
    if groups == inputs == outputs:
        call.ledger.unite(read, own)
        return Shadow(call.shape, of_dim(own, channel, len(call.shape)))
    made = _transposed_outputs(call, outputs) if transposed else own
    if groups == inputs:  # several outputs for each input
        call.ledger.unite(np.repeat(read, outputs // inputs), made)
    call.ledger.unite(read, own) if transposed else None
    rows = [rows_of(call, vector, groups) for vector in (read, made)]
    if rows[0] is not None and rows[1] is not None:
        call.ledger.unite(rows[0], rows[1])
    across = made if transposed else read  # labels of the weight's dimension 1, different in each group
    length = weight.shape[0] // groups
    joint = np.repeat(across.reshape(groups, -1), length, axis=0)
    call.ledger.rewrite(weight.parameter, 1, joint.reshape(*joint.shape, *[1] * (len(weight.shape) - 2)))
    return Shadow(call.shape, of_dim(made, channel, len(call.shape)))


def _transposed_outputs(call: Call, outputs: int) -> Labels:
    bias = call.given.get("bias")
    return bias.along(0) if bias is not None and bias.fields else call.ledger.fresh(outputs)


def rows_of(call: Call, vector: Labels, groups: int) -> Labels | None:
    """Labels of the groups; equally many channels must remain in each."""
    if vector.size == groups:
        return vector
    split = reshaped(
        call.ledger, Shadow((vector.size,), (Field(spread(vector, 0, 1)),)), (groups, vector.size // groups)
    )
    return next((f.labels.reshape(-1) for f in split.fields if f.rows), None)


RULES: Mapping[str, Any] = dict.fromkeys(
    ("conv1d", "conv2d", "conv3d", "convolution", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    convolution,
)
"""Operation -> rule."""
