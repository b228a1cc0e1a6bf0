"""MobileNetV2."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal, get_args

from torch import Tensor, nn

from prudent.errors import BadInput
from prudent.models._checks import check_classes, check_image, check_rate, check_word
from prudent.models._initialisation import Init, check_init, initialise

Stem = Literal["imagenet", "cifar"]
"""Whether the first convolution and the second stage halve the image ("imagenet") or keep it ("cifar")."""

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, output channels, blocks, stride of the first block: the paper's table 2."""


class InvertedResidual(nn.Module):
    """Widen, convolve each channel by itself, narrow; added to what came in where it fits.

        y = x + project(relu6(depthwise(relu6(expand(x)))))

    Each of the three convolutions is normalised; "x +" is left out where stride or channels change, and the expansion
    where it is 1.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int, expansion: int) -> None:
        """Channels in and out, stride of the depthwise convolution, how many times wider it is than the input."""
        super().__init__()
        hidden = inputs * expansion
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if expansion != 1:
            layers["expand"] = nn.Conv2d(inputs, hidden, 1, bias=False)
            layers["norm1"] = nn.BatchNorm2d(hidden)
            layers["relu1"] = nn.ReLU6()
        layers["depthwise"] = nn.Conv2d(hidden, hidden, 3, stride=stride, padding=1, groups=hidden, bias=False)
        layers["norm2"] = nn.BatchNorm2d(hidden)
        layers["relu2"] = nn.ReLU6()
        layers["project"] = nn.Conv2d(hidden, outputs, 1, bias=False)
        layers["norm3"] = nn.BatchNorm2d(outputs)
        self.residual = nn.Sequential(layers)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (batch, inputs, height, width) -> (batch, outputs, height / stride, width / stride), rounded up."""
        answer: Tensor = self.residual(x)
        return x + answer if self.adds else answer


def mobilenet_v2(
    shape: Sequence[int],
    classes: int,
    *,
    stem: Stem = "imagenet",
    width: float = 1.0,
    dropout: float = 0.2,
    init: Init = "he_normal",
) -> nn.Sequential:
    """Seventeen inverted residual blocks of depthwise convolutions between a first and a last convolution.

    3,504,872 parameters and 300,774,272 multiply-accumulates for 224x224 colour images and 1,000 classes; 2,236,682
    parameters for 10 classes.

    Args:
        shape: (channels, height, width) of one image, at least 32 x 32, or 8 x 8 with the CIFAR stem.
        classes: number of logits.
        stem: "imagenet" divides height and width by 32 on the way, "cifar" by 8.
        width: factor on all channels, which are rounded to multiples of 8; the last convolution never has fewer than
            1,280.
        dropout: rate before the last layer, in [0, 1).
        init: how weights are drawn.

    Returns: a network; inputs (batch, channels, height, width), logits (batch, classes).

    Raises:
        BadInput: no image or one that is too small, no classes, a width of 0 or less, a rate outside [0, 1), an unknown
            stem or init.

    Source: Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", arXiv:1801.04381, table 2.
    """
    name = "mobilenet_v2"
    check_word(name, "stem", stem, get_args(Stem))
    large = stem == "imagenet"
    instead = 'set stem="cifar"' if large else ""
    channels, _, _ = check_image(name, shape, smallest=32 if large else 8, instead=instead)
    check_classes(name, classes)
    if not width > 0:
        raise BadInput(f"model {name!r} needs a width above 0; got {width}")
    check_rate(name, "dropout", dropout)
    check_init(name, init)
    inputs = _round(32 * width)
    layers = _convolution("first", channels, inputs, 3, stride=2 if large else 1)
    for i, (expansion, outputs, blocks, stride) in enumerate(STAGES, start=1):
        units = _round(outputs * width)
        first = InvertedResidual(inputs, units, stride=stride if large or i != 2 else 1, expansion=expansion)
        rest = [InvertedResidual(units, units, stride=1, expansion=expansion) for _ in range(blocks - 1)]
        layers[f"stage{i}"] = nn.Sequential(first, *rest)
        inputs = units
    units = _round(1280 * max(1.0, width))
    layers |= _convolution("last", inputs, units, 1, stride=1)
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["dropout"] = nn.Dropout(dropout)
    layers["fc"] = nn.Linear(units, classes)
    model = nn.Sequential(layers)
    initialise(model, init)
    return model


def _convolution(name: str, inputs: int, outputs: int, size: int, *, stride: int) -> OrderedDict[str, nn.Module]:
    return OrderedDict(
        {
            f"conv_{name}": nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False),
            f"norm_{name}": nn.BatchNorm2d(outputs),
            f"relu_{name}": nn.ReLU6(),
        }
    )


def _round(channels: float) -> int:
    """The nearest multiple of 8, but at least 8, and never below 90 % of what was asked for."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8
