"""Which weights are uncertain: those of the last layer, those that a mask kept, or those that data tell least of."""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, fx, nn

from prudent.batches import Batch
from prudent.errors import BadInput, CannotPrune
from prudent.granularities import removed_elements
from prudent.heads import head_of
from prudent.laplace.curvature import diagonal_curvature
from prudent.masks import Mask
from prudent.network import prunable

Subnetwork = Mapping[str, Tensor]
"""Parameter name -> flat indices (int64, ascending) of the elements that are uncertain; all others are fixed."""


def last_layer(model: nn.Module, example: Tensor, *, mask: Mask | None = None) -> dict[str, Tensor]:
    """Weight and bias of the linear layer that answers the logits.

    Args:
        model: not changed.
        example: inputs (n, ...), to find that layer.
        mask: of a pruned network; what it removed is no part of it, and stays 0.

    Raises:
        BadInput: the logits are not the answer of one linear layer; nothing of it is left.
    """
    if isinstance(model, fx.GraphModule):
        names = _last_of_graph(model)
    else:
        name, layer = head_of(model, example)
        own = [key for key, value in layer.named_parameters(recurse=False) if value is not None]
        names = [f"{name}.{key}" if name else key for key in own]
    removed = {} if mask is None else removed_elements(model, mask)
    return _left(model, names, removed)


def survivors(model: nn.Module, mask: Mask) -> dict[str, Tensor]:
    """The weights that a mask kept, of the layers that it prunes; biases and normalisation are fixed.

    Args:
        model: the masked network.
        mask: what is kept; of channels and heads in a network of the original's shape.

    Raises:
        BadInput: the mask does not fit the network.
    """
    removed = removed_elements(model, mask)
    weights = prunable(model)
    return _left(model, [name for name in weights if name in removed], removed)


def weights_left(model: nn.Module, mask: Mask | None = None) -> dict[str, Tensor]:
    """The survivors of a mask, or without one all prunable weights.

    Raises:
        BadInput: the mask does not fit the network, or leaves nothing.
    """
    return _left(model, list(prunable(model)), {}) if mask is None else survivors(model, mask)


def most_uncertain(
    model: nn.Module, batches: Iterable[Batch], *, size: int, mask: Mask | None = None
) -> dict[str, Tensor]:
    """The `size` weights with the largest marginal variance under a diagonal Laplace approximation.

        variance(w) = 1 / (prior precision + sum over examples of (J^T H J) at w)

    They do not depend on the prior precision. Ties: what comes first in the order of layers and elements. Weights of
    which the data say nothing at all, as behind a unit that is never active, are the most uncertain ones. A prior
    precision should not be found from these weights alone: they are the ones that ask for a weak one.

    Args:
        model: not changed.
        batches: training examples with labels.
        size: how many weights.
        mask: of a pruned network: only what it kept is looked at.

    Raises:
        BadInput: size below 1 or above the number of weights, no examples, a network that cannot be differentiated
            example by example.

    Source: Daxberger et al. 2021, "Bayesian Deep Learning via Subnetwork Inference", arXiv:2010.14689, section 4.
    """
    whole = weights_left(model, mask)
    total = sum(len(indices) for indices in whole.values())
    if not 1 <= size <= total:
        raise BadInput(f"a subnetwork of this network has 1 .. {total} weights; got size={size}")
    curvature = diagonal_curvature(model, batches, whole).numpy()
    chosen = np.zeros(total, dtype=bool)
    chosen[np.argsort(curvature, kind="stable")[:size]] = True
    parts = np.split(chosen, np.cumsum([len(indices) for indices in whole.values()])[:-1])
    found = {name: indices[torch.from_numpy(part)] for (name, indices), part in zip(whole.items(), parts, strict=True)}
    return {name: indices for name, indices in found.items() if len(indices)}


def _left(model: nn.Module, names: list[str], removed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    parameters = dict(model.named_parameters())
    found = {}
    for name in names:
        kept = torch.ones(parameters[name].shape, dtype=torch.bool)
        if name in removed:
            kept = ~removed[name].cpu()
        indices = kept.reshape(-1).nonzero().reshape(-1)
        if len(indices):
            found[name] = indices
    if not found:
        raise BadInput("nothing of these layers is left, so none of their weights is uncertain")
    return found


def _last_of_graph(model: fx.GraphModule) -> list[str]:
    linear = [n for n in model.graph.nodes if str(getattr(n.target, "overloadpacket", "")) == "aten.linear"]
    own = dict(model.named_parameters())
    names = [str(a.target) for a in linear[-1].args[1:3] if isinstance(a, fx.Node)] if linear else []
    if not names or any(name not in own for name in names):
        raise CannotPrune("this graph does not end in a linear layer whose weights are its parameters")
    return names
