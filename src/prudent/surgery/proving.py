"""Two networks run on the same inputs: do they compute the same?"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from prudent.errors import CannotPrune
from prudent.examples import Example, Inputs, arguments, mapped, size
from prudent.network import evaluating

TOLERANCE = 1e-9
"""Largest difference in float64, relative to the largest answer, that rounding alone explains."""
TOLERANCE_SINGLE = 1e-5
"""The same in float32, for networks that do not run in float64."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """How closely the cut network agrees with the masked one, in float64 (or float32, where it runs in nothing else).

    Args:
        difference: largest absolute difference over all answers, divided by the largest absolute answer.
        tolerance: what it had to stay below.
        inputs: number of inputs compared, given and random ones.
    """

    difference: float
    tolerance: float
    inputs: int


LARGE = 20_000
"""Numbers in one example from which on one random batch has to do, since each run takes long."""


def prove(masked: nn.Module, small: nn.Module, example: Example, *, random_inputs: int | None = None) -> Proof:
    """Compare two networks in float64 on the given inputs and on random ones of the same shape.

    Args:
        masked: the network with the removed parts set to zero. Neither network is changed.
        small: what was cut from it.
        example: inputs; numbers are also replaced by random ones, indices (integers) are not.
        random_inputs: at least so many random inputs; by default 8, or one batch of large ones.

    Raises:
        CannotPrune: they differ by more than rounding, or the cut network does not run.
    """
    difference, tolerance, inputs = compare(masked, small, example, random_inputs=random_inputs)
    if not difference <= tolerance:
        raise CannotPrune(
            f"the cut network differs from the masked one by {difference:.2g} (at most {tolerance:g} is rounding); "
            "nothing was cut: a module on the way does not keep its channels apart"
        )
    return Proof(difference=difference, tolerance=tolerance, inputs=inputs)


def compare(
    masked: nn.Module, small: nn.Module, example: Example, *, random_inputs: int | None = None
) -> tuple[float, float, int]:
    """Largest relative difference, what rounding explains of it, and on how many inputs.

    Raises:
        CannotPrune: the cut network does not run where the masked one does.
    """
    if random_inputs is None:
        leaves = [t for t in pytree.tree_leaves(arguments(example)) if isinstance(t, Tensor)]
        random_inputs = 8 if sum(t.numel() for t in leaves) <= LARGE * size(example) else 1
    for dtype, tolerance in ((torch.float64, TOLERANCE), (torch.float32, TOLERANCE_SINGLE)):
        inputs = [_cast(example, dtype), *_random(example, dtype, random_inputs)]
        expected = _answers(masked, inputs, dtype)
        if isinstance(expected, Exception):
            continue
        got = _answers(small, inputs, dtype)
        if isinstance(got, Exception) and dtype == torch.float64 and _about_types(got):
            continue
        if isinstance(got, Exception):
            raise CannotPrune(f"the cut network does not run: {str(got).strip().splitlines()[0]}") from got
        return _difference(expected, got), tolerance, sum(size(one) for one in inputs)
    if isinstance(expected, Exception):
        raise CannotPrune(f"the network does not run on the example: {expected}") from expected
    raise CannotPrune("the cut network runs in another type of numbers than the masked one")


def _about_types(error: Exception) -> bool:
    return "dtype" in str(error) or "type" in str(error)


def _cast(example: Example, dtype: torch.dtype) -> Inputs:
    return mapped(lambda t: t.detach().to(dtype) if t.is_floating_point() else t, example)


def _random(example: Example, dtype: torch.dtype, wanted: int) -> list[Example]:
    """Random inputs of the same shapes, at least as many as are wanted."""
    count = max(size(example), 1)
    generator = torch.Generator().manual_seed(0)

    def drawn(value: Tensor) -> Tensor:
        if not value.is_floating_point():
            return value
        return torch.randn(value.shape, generator=generator, dtype=dtype).to(value.device)

    return [mapped(drawn, example) for _ in range(-(-wanted // count))]


def _answers(model: nn.Module, inputs: Sequence[Example], dtype: torch.dtype) -> list[Tensor] | Exception:
    try:
        cast = copy.deepcopy(model).to(dtype)
        found = []
        with torch.no_grad(), torch.random.fork_rng(devices=[]), evaluating(cast):
            for one in inputs:
                args, kwargs = arguments(one)
                torch.manual_seed(0)
                answer = cast(*copy.deepcopy(args), **copy.deepcopy(kwargs))
                found += [t for t in pytree.tree_leaves(answer) if isinstance(t, Tensor)]
    except Exception as error:  # noqa: BLE001 (whatever the user's code raises is the answer to "does it run?")
        return error
    return found


def _difference(expected: Sequence[Tensor], got: Sequence[Tensor]) -> float:
    if [t.shape for t in expected] != [t.shape for t in got]:
        return float("inf")
    largest = max((float(t.abs().max()) for t in expected if t.is_floating_point() and t.numel()), default=0.0)
    worst = 0.0
    for a, b in zip(expected, got, strict=True):
        if not a.is_floating_point():
            worst = worst if torch.equal(a, b) else float("inf")
        elif not torch.isfinite(a).all():
            return float("inf")
        elif a.numel():
            worst = max(worst, float((a - b).abs().max()) / max(largest, 1e-300))
    return worst
