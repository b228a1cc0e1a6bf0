"""Random scores: the control that every method has to beat."""

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from prudent.batches import Batch
from prudent.network import Scores, prunable
from prudent.seeds import stream
from prudent.surgery.chain import links
from prudent.units import Granularity

NEEDS = ()
UNIT = "weight"


def random(
    model: nn.Module,
    batches: Iterable[Batch] | None = None,  # noqa: ARG001 (the contract's)
    *,
    granularity: Granularity = "weight",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    seed: int = 0,
) -> Scores:
    """Independent uniform random numbers, which depend on `seed` and the shapes alone.

        score(unit) ~ U[0, 1)

    Masks of growing sparsity from the same seed are nested.

    Args:
        model: any network with linear or convolution layers. Not changed.
        batches: not used.
        granularity: "channel" draws one number for each output channel: sums over weights would vary less in wider
            layers, and a ranking of all channels would not be uniform. `prune` fills it in.
        shapes: of the units of a traced network, by name, which then get one number each. `prune` fills it in.
        seed: of a generator of its own; the global one is not touched.

    Returns: one float32 tensor for each prunable weight, of its shape, on its device, without unit; higher = keep. For
    "channel" of shape (channels,) for each layer whose channels can go.

    Raises:
        CannotPrune: nothing to prune, or channels of a network that is not plain.

    Source: the control asked for by Blalock et al. 2020, "What is the State of Neural Network Pruning?",
    arXiv:2003.03033, section 6.
    """
    # a stream of its own: that of torch.manual_seed(seed) may have drawn the weights
    generator = torch.Generator().manual_seed(stream("random scores", seed))
    weights = prunable(model)
    if shapes is not None:
        return {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    if granularity == "channel":
        shapes = {link.weight: (link.channels,) for link in links(model)}
    return {name: torch.rand(shape, generator=generator).to(weights[name].device) for name, shape in shapes.items()}
