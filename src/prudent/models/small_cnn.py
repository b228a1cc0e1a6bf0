"""A small convolutional network with dropout."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from prudent.models._checks import check_classes, check_image, check_rate, check_sizes


def small_cnn(
    shape: Sequence[int],
    classes: int,
    *,
    widths: Sequence[int] = (16, 32, 64),
    hidden: int = 128,
    dropout: float = 0.25,
) -> nn.Sequential:
    """Three 3x3 convolutions with two max-poolings, one hidden linear layer, dropout before the last layer.

    For 8x8 digits and default widths: 57,482 parameters, 633,088 multiply-accumulates.

    Args:
        shape: (channels, height, width) of one image; height and width are divided by 4 on the way.
        classes: number of logits.
        widths: output channels of the convolutions.
        hidden: units of the hidden linear layer.
        dropout: rate before the last layer, in [0, 1).

    Returns: a plain network (nn.Sequential); inputs (batch, channels, height, width), logits (batch, classes).

    Raises:
        BadInput: no image or one below 4 x 4, no classes, not three widths, sizes below 1, a rate outside [0, 1).

    Source: the usual small test bed (a LeNet-5 with padding and ReLU); dropout before the last layer as in Laves et
    al. 2019, arXiv:1909.13550.
    """
    channels, height, width = check_image("small_cnn", shape, smallest=4)
    check_classes("small_cnn", classes)
    check_sizes("small_cnn", "widths", widths, count=3)
    check_sizes("small_cnn", "hidden units", (hidden,))
    check_rate("small_cnn", "dropout", dropout)
    a, b, c = widths
    flat = c * (height // 4) * (width // 4)
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, a, 3, padding=1),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(a, b, 3, padding=1),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            conv3=nn.Conv2d(b, c, 3, padding=1),
            relu3=nn.ReLU(),
            pool3=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(flat, hidden),
            relu4=nn.ReLU(),
            dropout=nn.Dropout(dropout),
            fc2=nn.Linear(hidden, classes),
        )
    )
