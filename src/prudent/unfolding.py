"""Linear and convolution layers as one matrix product: what they read as rows, what they hold as columns.

    output rows (groups, n, outputs) = rows (groups, n, columns) @ matrix (groups, outputs, columns) transposed, + bias

For a linear layer n counts the examples (times any middle axes) and groups is 1. For a convolution n counts the
examples times the output positions, and columns are (input channels of the group x kernel positions) in the order of
the weight's own dimensions.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, conv2d, conv3d

from prudent.errors import CannotPrune

Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
CONVOLUTIONS: tuple[Callable[..., Tensor], ...] = (conv1d, conv2d, conv3d)
"""By number of dimensions, from 1."""


def product(layer: nn.Module) -> Layer:
    """The layer, if it is one that multiplies rows with a matrix.

    Raises:
        CannotPrune: another kind of layer, a transposed convolution for one.
    """
    if not isinstance(layer, Layer):
        raise CannotPrune(f"linear and convolution layers are matrix products; {type(layer).__name__} is none of them")
    return layer


def matrix(layer: nn.Module, weight: Tensor | None = None) -> Tensor:
    """The weight of a linear or convolution layer as (groups, outputs of the group, columns).

    A view where the weight is contiguous; `unmatrix` undoes it.

    Args:
        layer: linear or convolution.
        weight: in place of the layer's own, of its shape.

    Raises:
        CannotPrune: another kind of layer, a transposed convolution for one.
    """
    layer = product(layer)
    weight = layer.weight.detach() if weight is None else weight
    groups = groups_of(layer)
    return weight.reshape(groups, weight.shape[0] // groups, math.prod(weight.shape[1:]))


def unmatrix(layer: nn.Module, values: Tensor) -> Tensor:
    """A tensor (groups, outputs, columns) back in the shape of the layer's weight."""
    return values.reshape(product(layer).weight.shape)


def spread_columns(values: Tensor, channels: np.ndarray, columns: Tensor) -> Tensor:
    """One number for each channel, at the columns of a matrix that belong to the channel.

    Args:
        values: (numbers,).
        channels: which of them stands at each input of the layer, (inputs,).
        columns: the matrix, (groups, outputs, columns).

    Returns: (groups, 1, columns), of the matrix's kind.
    """
    of_inputs = values[torch.from_numpy(channels).to(values.device)].to(columns)
    groups, _, width = columns.shape
    return of_inputs.repeat_interleave(groups * width // len(channels)).reshape(groups, 1, width)


def rows(layer: nn.Module, inputs: Tensor) -> Tensor:
    """What the layer multiplies with its weight, as (groups, n, columns).

    Args:
        layer: linear or convolution, of any stride, padding, dilation and groups.
        inputs: as the layer gets them, with a batch axis.

    Raises:
        CannotPrune: another kind of layer.
    """
    layer = product(layer)
    if isinstance(layer, nn.Linear):
        return inputs.reshape(1, -1, layer.in_features)
    groups = layer.groups
    if layer.padding_mode != "zeros":
        inputs = nn.functional.pad(inputs, layer._reversed_padding_repeated_twice, mode=layer.padding_mode)
    padding = layer.padding if layer.padding_mode == "zeros" else 0
    channels, size = layer.in_channels, math.prod(layer.kernel_size)
    # a convolution whose kernels each pick one element of the patch: exact for every stride, dilation and dimension
    pick = torch.eye(size, dtype=inputs.dtype, device=inputs.device).reshape(size, 1, *layer.kernel_size)
    unfolded = CONVOLUTIONS[len(layer.kernel_size) - 1](
        inputs,
        pick.repeat(channels, *[1] * (pick.ndim - 1)),
        stride=layer.stride,
        padding=padding,
        dilation=layer.dilation,
        groups=channels,
    )  # (batch, channels * size, *positions)
    columns = channels // groups * size
    flat = unfolded.flatten(2).reshape(len(inputs), groups, columns, -1)
    return flat.permute(1, 0, 3, 2).reshape(groups, -1, columns)


def groups_of(layer: nn.Module) -> int:
    """Number of groups, 1 for a linear layer."""
    layer = product(layer)
    return 1 if isinstance(layer, nn.Linear) else layer.groups
