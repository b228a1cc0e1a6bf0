"""The structure of a plain network: layers in a row, each feeding only the next.

A plain network is an nn.Sequential (nested ones are read through) of linear and convolution layers with channel-wise
modules between them. For each of its layers but the last, removing output channel u means removing

    entry u, dimension 0, of the layer's weight and bias and of the normalisation that follows, and
    entry u (linear layers after a flatten: a block of entries), dimension 1, of the next layer's weight.

Nothing else reads the channel, so the smaller network computes what the masked one computes. That is proved by running
both (see prudent.surgery.shrinking), not taken from here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import nn

from prudent.computed import check_plain_numbers
from prudent.errors import CannotPrune
from prudent.network import is_sequence
from prudent.surgery.parameters import overlapping

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

ELEMENTWISE = (
    nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh,
    nn.Hardtanh, nn.Hardswish, nn.Softsign, nn.Tanhshrink,
)  # fmt: skip
"""Activations that turn zero into zero."""

KEEPS_ZERO = (
    *ELEMENTWISE,
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d,
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
    nn.Flatten,
)  # fmt: skip
"""Modules that act on each channel by itself and turn an all-zero channel into an all-zero channel."""


@dataclass(frozen=True)
class Link:
    """One layer whose output channels can be removed, and what goes with them.

    Args:
        layer: name of the layer that makes the channels.
        norms: names of the batch normalisations between it and the next layer.
        activation: name of the module that makes the activations: the last one after the layer that works on each
            element by itself before anything pools, drops or flattens; the layer or its normalisation if there is none.
        reader: name of the next layer, which reads the channels.
        channels: how many there are.
        block: how many inputs of the reader belong to one channel (more than 1 after a flatten).
    """

    layer: str
    norms: tuple[str, ...]
    activation: str
    reader: str
    channels: int
    block: int

    @property
    def weight(self) -> str:
        """Name of the layer's weight, under which masks file the channels."""
        return f"{self.layer}.weight"

    @property
    def units(self) -> np.ndarray:
        """Which channel each input of the reader belongs to, counted from 1."""
        return np.repeat(np.arange(1, self.channels + 1), self.block)


def _check_plain(model: nn.Module) -> None:
    if not is_sequence(model):
        raise CannotPrune(
            f"without an example whole channels can be removed from plain networks (nn.Sequential) for now; got "
            f'{type(model).__name__}: pass example=..., or prune single weights instead (granularity="weight")'
        )
    check_plain_numbers(model)


def links(model: nn.Module) -> tuple[Link, ...]:
    """The removable layers of a plain network, first to last. The last layer makes the classes and is not among them.

    Raises:
        CannotPrune: the network is not plain; says which module is in the way.
    """
    _check_plain(model)
    found: list[Link] = []
    layer: tuple[str, int] | None = None
    norms: list[str] = []
    activation, open_ = "", False
    seen: set[int] = set()
    for name, module in in_a_row(model):
        own = {id(parameter) for parameter in module.parameters()}
        if own & seen:
            raise CannotPrune(f"weights of module {name!r} are used twice; channels cannot be removed for one use only")
        seen |= own
        if isinstance(module, LAYERS):
            inputs, outputs = _channels(name, module)
            if layer is not None:
                if inputs % layer[1]:
                    raise CannotPrune(f"{name!r} reads {inputs} inputs, no multiple of the {layer[1]} of {layer[0]!r}")
                found.append(Link(layer[0], tuple(norms), activation, name, layer[1], inputs // layer[1]))
            layer, norms, activation, open_ = (name, outputs), [], name, True
        elif isinstance(module, NORMS):
            if not module.affine:
                raise CannotPrune(f"batch normalisation {name!r} has no weights that could silence a channel")
            norms.append(name)
            activation = name if open_ else activation
        elif isinstance(module, ELEMENTWISE):
            activation = name if open_ else activation
        elif isinstance(module, KEEPS_ZERO):
            open_ = False
        else:
            raise CannotPrune(
                f"module {name!r} ({type(module).__name__}) is not known to keep channels apart and a zero at zero; "
                'prune single weights instead (granularity="weight")'
            )
    if not found:
        raise CannotPrune("channels can be removed between two layers; this network has fewer than two")
    shared = overlapping(model.state_dict(keep_vars=True))
    if shared:
        raise CannotPrune(
            f"{min(shared)!r} shares its memory with a parameter of another shape, so both must stay whole"
        )
    return tuple(found)


def in_a_row(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The modules of a plain network with their names, in the order in which they run; one that runs twice, twice."""
    for name, module in model._modules.items():  # named_children leaves out a module that occurs again
        if module is None:
            continue
        if is_sequence(module):
            yield from in_a_row(module, f"{prefix}{name}.")
        else:
            yield prefix + name, module


def _channels(name: str, module: nn.Module) -> tuple[int, int]:
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if getattr(module, "groups", 1) != 1:
        raise CannotPrune(f"layer {name!r} is a grouped convolution; its channels cannot be removed one by one yet")
    return int(module.in_channels), int(module.out_channels)  # type: ignore[arg-type]
