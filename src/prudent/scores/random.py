"""Random scores: the control that every method has to beat."""

from collections.abc import Iterable

import torch
from torch import nn

from prudent.batches import Batch
from prudent.network import Scores, prunable
from prudent.seeds import stream

NEEDS = ()
UNIT = "weight"


def random(model: nn.Module, batches: Iterable[Batch] | None = None, *, seed: int = 0) -> Scores:  # noqa: ARG001
    """Independent uniform random numbers, which depend on `seed` and the shapes alone.

        score(w) ~ U[0, 1)

    Masks of growing sparsity from the same seed are nested.

    Args:
        model: any network with linear or convolution layers. Not changed.
        batches: not used.
        seed: of a generator of its own; the global one is not touched.

    Returns: one float32 tensor for each prunable weight, of its shape, on its device, without unit; higher = keep.

    Raises:
        CannotPrune: nothing to prune.

    Source: the control asked for by Blalock et al. 2020, "What is the State of Neural Network Pruning?",
    arXiv:2003.03033, section 6.
    """
    # a stream of its own: that of torch.manual_seed(seed) may have drawn the weights
    generator = torch.Generator().manual_seed(stream("random scores", seed))
    return {
        name: torch.rand(weight.shape, generator=generator).to(weight.device)
        for name, weight in prunable(model).items()
    }
