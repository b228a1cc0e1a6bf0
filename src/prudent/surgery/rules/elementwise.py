"""Operations that work on each element, or each channel, by itself; and those that make tensors of constants."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from prudent.surgery.calls import Call
from prudent.surgery.joining import broadcast, join
from prudent.surgery.shadow import Shadow, freeze, fused, labelled, without


def pointwise(call: Call) -> Shadow:
    """Element by element, with broadcasting."""
    operands = call.tensors
    fields = join(call.ledger, broadcast(operands, call.shape), tuple(range(len(call.shape))))
    return Shadow(call.shape, fields, _zero(call, operands))


def _zero(call: Call, operands: list[Shadow]) -> bool:
    """Whether removed elements, zero in the operands that have them, come out as zero."""
    labelled_ones = [shadow for shadow in operands if shadow.fields]
    if call.name in ("mul", "multiply"):
        return any(shadow.zero for shadow in labelled_ones)
    if call.name in ("div", "divide", "true_divide"):
        return bool(call.x.fields) and call.x.zero
    if len(labelled_ones) < len(operands) and call.name in ("add", "sub", "rsub"):
        return False
    if not all(shadow.zero for shadow in labelled_ones) or len(labelled_ones) < len(operands):
        return False
    return _keeps_zero(call)


def _keeps_zero(call: Call) -> bool:
    """Asks the operation itself."""

    def value(given: Any) -> Any:  # noqa: ANN401 (arguments of any operation)
        if isinstance(given, Shadow):
            return torch.zeros(1)
        return [value(part) for part in given] if isinstance(given, (list, tuple)) else given

    arguments = {name: value(given) for name, given in call.given.items()}
    try:
        answer = call.node.target(**arguments)  # type: ignore[operator]
    except (RuntimeError, TypeError, ValueError):
        return False
    return isinstance(answer, torch.Tensor) and not bool(answer.any())


def channelwise(call: Call) -> Shadow:
    """Pooling and resizing: each channel (and each example) by itself; zeros stay zeros."""
    x = call.x
    spatial = [d for d in range(len(x.shape)) if x.shape[d] != call.shape[d]] if len(x.shape) == len(call.shape) else []
    spatial += list(range(2, len(x.shape))) if len(x.shape) > 2 else []
    x = fused(call.ledger, x, spatial)
    freeze(call.ledger, x, "it is pooled or resized along this dimension", spatial or None)
    fields = without(x, spatial) if spatial else ()
    return Shadow(call.shape, fields, x.zero)


def pooled_with_indices(call: Call) -> tuple[Shadow, ...]:
    """Max pooling that also says where the largest value was."""
    made = channelwise(call)
    return (made, Shadow(call.shapes[-1], made.fields, zero=False))


def prelu(call: Call) -> Shadow:
    """max(x, 0) + weight * min(x, 0), one weight for all or one for each channel (dimension 1)."""
    x, weight = call.x, call.given["weight"]
    subs = tuple(range(len(x.shape)))
    own = (1,) if weight.shape[0] > 1 else (-1,)
    fields = join(call.ledger, [(x, subs), (weight, own)], subs)
    return Shadow(call.shape, fields, x.zero)


def same(call: Call) -> Shadow:
    """What comes out is what went in."""
    return Shadow(call.shape, call.x.fields, call.x.zero)


def zeroed(call: Call) -> Shadow:
    """Zeros in its place: whatever is removed of it, the rest is zero as before."""
    return call.x


def like(call: Call) -> Shadow:
    """A new tensor of the same shape."""
    return Shadow(call.shape, call.x.fields, zero=call.name == "zeros_like")


def constant(call: Call) -> Shadow:
    """A tensor of one value, in a shape that the graph can be rewritten for."""
    return replace(labelled(call.ledger, call.shape, zero=call.name in ("zeros", "new_zeros")), made=True)


def softmax(call: Call) -> Shadow:
    """Over a dimension whose labels must stay, since what is removed takes part in the sum."""
    freeze(call.ledger, call.x, f"{call.name} over this dimension", [call.dim()])
    return Shadow(call.shape, without(call.x, [call.dim()]), zero=False)


def reduction(call: Call) -> Shadow | tuple[Shadow, ...]:
    """Sums and means: what is removed must be zero; a mean over it changes its count."""
    if "other" in call.given:
        return pointwise(call)
    made = _reduced(call)
    return made if len(call.shapes) == 1 else tuple(made for _ in call.shapes)


def _reduced(call: Call) -> Shadow:
    given, ndim = call.given.get("dim"), len(call.x.shape)
    dims = list(range(ndim)) if given is None or given == [] else given
    dims = [d % ndim for d in (dims if isinstance(dims, (list, tuple)) else [dims])]
    added = call.x.zero and call.name in ("sum", "mean", "var", "std", "var_mean", "linalg_vector_norm")
    x = fused(call.ledger, call.x, dims, whole=not added)
    own = [field for field in x.fields if set(field.live) & set(dims)]
    if added:
        for field in own:
            if call.name not in ("sum", "linalg_vector_norm"):
                call.ledger.change(field.labels, f"{call.name} over this dimension")
    else:
        freeze(call.ledger, x, f"{call.name} over this dimension", dims)
    left = without(x, dims)
    if len(call.shape) == len(x.shape):
        return Shadow(call.shape, left, x.zero)
    keep = [d for d in range(len(x.shape)) if d not in dims]
    return Shadow(call.shape, tuple(_squeezed(field, keep) for field in left), x.zero)


def _squeezed(field: Any, keep: list[int]) -> Any:  # noqa: ANN401 (Field)
    labels = field.labels.reshape([field.labels.shape[d] for d in keep])
    return type(field)(labels, keep.index(field.inner) if field.inner in keep else None, field.rows)


RULES: Mapping[str, Any] = {
    **dict.fromkeys(
        ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "native_dropout", "clone",
         "contiguous", "alias", "detach", "to", "_to_copy", "type_as", "lift_fresh", "lift_fresh_copy",
         "requires_grad", "alias_copy", "float", "double", "half"), same
    ),
    **dict.fromkeys(
        ("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d",
         "adaptive_avg_pool2d", "adaptive_avg_pool3d", "upsample_nearest1d", "upsample_nearest2d",
         "upsample_nearest3d", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_linear1d",
         "upsample_trilinear3d", "_upsample_nearest_exact2d", "_upsample_bilinear2d_aa", "reflection_pad1d",
         "reflection_pad2d", "reflection_pad3d", "replication_pad1d", "replication_pad2d", "replication_pad3d"),
        channelwise,
    ),
    **dict.fromkeys(
        ("max_pool1d_with_indices", "max_pool2d_with_indices", "max_pool3d_with_indices", "adaptive_max_pool1d",
         "adaptive_max_pool2d", "adaptive_max_pool3d"), pooled_with_indices
    ),
    **dict.fromkeys(("zeros_like", "ones_like", "full_like", "rand_like", "randn_like", "empty_like"), like),
    **dict.fromkeys(("zeros", "ones", "full", "new_zeros", "new_ones", "new_full"), constant),
    **dict.fromkeys(("softmax", "_softmax", "log_softmax", "_log_softmax"), softmax),
    **dict.fromkeys(
        ("sum", "mean", "var", "std", "amax", "amin", "max", "min", "argmax", "prod", "norm", "linalg_vector_norm",
         "logsumexp", "any", "all"), reduction
    ),
    **dict.fromkeys(  # torch's own tag is missing from these
        ("hardswish", "relu6", "log_sigmoid", "masked_fill", "where", "arctan", "negative", "absolute", "multiply",
         "divide", "subtract", "special_expit", "special_erf"), pointwise
    ),
    "zero": zeroed,
    "prelu": prelu,
    "_prelu_kernel": prelu,
}  # fmt: skip
"""Operation -> rule."""
