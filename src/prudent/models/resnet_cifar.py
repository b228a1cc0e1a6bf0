"""ResNet-20, 32, 44, 56, 110 for small images."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import get_args

from torch import nn

from prudent.models._checks import check_classes, check_depth, check_image, check_sizes, check_word
from prudent.models._initialisation import Init, check_init, initialise
from prudent.models._residual import Shortcut, stage


def resnet_cifar(
    shape: Sequence[int],
    classes: int,
    *,
    depth: int = 20,
    shortcut: Shortcut = "A",
    width: int = 16,
    init: Init = "he_normal",
) -> nn.Sequential:
    """The residual networks for CIFAR: a 3x3 convolution, three stages of basic blocks, averaging, one linear layer.

    For 32x32 colour images and 10 classes, option A: 269,722 (20), 464,154 (32), 658,586 (44), 853,018 (56) and
    1,727,962 (110) parameters; 40,551,040 multiply-accumulates (20).

    Args:
        shape: (channels, height, width) of one image, at least 4 x 4.
        classes: number of logits.
        depth: 6 n + 2: 20, 32, 44, 56, 110, ...
        shortcut: where channels double, "A" takes every second pixel and pads with channels of zeros (half before, half
            behind; no parameters), "B" convolves with 1x1 kernels and normalises.
        width: channels of the first stage; they double twice.
        init: how weights are drawn.

    Returns: a network; inputs (batch, channels, height, width), logits (batch, classes). Layers are called conv1, bn1,
        layer1.0.conv1, ..., layer3.2.bn2, linear, so that weights published under these names load as they are.

    Raises:
        BadInput: no image or one that is too small, no classes, another depth, no width, an unknown shortcut or init.

    Source: He et al. 2016, "Deep Residual Learning for Image Recognition", arXiv:1512.03385, section 4.2. The paper
    does not say where the channels of zeros go.
    """
    name = "resnet_cifar"
    channels, _, _ = check_image(name, shape, smallest=4)
    check_classes(name, classes)
    blocks = check_depth(name, depth, step=6, offset=2, usual="20, 32, 44, 56, 110")
    check_word(name, "shortcut", shortcut, get_args(Shortcut))
    check_sizes(name, "width", (width,))
    check_init(name, init)
    model = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, width, 3, padding=1, bias=False),
            bn1=nn.BatchNorm2d(width),
            relu=nn.ReLU(),
            layer1=stage(width, width, blocks, stride=1, shortcut=shortcut),
            layer2=stage(width, 2 * width, blocks, stride=2, shortcut=shortcut),
            layer3=stage(2 * width, 4 * width, blocks, stride=2, shortcut=shortcut),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            linear=nn.Linear(4 * width, classes),
        )
    )
    initialise(model, init)
    return model
