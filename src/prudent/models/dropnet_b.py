"""DropNet's model B: two convolutions."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from prudent.models._checks import check_classes, check_image, check_sizes
from prudent.models._initialisation import Init, check_init, initialise


def dropnet_b(
    shape: Sequence[int], classes: int, *, widths: Sequence[int] = (64, 64), init: Init = "glorot_uniform"
) -> nn.Sequential:
    """Two 3x3 convolutions, each with ReLU and max-pooling; the paper's MNIST family has 64-64, 32-64, 64-32, 20-20.

    For 28x28 digits and 64-64 channels: 68,938 parameters, 7,708,288 multiply-accumulates.

    Args:
        shape: (channels, height, width) of one image, at least 4 x 4.
        classes: number of logits.
        widths: output channels of the two convolutions.
        init: how weights are drawn; Keras' default as in the paper's code.

    Returns: a plain network (nn.Sequential); inputs (batch, channels, height, width), logits (batch, classes).

    Raises:
        BadInput: no image or one that is too small, no classes, not two widths, sizes below 1, an unknown init.

    Source: Tan & Motani 2020, "DropNet: Reducing Neural Network Complexity via Iterative Pruning", model B,
    arXiv:2207.06646.
    """
    channels, height, width = check_image("dropnet_b", shape, smallest=4)
    check_classes("dropnet_b", classes)
    check_sizes("dropnet_b", "widths", widths, count=2)
    check_init("dropnet_b", init)
    a, b = widths
    model = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, a, 3, padding=1),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(a, b, 3, padding=1),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc=nn.Linear(b * (height // 4) * (width // 4), classes),
        )
    )
    initialise(model, init)
    return model
