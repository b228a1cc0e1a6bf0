"""DropNet's model C: four convolutions and a hidden linear layer."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from prudent.models._checks import check_classes, check_image, check_sizes
from prudent.models._initialisation import Init, check_init, initialise


def dropnet_c(
    shape: Sequence[int],
    classes: int,
    *,
    widths: Sequence[int] = (64, 64, 128, 128),
    hidden: int = 256,
    init: Init = "glorot_uniform",
) -> nn.Sequential:
    """Four 3x3 convolutions, each with ReLU and max-pooling, and one hidden linear layer, for CIFAR-10.

    The paper's family has widths 64-64-128-128, 128-128-256-256, 128-128-128-128 and 128-128-64-64. For 32x32 colour
    images and 64-64-128-128: 394,058 parameters, 18,418,176 multiply-accumulates.

    Args:
        shape: (channels, height, width) of one image, at least 16 x 16.
        classes: number of logits.
        widths: output channels of the four convolutions.
        hidden: units of the hidden linear layer.
        init: how weights are drawn; Keras' default as in the paper's code.

    Returns: a plain network (nn.Sequential); inputs (batch, channels, height, width), logits (batch, classes).

    Raises:
        BadInput: no image or one that is too small, no classes, not four widths, sizes below 1, an unknown init.

    Source: Tan & Motani 2020, "DropNet: Reducing Neural Network Complexity via Iterative Pruning", model C,
    arXiv:2207.06646. DropNet ranks the filters alone, not the units of the hidden linear layer.
    """
    channels, height, width = check_image("dropnet_c", shape, smallest=16)
    check_classes("dropnet_c", classes)
    check_sizes("dropnet_c", "widths", widths, count=4)
    check_sizes("dropnet_c", "hidden units", (hidden,))
    check_init("dropnet_c", init)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, units in enumerate(widths, start=1):
        layers[f"conv{i}"] = nn.Conv2d(channels, units, 3, padding=1)
        layers[f"relu{i}"] = nn.ReLU()
        layers[f"pool{i}"] = nn.MaxPool2d(2)
        channels = units
    layers["flatten"] = nn.Flatten()
    layers["fc1"] = nn.Linear(channels * (height // 16) * (width // 16), hidden)
    layers["relu5"] = nn.ReLU()
    layers["fc2"] = nn.Linear(hidden, classes)
    model = nn.Sequential(layers)
    initialise(model, init)
    return model
