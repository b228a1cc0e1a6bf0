"""VGG for small images."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from prudent.errors import BadInput
from prudent.models._checks import check_classes, check_image, check_rate
from prudent.models._initialisation import Init, check_init, initialise

STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Depth -> convolutions of each stage."""

WIDTHS = (64, 128, 256, 512, 512)
"""Output channels of the convolutions of each stage."""


def vgg(
    shape: Sequence[int],
    classes: int,
    *,
    depth: int = 16,
    norm: bool = True,
    dropout: float = 0.0,
    init: Init = "he_normal",
) -> nn.Sequential:
    """VGG-11, 13, 16 or 19 as used for CIFAR: five stages of 3x3 convolutions with max-pooling, one linear layer.

    For 32x32 colour images and 10 classes, VGG-16: 14,728,266 parameters with batch normalisation, 14,719,818 without;
    313,201,664 multiply-accumulates.

    Args:
        shape: (channels, height, width) of one image, at least 32 x 32; larger maps are averaged before the last layer.
        classes: number of logits.
        depth: 11, 13, 16 or 19. The paper counts two more linear layers, which CIFAR networks leave out.
        norm: batch normalisation after each convolution.
        dropout: rate before the last layer, in [0, 1).
        init: how weights are drawn.

    Returns: a plain network (nn.Sequential); inputs (batch, channels, height, width), logits (batch, classes). The
        convolutions of stage s are conv{s}_1, conv{s}_2, ...

    Raises:
        BadInput: no image or one that is too small, no classes, another depth, a rate outside [0, 1), an unknown init.

    Source: Simonyan & Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
    arXiv:1409.1556, table 1 (A, B, D, E); with one linear layer of 512 inputs, as pruning papers use it for CIFAR.
    """
    channels, _, _ = check_image("vgg", shape, smallest=32)
    check_classes("vgg", classes)
    if depth not in STAGES:
        raise BadInput(f"model 'vgg' needs a depth among {', '.join(map(str, STAGES))}; got {depth}")
    check_rate("vgg", "dropout", dropout)
    check_init("vgg", init)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for stage, (units, repeats) in enumerate(zip(WIDTHS, STAGES[depth], strict=True), start=1):
        for i in range(1, repeats + 1):
            layers[f"conv{stage}_{i}"] = nn.Conv2d(channels, units, 3, padding=1)
            if norm:
                layers[f"norm{stage}_{i}"] = nn.BatchNorm2d(units)
            layers[f"relu{stage}_{i}"] = nn.ReLU()
            channels = units
        layers[f"pool{stage}"] = nn.MaxPool2d(2)
    layers["average"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    if dropout > 0:
        layers["dropout"] = nn.Dropout(dropout)
    layers["fc"] = nn.Linear(channels, classes)
    model = nn.Sequential(layers)
    initialise(model, init)
    return model
