"""A multilayer perceptron."""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

from torch import nn

from prudent.models._checks import check_classes, check_rate, check_shape, check_sizes, check_word

Activation = Literal["relu", "softplus"]
MODULES: Mapping[Activation, Callable[[], nn.Module]] = {"relu": nn.ReLU, "softplus": nn.Softplus}


def mlp(
    shape: Sequence[int],
    classes: int,
    *,
    hidden: Sequence[int] = (30,),
    dropout: float = 0.0,
    activation: Activation = "relu",
) -> nn.Sequential:
    """Fully connected layers with an activation function between them, and dropout before the last if asked for.

    Args:
        shape: of one input; it is flattened.
        classes: number of logits.
        hidden: units of the hidden layers. (30,) on two inputs is the 2-30-2 network of the moons experiments,
            (300, 100) on 28x28 images is LeNet-300-100.
        dropout: rate before the last layer, in [0, 1).
        activation: "relu", or "softplus", ln(1 + e^x), which is never 0.

    Returns: a plain network (nn.Sequential); inputs (batch, *shape), logits (batch, classes).

    Raises:
        BadInput: a shape without elements, no classes, hidden layers without units, a rate outside [0, 1).
        UnknownName: no such activation.

    Source: LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition" (LeNet-300-100).
    """
    check_shape("mlp", shape)
    check_classes("mlp", classes)
    check_sizes("mlp", "hidden", hidden)
    check_rate("mlp", "dropout", dropout)
    check_word("mlp", "activation", activation, get_args(Activation))
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    size = math.prod(shape)
    for i, units in enumerate(hidden, start=1):
        layers[f"fc{i}"] = nn.Linear(size, units)
        layers[f"{activation}{i}"] = MODULES[activation]()
        size = units
    if dropout > 0:
        layers["dropout"] = nn.Dropout(dropout)
    layers[f"fc{len(hidden) + 1}"] = nn.Linear(size, classes)
    return nn.Sequential(layers)
