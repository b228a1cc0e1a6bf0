"""ResNet-18."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal, get_args

from torch import nn

from prudent.models._checks import check_classes, check_image, check_word
from prudent.models._initialisation import Init, check_init, initialise
from prudent.models._residual import stage

Stem = Literal["imagenet", "cifar"]
"""How the network begins: a 7x7 convolution and a max-pooling, both of stride 2, or a 3x3 convolution of stride 1."""


def resnet_18(
    shape: Sequence[int], classes: int, *, stem: Stem = "imagenet", norm: bool = True, init: Init = "he_normal"
) -> nn.Sequential:
    """Four stages of two basic blocks each, with 64, 128, 256 and 512 channels.

    11,689,512 parameters and 1,814,073,344 multiply-accumulates for 224x224 colour images and 1,000 classes; 11,173,962
    and 555,422,720 with the CIFAR stem for 32x32 and 10 classes.

    Args:
        shape: (channels, height, width) of one image, at least 32 x 32, or 8 x 8 with the CIFAR stem.
        classes: number of logits.
        stem: "imagenet" divides height and width by 4 before the first block, "cifar" does not.
        norm: batch normalisation; without it (as in DropNet) convolutions have biases.
        init: how weights are drawn.

    Returns: a network; inputs (batch, channels, height, width), logits (batch, classes). Layers are called as in
        torchvision (conv1, bn1, layer1.0.conv1, ..., layer2.0.downsample.0, ..., fc), so that its weights load as they
        are.

    Raises:
        BadInput: no image or one that is too small, no classes, an unknown stem or init.

    Source: He et al. 2016, "Deep Residual Learning for Image Recognition", arXiv:1512.03385, table 1; the CIFAR stem is
    common practice since. Without normalisation: Tan & Motani 2020, arXiv:2207.06646.
    """
    check_word("resnet_18", "stem", stem, get_args(Stem))
    large = stem == "imagenet"
    instead = 'set stem="cifar"' if large else ""
    channels, _, _ = check_image("resnet_18", shape, smallest=32 if large else 8, instead=instead)
    check_classes("resnet_18", classes)
    check_init("resnet_18", init)
    size, stride, padding = (7, 2, 3) if large else (3, 1, 1)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(channels, 64, size, stride=stride, padding=padding, bias=not norm),
        bn1=nn.BatchNorm2d(64) if norm else nn.Identity(),
        relu=nn.ReLU(),
    )
    if large:
        layers["maxpool"] = nn.MaxPool2d(3, stride=2, padding=1)
    layers["layer1"] = stage(64, 64, 2, stride=1, norm=norm)
    layers["layer2"] = stage(64, 128, 2, stride=2, norm=norm)
    layers["layer3"] = stage(128, 256, 2, stride=2, norm=norm)
    layers["layer4"] = stage(256, 512, 2, stride=2, norm=norm)
    layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(512, classes)
    model = nn.Sequential(layers)
    initialise(model, init)
    return model
