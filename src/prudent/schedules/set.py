"""SET: sparse evolutionary training, which grows weights at random."""

import torch
from torch import Tensor

from prudent.schedules._regrowing import check, regrowing
from prudent.scopes import check_sparsity
from prudent.seeds import stream
from prudent.upkeep import Revise, Step


def set(  # noqa: A001 (the method's name)
    sparsity: float,
    *,
    fraction: float = 0.3,
    every: int = 100,
    until: float = 1.0,
    seed: int = 0,
) -> Revise:
    """Every so many steps, in each layer, drop the smallest kept weights and grow as many others at random.

    Args:
        sparsity: of the mask that training starts from; it does not change, in any layer.
        fraction: share of the kept weights that are replaced each time, in (0, 1).
        every: steps between two replacements, >= 1; in the paper an epoch.
        until: share of all steps after which the mask stays, in (0, 1].
        seed: of the draws, from generators of their own.

    Returns: a function for `train(..., mask=..., on_step=...)`. Grown weights start at zero.

    Raises:
        BadInput: options out of range; when called, training without a mask.

    Source: Mocanu et al. 2018, "Scalable training of artificial neural networks with adaptive sparse connectivity",
    arXiv:1707.04780, algorithm 2. There the smallest positive and the largest negative weights go, which are the
    smallest in magnitude of each sign; here the smallest in magnitude of both together.
    """
    check_sparsity(sparsity)
    check(fraction, every, until)

    def at_random(step: Step, name: str, weight: Tensor) -> Tensor:
        # a generator for each (step, layer), so that no draw depends on those before it
        generator = torch.Generator().manual_seed(stream(f"growth of {name} after step {step.index}", seed))
        return torch.rand(weight.shape, generator=generator)

    return regrowing(lambda _index, _last: fraction, at_random, every=every, until=until)
