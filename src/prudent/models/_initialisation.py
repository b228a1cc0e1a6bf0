"""Initial weights as papers draw them."""

from collections.abc import Callable
from typing import Literal, get_args

from torch import Tensor, nn

from prudent.models._checks import check_word

Init = Literal["torch", "glorot_normal", "glorot_uniform", "he_normal"]
"""How weights are drawn: "torch" leaves what the layers of torch.nn draw by themselves; the others set biases to 0.

glorot_normal    N(0, 2 / (inputs + outputs))                                Glorot & Bengio 2010
glorot_uniform   U(-a, a), a = sqrt(6 / (inputs + outputs))                  Glorot & Bengio 2010, eq. 16
he_normal        N(0, 2 / inputs)                                            He et al. 2015, arXiv:1502.01852, eq. 10

The second argument of N is the variance; inputs and outputs of a convolution count each kernel position.
"""

DRAWS: dict[str, Callable[[Tensor], Tensor]] = {
    "glorot_normal": nn.init.xavier_normal_,
    "glorot_uniform": nn.init.xavier_uniform_,
    "he_normal": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
}


def check_init(model: str, init: str) -> None:
    """Refuse an initialisation that is not known."""
    check_word(model, "init", init, get_args(Init))


def initialise(model: nn.Module, init: Init) -> None:
    """Draw the weights of all linear and convolution layers anew, in place, from torch's global generator."""
    if init == "torch":
        return
    for layer in model.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            DRAWS[init](layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
