"""What a network can answer for any input of a box: interval bound propagation, and margins that it proves."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from prudent.errors import BadInput
from prudent.network import is_sequence

MONOTONE = (
    nn.ReLU, nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.Flatten,
)  # fmt: skip
"""Layers whose answer never falls where an input rises: each end of the interval goes through by itself."""

SILENT = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
"""Layers that do nothing in evaluation."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Enclosure:
    """Intervals that hold every answer of a network, in float64.

    Args:
        low, high: (n, ...) ends of the intervals.
        unstable: of each ReLU in order, the fraction of its inputs whose interval has 0 inside: there the ReLU is
            neither always off nor always on, and the intervals become loose.
    """

    low: Tensor
    high: Tensor
    unstable: tuple[float, ...]


def enclose(model: nn.Module, low: Tensor, high: Tensor) -> Enclosure:
    """Intervals for the answers of a network to all inputs between `low` and `high`.

        linear map W x + b of [c - r, c + r]:    [W c + b - |W| r, W c + b + |W| r]

    Args:
        model: layers in a row (nn.Sequential, nested too) of linear, convolution, batch normalisation (in evaluation),
            ReLU, max and average pooling, flatten, dropout (in evaluation). Not changed.
        low, high: (n, ...) ends of the box of each input, low <= high.

    Returns: (n, classes) intervals. They hold for exact arithmetic: rounding of float64 is not added, nor that of a
        network in float32, whose answers may leave an interval by about 1e-6 of their size.

    Raises:
        BadInput: ends of different shapes or in the wrong order, a layer of another kind, a network that does not run
            on such inputs.

    Source: Gowal et al. 2018, "On the Effectiveness of Interval Bound Propagation for Training Verifiably Robust
    Models", arXiv:1810.12715.
    """
    with torch.no_grad():
        return _enclose(layers_of(model), low.double(), high.double())


def proved_margins(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    radius: float,
    box: tuple[float, float] | None = (0.0, 1.0),
) -> Float[Tensor, " n"]:
    """How far the true class stays ahead of every other one, at least, whatever is added to an input within a radius.

        min over classes j other than y of a lower end of    logit_y - logit_j
        on the box |x' - x| <= radius in every value, cut to `box`

    The differences are taken in the last linear layer, which is tighter than comparing two intervals.

    Args:
        model: as for `enclose`.
        inputs: (n, ...) within the box.
        labels: (n,) true classes.
        radius: largest change of a value (L-infinity), >= 0.
        box: smallest and largest value that an input may have; None for no limit.

    Returns: (n,) float64; above 0 no such change makes the network err: the example is certified.

    Raises:
        BadInput: as `enclose`; a negative radius, inputs outside of the box, labels of another length.

    Source: Gowal et al. 2018, arXiv:1810.12715, section 3 (the specification merged with the last layer).
    """
    check_ball(inputs, labels, radius, box)
    with torch.no_grad():
        least = margins_within(layers_of(model), *ball(inputs.double(), radius, box), labels)
    return least.scatter(1, labels[:, None], float("inf")).amin(1)


def margins_within(layers: tuple[nn.Module, ...], low: Tensor, high: Tensor, labels: Tensor) -> Tensor:
    """How far the true class stays ahead of each other one, at least, in a box; gradients flow, in the inputs' dtype.

    Args:
        layers: of a network (`layers_of`), the last one linear.
        low, high: (n, ...) ends of the box.
        labels: (n,) true classes.

    Returns: (n, classes) lower ends of logit_y - logit_j; 0 for the true class itself.

    Raises:
        BadInput: as `enclose`; a last layer that is not linear.
    """
    last = layers[-1] if layers else None
    if not isinstance(last, nn.Linear):
        raise BadInput(
            f"margins are proved for networks that end in a linear layer; this ends in {type(last).__name__}"
        )
    before = _enclose(layers[:-1], low, high)
    weight = last.weight.to(low.dtype)
    middle, spread = (before.high + before.low) / 2, (before.high - before.low) / 2
    ahead = weight[labels][:, None] - weight
    least = (ahead @ middle[:, :, None]).squeeze(2) - (ahead.abs() @ spread[:, :, None]).squeeze(2)
    if last.bias is not None:
        bias = last.bias.to(low.dtype)
        least = least + bias[labels][:, None] - bias
    return least


def check_ball(inputs: Tensor, labels: Tensor, radius: float, box: tuple[float, float] | None) -> None:
    """Refuse a radius that is none, inputs outside of the box, and labels that are not one class for each input."""
    if not 0 <= radius < float("inf"):
        raise BadInput(f"a radius is a finite number >= 0; got {radius}")
    if labels.shape != inputs.shape[:1] or labels.is_floating_point():
        raise BadInput(
            f"{len(inputs)} inputs need as many integer labels; got {labels.dtype} of shape {tuple(labels.shape)}"
        )
    if box is not None and not (float(inputs.min()) >= box[0] and float(inputs.max()) <= box[1]):
        raise BadInput(f"inputs lie in the box {box}: give box=None for normalised inputs")


