"""DropNet's model A: fully connected."""

from collections.abc import Sequence

from torch import nn

from prudent.models._checks import check_classes, check_shape, check_sizes
from prudent.models._initialisation import Init, check_init, initialise
from prudent.models.mlp import Activation, mlp


def dropnet_a(
    shape: Sequence[int],
    classes: int,
    *,
    hidden: Sequence[int] = (40, 40),
    init: Init = "glorot_uniform",
    activation: Activation = "relu",
) -> nn.Sequential:
    """Two hidden linear layers, 40-40, 20-40, 40-20 or 20-20 units in the paper's MNIST family.

    For 28x28 digits and 40-40 units: 33,450 parameters, 33,360 multiply-accumulates.

    Args:
        shape: of one input; it is flattened.
        classes: number of logits.
        hidden: units of the two hidden layers.
        init: how weights are drawn; Keras' default as in the paper's code.
        activation: "relu" as in the paper, or "softplus", ln(1 + e^x), which is never 0.

    Returns: a plain network (nn.Sequential); inputs (batch, *shape), logits (batch, classes).

    Raises:
        BadInput: a shape without elements, no classes, not two hidden layers, sizes below 1, an unknown init.
        UnknownName: no such activation.

    Source: Tan & Motani 2020, "DropNet: Reducing Neural Network Complexity via Iterative Pruning", model A,
    arXiv:2207.06646.
    """
    check_shape("dropnet_a", shape)
    check_classes("dropnet_a", classes)
    check_sizes("dropnet_a", "hidden", hidden, count=2)
    check_init("dropnet_a", init)
    model = mlp(shape, classes, hidden=hidden, activation=activation)
    initialise(model, init)
    return model
