"""Densely connected networks for small images."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from prudent.errors import BadInput
from prudent.models._checks import check_classes, check_depth, check_image, check_rate, check_sizes
from prudent.models._initialisation import Init, check_init, initialise


class DenseLayer(nn.Module):
    """New channels computed from all earlier ones, which they are added to: y = [x, new(x)]."""

    def __init__(self, inputs: int, growth: int, *, bottleneck: bool, dropout: float) -> None:
        """`growth` new channels from `inputs`; with a bottleneck, through 4 * growth channels of a 1x1 convolution."""
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict(norm1=nn.BatchNorm2d(inputs), relu1=nn.ReLU())
        if bottleneck:
            layers["conv1"] = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
            layers["norm2"] = nn.BatchNorm2d(4 * growth)
            layers["relu2"] = nn.ReLU()
            layers["conv2"] = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)
        else:
            layers["conv1"] = nn.Conv2d(inputs, growth, 3, padding=1, bias=False)
        layers["dropout"] = nn.Dropout(dropout)
        self.new = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (batch, inputs, height, width) -> (batch, inputs + growth, height, width)."""
        return torch.cat((x, self.new(x)), dim=1)


def densenet_cifar(
    shape: Sequence[int],
    classes: int,
    *,
    depth: int = 22,
    growth: int = 12,
    bottleneck: bool = True,
    compression: float = 0.5,
    dropout: float = 0.0,
    init: Init = "he_normal",
) -> nn.Sequential:
    """DenseNet-BC for CIFAR: three blocks in which every layer reads all earlier ones, with poolings between them.

    The defaults are the DenseNet-22 of "Lost in Pruning": for 32x32 colour images and 10 classes 71,686 parameters,
    31,238,322 multiply-accumulates.
    DenseNet-BC-100-12 is depth=100 (769,162 parameters); the plain DenseNet-40-12 is depth=40, bottleneck=False,
    compression=1.0 (1,019,722).

    Args:
        shape: (channels, height, width) of one image, at least 4 x 4.
        classes: number of logits.
        depth: 6 n + 4 with bottlenecks (22, 40, 100, 190, ...), 3 n + 4 without.
        growth: new channels of each layer.
        bottleneck: a 1x1 convolution to 4 * growth channels before each 3x3 convolution, and 2 * growth channels
            instead of 16 after the first convolution.
        compression: channels that remain between two blocks, in (0, 1].
        dropout: rate after each new layer, in [0, 1).
        init: how weights are drawn.

    Returns: a network; inputs (batch, channels, height, width), logits (batch, classes).

    Raises:
        BadInput: no image or one that is too small, no classes, another depth, no growth, a compression that leaves no
            channel or is above 1, a rate outside [0, 1), an unknown init.

    Source: Huang et al. 2017, "Densely Connected Convolutional Networks", arXiv:1608.06993, section 3; depth 22 as in
    Liebenwein et al. 2021, "Lost in Pruning", arXiv:2103.03014.
    """
    name = "densenet_cifar"
    channels, _, _ = check_image(name, shape, smallest=4)
    check_classes(name, classes)
    blocks = check_depth(name, depth, step=6 if bottleneck else 3, offset=4, usual="22, 40, 100")
    check_sizes(name, "growth", (growth,))
    if not 0 < compression <= 1:
        raise BadInput(f"model {name!r} needs compression in (0, 1]; got {compression}")
    check_rate(name, "dropout", dropout)
    check_init(name, init)
    size = 2 * growth if bottleneck else 16
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=nn.Conv2d(channels, size, 3, padding=1, bias=False))
    for i in range(1, 4):
        inputs = range(size, size + blocks * growth, growth)
        dense = [DenseLayer(before, growth, bottleneck=bottleneck, dropout=dropout) for before in inputs]
        layers[f"block{i}"] = nn.Sequential(*dense)
        size += blocks * growth
        if i < 3:
            layers[f"transition{i}"] = _transition(size, max(1, int(size * compression)))
            size = max(1, int(size * compression))
    layers["norm"] = nn.BatchNorm2d(size)
    layers["relu"] = nn.ReLU()
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(size, classes)
    model = nn.Sequential(layers)
    initialise(model, init)
    return model


def _transition(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(inputs),
            relu=nn.ReLU(),
            conv=nn.Conv2d(inputs, outputs, 1, bias=False),
            pool=nn.AvgPool2d(2),
        )
    )
