"""RigL: sparse training that grows weights where the gradient is large."""

from torch import Tensor

from prudent.errors import BadInput
from prudent.schedules._regrowing import check, cosine, regrowing
from prudent.scopes import check_sparsity
from prudent.upkeep import Revise, Step


def rigl(
    sparsity: float,
    *,
    fraction: float = 0.3,
    every: int = 100,
    until: float = 0.75,
    seed: int = 0,  # noqa: ARG001 (the contract's)
) -> Revise:
    """Every so many steps, in each layer, drop the smallest kept weights and grow those with the largest gradients.

        share replaced at step t = fraction / 2 * (1 + cos(pi * t / last))

    Args:
        sparsity: of the mask that training starts from; it does not change, in any layer.
        fraction: share of the kept weights that are replaced at the start, in (0, 1).
        every: steps between two replacements, >= 1.
        until: share of all steps after which the mask stays, in (0, 1].
        seed: not used.

    Returns: a function for `train(..., mask=..., on_step=...)`. Grown weights start at zero.

    Raises:
        BadInput: options out of range; when called, training without a mask.

    Source: Evci et al. 2020, "Rigging the Lottery", arXiv:1911.11134, algorithm 1.
    """
    check_sparsity(sparsity)
    check(fraction, every, until)
    return regrowing(lambda index, last: cosine(fraction, index, last), _by_gradient, every=every, until=until)


def _by_gradient(step: Step, name: str, weight: Tensor) -> Tensor:
    gradient = step.model.get_parameter(name).grad
    if gradient is None:
        raise BadInput(f"RigL grows by gradients, and {name!r} has none: is it frozen?")
    return gradient.detach().abs().reshape(weight.shape)
