"""LeNet-300-100."""

from collections.abc import Sequence

from torch import nn

from prudent.models._checks import check_classes, check_shape
from prudent.models._initialisation import Init, check_init, initialise
from prudent.models.mlp import mlp


def lenet_300_100(shape: Sequence[int], classes: int, *, init: Init = "glorot_normal") -> nn.Sequential:
    """Two hidden linear layers of 300 and 100 units, the standard network of pruning papers for MNIST.

    For 28x28 digits: 266,610 parameters (of them 266,200 prunable weights), 266,200 multiply-accumulates.

    Args:
        shape: of one input; it is flattened.
        classes: number of logits.
        init: how weights are drawn; Gaussian Glorot as in Frankle & Carbin.

    Returns: a plain network (nn.Sequential); inputs (batch, *shape), logits (batch, classes).

    Raises:
        BadInput: a shape without elements, no classes, an unknown init.

    Source: LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition", with ReLU; initialised as in
    Frankle & Carbin 2019, "The Lottery Ticket Hypothesis", arXiv:1803.03635.
    """
    check_shape("lenet_300_100", shape)
    check_classes("lenet_300_100", classes)
    check_init("lenet_300_100", init)
    model = mlp(shape, classes, hidden=(300, 100))
    initialise(model, init)
    return model
