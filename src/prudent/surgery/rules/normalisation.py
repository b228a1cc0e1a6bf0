"""Normalisations: of each channel by itself (batch, instance), or over channels, whose statistics change with them."""

from collections.abc import Mapping
from typing import Any

from prudent.surgery.calls import Call
from prudent.surgery.joining import join
from prudent.surgery.rules.convolution import rows_of
from prudent.surgery.shadow import Shadow, freeze, fused


def per_channel(call: Call) -> Shadow:
    """Batch and instance normalisation: dimension 1 by itself."""
    subs = tuple(range(len(call.x.shape)))
    x = fused(call.ledger, call.x, subs[2:])
    own = [call.given.get(name) for name in ("weight", "bias", "running_mean", "running_var")]
    operands = [(x, subs), *[(part, (1,)) for part in own if part is not None]]
    freeze(call.ledger, x, "it is normalised along this dimension", [d for d in subs if d != 1])
    fields = join(call.ledger, operands, subs)
    affine = own[0] is not None and own[1] is not None
    return Shadow(call.shape, fields, zero=affine)


def batch_norm_with_statistics(call: Call) -> tuple[Shadow, ...]:
    """Batch normalisation in the form that also gives the batch's statistics."""
    return (per_channel(call), *[Shadow(shape) for shape in call.shapes[1:]])


def layer_norm(call: Call) -> Shadow:
    """Over the last dimensions: mean and variance are those of what is left."""
    x = call.x
    count = len(call.given["normalized_shape"])
    subs = tuple(range(len(x.shape)))
    own = [call.given.get(name) for name in ("weight", "bias")]
    fields = join(call.ledger, [(x, subs), *[(part, subs[-count:]) for part in own if part is not None]], subs)
    for field in fields:
        if set(field.live) & set(subs[-count:]):
            call.ledger.change(field.labels, call.name)
    # without scale and shift a removed element becomes (0 - mean) / deviation
    zero = own[0] is not None and (own[1] is not None or call.name == "rms_norm")
    return Shadow(call.shape, fields, zero=zero or (call.name == "rms_norm" and x.zero))


def group_norm(call: Call) -> Shadow:
    """Over groups of channels: equally many must remain in each."""
    groups = int(call.given["num_groups"])
    subs = tuple(range(len(call.x.shape)))
    x = fused(call.ledger, call.x, subs[2:])
    own = [call.given.get(name) for name in ("weight", "bias")]
    freeze(call.ledger, x, "it is normalised along this dimension", [d for d in subs if d != 1])
    vector = x.along(1)
    if groups < x.shape[1] and vector.any():
        rows_of(call, vector, groups)
        call.ledger.change(vector, "group_norm")
    fields = join(call.ledger, [(x, subs), *[(part, (1,)) for part in own if part is not None]], subs)
    return Shadow(call.shape, fields, zero=own[0] is not None and own[1] is not None)


RULES: Mapping[str, Any] = {
    **dict.fromkeys(("batch_norm", "instance_norm", "cudnn_batch_norm"), per_channel),
    **dict.fromkeys(
        ("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training"),
        batch_norm_with_statistics,
    ),
    **dict.fromkeys(("layer_norm", "rms_norm", "_fused_rms_norm"), layer_norm),
    "group_norm": group_norm,
}
"""Operation -> rule."""
