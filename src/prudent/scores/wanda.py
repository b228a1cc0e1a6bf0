"""Weights times the size of what they multiply."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from prudent.batches import Batch
from prudent.errors import CannotPrune
from prudent.network import PRUNABLE, Scores, prunable
from prudent.observation import needed, observe
from prudent.unfolding import matrix, product, rows, unmatrix

NEEDS = ("data",)
UNIT = "weight"


def wanda(model: nn.Module, batches: Iterable[Batch] | None = None) -> Scores:
    """Absolute value of each weight times the norm of the inputs that it multiplies.

        score(w_ij) = |w_ij| * sqrt( sum over rows n of x_nj ** 2 )

    Rows are examples, and for convolutions examples times output positions; column j is an input of a linear layer, or
    an input channel at one position of the kernel. The paper compares the weights of one output with each other (a row
    of the matrix), not across rows or layers: the plain score leaves that to the scope of the mask.

    Args:
        model: linear and convolution layers. Not changed.
        batches: inputs (batch, ...); labels are not used. Read once.

    Returns: one tensor for each prunable weight, of its shape, in units of the layer's output; higher = keep. 0 in a
    layer that did not run.

    Raises:
        BadInput: no data.
        CannotPrune: nothing to prune, a transposed convolution, or nn.MultiheadAttention, whose projections read
            what no layer shows.

    Source: Sun et al. 2024, "A Simple and Effective Pruning Approach for Large Language Models", arXiv:2306.11695;
    there for linear layers.
    """
    batches = needed(batches, score="wanda")
    weights = prunable(model)
    attention = [name for name, module in model.named_modules() if isinstance(module, nn.MultiheadAttention)]
    if attention:
        raise CannotPrune(
            f"score 'wanda' looks at what each layer reads; nn.MultiheadAttention ({attention[0]!r}) multiplies "
            "without calling its layers: use one made of linear layers"
        )
    names = {id(weight): name for name, weight in weights.items()}
    layers = {name: module for name, module in model.named_modules() if isinstance(module, PRUNABLE)}
    files = {name: names[id(product(module).weight)] for name, module in layers.items()}  # tied weights share a file
    squares = {
        files[name]: torch.zeros_like(matrix(layer)[:, 0], dtype=torch.float64) for name, layer in layers.items()
    }  # (groups, columns)

    def see(name: str, inputs: Tensor, _: Tensor) -> None:
        squares[files[name]] += rows(layers[name], inputs).double().square().sum(dim=1)

    observe(model, batches, layers, see)
    found: dict[str, Tensor] = {}
    for name, layer in layers.items():
        if files[name] not in found:
            norms = squares[files[name]].sqrt().unsqueeze(1)  # (groups, 1, columns)
            found[files[name]] = unmatrix(layer, (matrix(layer).double().abs() * norms).to(matrix(layer).dtype))
    return {name: found[name] for name in weights}
