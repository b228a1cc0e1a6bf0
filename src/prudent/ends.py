"""Intervals that go through any code a network is written in: residual sums and reshaping, not only layers in a row."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils import _pytree as pytree

from prudent.errors import BadInput

RISING = frozenset((
    "flatten", "view", "reshape", "permute", "transpose", "squeeze", "unsqueeze", "contiguous", "clone", "detach", "to",
    "__getitem__", "pad", "cat", "concat", "stack", "add", "add_", "__add__", "__radd__", "__iadd__", "sum", "mean",
    "relu", "relu_", "clamp", "sigmoid", "tanh", "hardtanh", "relu6",
    "max_pool1d", "_max_pool1d", "max_pool2d", "_max_pool2d", "max_pool3d", "_max_pool3d", "avg_pool1d", "avg_pool2d",
    "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d",
    "_adaptive_max_pool1d", "adaptive_max_pool2d", "_adaptive_max_pool2d",
))  # fmt: skip
"""Operations whose answer never falls where an input rises: each end goes through by itself."""

DROPPING = frozenset(("dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout", "alpha_dropout"))
"""Operations that do nothing in evaluation."""

ASKING = frozenset(("__get__", "dim", "size", "__len__", "numel", "ndimension", "is_floating_point", "element_size"))
"""Questions about shape, dtype and device."""

LINEAR: Mapping[str, Callable[..., Tensor]] = {
    "linear": functional.linear, "conv1d": torch.conv1d, "conv2d": torch.conv2d, "conv3d": torch.conv3d,
}  # fmt: skip


class Ends(Tensor):
    """The lower ends of intervals as a tensor, which carries the upper ones; what runs on it runs on both.

    Made by `ends_of`. Whatever cannot be said to hold for intervals is refused.
    """

    high: Tensor

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 (whatever the operation answers)
        """What an operation makes of intervals."""
        kwargs = dict(kwargs or {})
        name = func.__name__
        if name in DROPPING and not kwargs.get("training", len(args) > 2 and args[2]):
            return args[0]
        if name in ASKING:
            answer = func(*_side(args, high=False), **_side(kwargs, high=False))
            if not isinstance(answer, Tensor):
                return answer
        elif name in RISING and kwargs.get("alpha", 1) >= 0:
            low, high = (func(*_side(args, high=high), **_side(kwargs, high=high)) for high in (False, True))
            if isinstance(low, Tensor):
                return ends_of(low, high)
        elif name in LINEAR and isinstance(args[0], Ends) and not any(isinstance(a, Ends) for a in args[1:]):
            return _linear(LINEAR[name], *args, **kwargs)
        elif name == "batch_norm" and not kwargs.get("training", True):
            return _batch_norm(*args, **kwargs)
        raise BadInput(
            f"intervals go through linear, convolution and normalisation layers in evaluation, sums, ReLU, pooling and "
            f"reshaping; not through {name!r}"
        )


def ends_of(low: Tensor, high: Tensor) -> Ends:
    """Intervals that a network can be run on, in evaluation mode.

        linear map W x + b of [c - r, c + r]:    [W c + b - |W| r, W c + b + |W| r]
        a + b, ReLU, pooling, reshaping:         each end by itself

    Args:
        low, high: (n, ...) ends of one shape, low <= high.

    Returns: a tensor with the values of `low` that carries `high`; `sides` takes it apart.

    Source: Gowal et al. 2018, "On the Effectiveness of Interval Bound Propagation for Training Verifiably Robust
    Models", arXiv:1810.12715.
    """
    ends: Ends = low.as_subclass(Ends)
    ends.high = high
    return ends


def sides(ends: Tensor) -> tuple[Tensor, Tensor]:
    """The lower and the upper ends, as plain tensors.

    Raises:
        BadInput: something that is no longer an interval.
    """
    if not isinstance(ends, Ends):
        raise BadInput(f"what came out of the network are no intervals, but a {type(ends).__name__}")
    return _plain(ends), ends.high


def _plain(ends: Ends) -> Tensor:
    with torch._C.DisableTorchFunctionSubclass():
        return ends.as_subclass(Tensor)


def _side(given: Any, *, high: bool) -> Any:  # noqa: ANN401 (arguments of any operation)
    """Arguments with plain tensors in place of intervals: their upper ends, or the lower ones."""
    return pytree.tree_map_only(Ends, lambda ends: ends.high if high else _plain(ends), given)


def _linear(
    run: Callable[..., Tensor],
    ends: Ends,
    weight: Tensor,
    bias: Tensor | None = None,
    *rest: Any,  # noqa: ANN401 (stride, padding and so on)
    **more: Any,  # noqa: ANN401
) -> Ends:
    low, high = sides(ends)
    middle = run((high + low) / 2, weight, bias, *rest, **more)
    spread = run((high - low) / 2, weight.abs(), None, *rest, **more)
    return ends_of(middle - spread, middle + spread)


def _batch_norm(
    ends: Ends,
    mean: Tensor | None,
    variance: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    **_: Any,  # noqa: ANN401 (momentum and such)
) -> Ends:
    low, high = sides(ends)
    if mean is None or variance is None:
        raise BadInput("intervals go through batch normalisation with running statistics; this one has none")
    scale = (variance + eps).rsqrt() * (1 if weight is None else weight)
    shift = (0 if bias is None else bias) - mean * scale
    scale, shift = (values.reshape(1, -1, *[1] * (low.ndim - 2)) for values in (scale, shift))
    one, other = low * scale + shift, high * scale + shift
    return ends_of(torch.minimum(one, other), torch.maximum(one, other))