def ball(inputs: Tensor, radius: float, box: tuple[float, float] | None) -> tuple[Tensor, Tensor]:
    """Ends of all inputs within a radius (L-infinity) of the given ones, cut to the box."""
    low, high = inputs - radius, inputs + radius
    return (low, high) if box is None else (low.clamp(*box), high.clamp(*box))


def layers_of(model: nn.Module) -> tuple[nn.Module, ...]:
    """The layers of a plain network in order, those of sequences within it in their place.

    Raises:
        BadInput: a layer that intervals cannot be sent through.
    """
    return tuple(_unfolded(model, ""))


def _unfolded(module: nn.Module, name: str) -> Iterator[nn.Module]:
    if is_sequence(module):
        for child, part in module.named_children():
            yield from _unfolded(part, f"{name}.{child}".lstrip("."))
        return
    norm = isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.running_mean is not None
    conv = isinstance(module, (nn.Conv1d, nn.Conv2d)) and module.padding_mode == "zeros"
    pool = isinstance(module, (nn.MaxPool1d, nn.MaxPool2d)) and module.return_indices
    hooked = bool(module._forward_hooks or module._forward_pre_hooks) or hasattr(module, "parametrizations")
    if hooked or pool or not (norm or conv or isinstance(module, (*MONOTONE, *SILENT, nn.Linear))):
        raise BadInput(
            f"intervals go through layers in a row: linear, convolution with zeros around, batch normalisation with "
            f"running statistics, ReLU, pooling, flatten and dropout, without hooks; {name or 'the network'} is "
            f"{type(module).__name__}"
        )
    if not isinstance(module, SILENT):
        yield module


def _enclose(layers: tuple[nn.Module, ...], low: Tensor, high: Tensor) -> Enclosure:
    if low.shape != high.shape or low.ndim < 2 or not bool((low <= high).all()):
        raise BadInput(
            f"a box needs two ends of one shape (n, ...), low <= high; got {tuple(low.shape)} and {tuple(high.shape)}"
        )
    unstable = []
    for layer in layers:
        if isinstance(layer, nn.ReLU):
            unstable.append(float(((low < 0) & (high > 0)).double().mean()))
        low, high = after(layer, low, high)
    return Enclosure(low=low, high=high, unstable=tuple(unstable))


def after(layer: nn.Module, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The ends of a box after one of the layers of `layers_of`.

    Raises:
        BadInput: the layer does not run on such inputs.
    """
    try:
        if isinstance(layer, nn.ReLU):
            return low.clamp(min=0), high.clamp(min=0)
        if isinstance(layer, MONOTONE):
            return layer(low), layer(high)
        middle, spread = _through(layer, (high + low) / 2, (high - low) / 2)
    except (RuntimeError, ValueError) as error:
        raise BadInput(
            f"{type(layer).__name__} does not run on inputs of shape {tuple(low.shape)}: {str(error).splitlines()[0]}"
        ) from error
    return middle - spread, middle + spread


def _through(layer: nn.Module, middle: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    """Middle and half width of a box after a linear map."""
    if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
        return _normalised(layer, middle, spread)
    assert isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d))  # noqa: S101 (layers_of has refused all others)
    weight = layer.weight.to(middle.dtype)
    bias = None if layer.bias is None else layer.bias.to(middle.dtype)
    if isinstance(layer, nn.Linear):
        return functional.linear(middle, weight, bias), functional.linear(spread, weight.abs())
    convolve = torch.conv1d if isinstance(layer, nn.Conv1d) else torch.conv2d
    own, step, wide, groups = layer.padding, layer.stride, layer.dilation, layer.groups

    def run(values: Tensor, kernel: Tensor, shift: Tensor | None) -> Tensor:
        return convolve(values, kernel, shift, step, own, wide, groups)

    return run(middle, weight, bias), run(spread, weight.abs(), None)


def _normalised(layer: nn.BatchNorm1d | nn.BatchNorm2d, middle: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    assert layer.running_mean is not None  # noqa: S101 (layers_of has refused others)
    assert layer.running_var is not None  # noqa: S101
    shape, like = (1, -1, *[1] * (middle.ndim - 2)), middle.dtype
    scale = (layer.running_var.to(like) + layer.eps).rsqrt()
    shift = -layer.running_mean.to(like) * scale
    if layer.affine:
        scale, shift = scale * layer.weight.to(like), shift * layer.weight.to(like) + layer.bias.to(like)
    return middle * scale.reshape(shape) + shift.reshape(shape), spread * scale.abs().reshape(shape)
