"""What linear and convolution layers read while data pass through a network, as rows of their matrix product."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from prudent.batches import Batch
from prudent.network import prunable
from prudent.observation import observe
from prudent.unfolding import groups_of, matrix, product, rows

PIECE = 2**22
"""Numbers in a piece, about: unfolded inputs of a convolution are many times its inputs, and are never held whole."""

See = Callable[[str, Tensor], None]
"""Called with (name of the layer, rows that it read, of shape (groups, examples, positions, columns))."""


def product_layers(model: nn.Module) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """The layers that hold prunable weights: name of the layer -> layer, and name of the layer -> name of its weight.

    Layers that share one weight are all listed; the weight has one name.

    Raises:
        CannotPrune: nothing prunable, or a transposed convolution.
    """
    names = {id(weight): name for name, weight in prunable(model).items()}
    layers: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if id(module._parameters.get("weight")) in names:
            layers[name] = product(module)
    return layers, {name: names[id(layer.weight)] for name, layer in layers.items()}


def read_rows(model: nn.Module, batches: Iterable[Batch], layers: Mapping[str, nn.Module], see: See) -> int:
    """Run the network once over `batches`, showing the rows that `layers` multiply with their weights.

    Args:
        model: in evaluation mode meanwhile; not changed.
        batches: inputs, with labels or without.
        layers: name -> a linear or convolution layer inside of `model`.
        see: called several times for each layer and batch, examples in their order.

    Returns: how many examples were seen.

    Raises:
        BadInput: no examples.
        CannotPrune: another kind of layer.
    """

    def cut(name: str, inputs: Tensor, output: Tensor) -> None:
        layer = product(layers[name])
        positions = output.numel() // (len(inputs) * layer.weight.shape[0])
        numbers = positions * groups_of(layer) * matrix(layer).shape[-1]
        for piece in torch.split(inputs, max(1, PIECE // numbers)):
            see(name, torch.unflatten(rows(layer, piece), 1, (len(piece), -1)))

    return observe(model, batches, layers, cut)
