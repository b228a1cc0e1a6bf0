"""Two networks run on the same inputs: do they compute the same?"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from prudent.copying import converted, duplicate
from prudent.errors import CannotPrune
from prudent.examples import Example, Inputs, arguments, mapped, size
from prudent.network import evaluating, seeded
from prudent.surgery.plans import Plan

TOLERANCE = 1e-9
"""Largest difference in float64, relative to the largest answer, that rounding alone explains."""
TOLERANCE_SINGLE = 1e-5
"""The same in float32, for networks that do not run in float64."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """How closely the cut network agrees with the masked one, in float64 (or float32, where it runs in nothing else).

    Args:
        difference: largest absolute difference of an answer, divided by its largest absolute value. Of several
            answers each is compared with its own; one that is nothing but rounding beside the others, with theirs.
        tolerance: what it had to stay below.
        inputs: number of inputs compared, given and random ones.
    """

    difference: float
    tolerance: float
    inputs: int


LARGE = 20_000
"""Numbers in one example from which on one random batch has to do, since each run takes long."""
CONSTANTS = "constants"
"""Under this word a graph notes which of its buffers are numbers in the user's code, which no cast reaches there."""
Answers = list[list[Tensor]]
"""For each input the tensors that come out."""


class CannotTell(CannotPrune):
    """The network's answers are such that a wrong cut would not show in them, or a right one would not."""


def prove(
    masked: nn.Module, small: nn.Module, example: Example, *, plan: Plan | None = None, random_inputs: int | None = None
) -> Proof:
    """Compare two networks in float64 on the given inputs and on random ones of the same shape, mean and spread.

    Weights that are zero throughout hide whatever happens to what they read. With a plan, networks that have such
    weights, or that answer the same for all inputs, are also compared with random weights in the places of those that
    the plan keeps.

    Args:
        masked: the network with the removed parts set to zero. Neither network is changed.
        small: what was cut from it.
        example: inputs; numbers are also replaced by random ones, indices (integers) are not.
        plan: by which `small` was cut from `masked`.
        random_inputs: at least so many random inputs; by default 8, or one batch of large ones.

    Raises:
        CannotPrune: they differ by more than rounding, or the cut network does not run; or the answers are such that
            nothing can be told from them: whole numbers only, the same for all inputs, or little but rounding.
    """
    proof, telling = _proved(masked, small, example, random_inputs)
    if plan is not None and (not telling or _silent(masked, plan)):
        shaken, telling = _proved(*_shaken(masked, small, plan), example, random_inputs)
        proof = max(proof, shaken, key=lambda one: one.difference)
    if not telling:
        raise CannotTell(
            "the network answers the same for all inputs, or only whole numbers, so that the cut cannot be proved: "
            "give one whose answers depend on its inputs, without an argmax or a threshold at its end"
        )
    return proof


def _proved(masked: nn.Module, small: nn.Module, example: Example, random_inputs: int | None) -> tuple[Proof, bool]:
    difference, tolerance, inputs, telling = _compared(masked, small, example, random_inputs)
    if not difference <= tolerance:
        raise CannotPrune(
            f"the cut network differs from the masked one by {difference:.2g} (at most {tolerance:g} is rounding); "
            "nothing was cut: a module on the way does not keep its channels apart"
        )
    return Proof(difference=difference, tolerance=tolerance, inputs=inputs), telling


def compare(
    masked: nn.Module, small: nn.Module, example: Example, *, random_inputs: int | None = None
) -> tuple[float, float, int]:
    """Largest relative difference, what rounding explains of it, and on how many inputs.

    Raises:
        CannotPrune: the cut network does not run where the masked one does.
    """
    return _compared(masked, small, example, random_inputs)[:3]


def _compared(
    masked: nn.Module, small: nn.Module, example: Example, random_inputs: int | None
) -> tuple[float, float, int, bool]:
    if random_inputs is None:
        leaves = [t for t in pytree.tree_leaves(arguments(example)) if isinstance(t, Tensor)]
        random_inputs = 8 if sum(t.numel() for t in leaves) <= LARGE * size(example) else 1
    for dtype, tolerance in ((torch.float64, TOLERANCE), (torch.float32, TOLERANCE_SINGLE)):
        inputs = [_cast(example, dtype), *_random(example, dtype, random_inputs)]
        got = _answers(small, inputs, dtype)
        # where the smaller one does not run, all there is to know is whether the masked one does
        expected = _answers(masked, inputs[:1] if isinstance(got, Exception) else inputs, dtype)
        if isinstance(expected, Exception):
            continue
        if isinstance(got, Exception) and dtype == torch.float64 and _about_types(got):
            continue
        if isinstance(got, Exception):
            raise CannotPrune(f"the cut network does not run: {str(got).strip().splitlines()[0]}") from got
        difference = _difference(expected, got, torch.finfo(dtype).eps / tolerance)
        if tolerance < difference <= 8 * (own := _rounding(masked, inputs, expected, dtype)):
            raise CannotTell(
                f"the cut network differs from the masked one by {difference:.2g}, and the masked one from itself by "
                f"{own:.2g} when its weights change in their last digit: rounding, but too much of it to prove a cut "
                f"(at most {tolerance:g}); give an example that the network was made for, or train it first"
            )
        if isinstance(small, fx.GraphModule) and difference <= tolerance:
            _check_other_batch(masked, small, example, dtype, tolerance)
        counted = sum(size(one) for one in inputs)
        return difference, tolerance, counted, _telling(expected, fixed=len(inputs) == 1)
    if isinstance(expected, Exception):
        raise CannotPrune(f"the network does not run on the example: {expected}") from expected
    raise CannotPrune("the cut network runs in another type of numbers than the masked one")


def _about_types(error: Exception) -> bool:
    return "dtype" in str(error) or "type" in str(error)


def _check_other_batch(
    masked: nn.Module, small: nn.Module, example: Example, dtype: torch.dtype, tolerance: float
) -> None:
    """A graph may have the number of examples written into it. Raises CannotPrune."""
    batch = size(example)
    longer = mapped(lambda t: torch.cat([t, t[:1]]) if t.ndim and len(t) == batch else t, _cast(example, dtype))
    expected = _answers(masked, [longer], dtype)
    if isinstance(expected, Exception):
        return  # so has the network itself
    got = _answers(small, [longer], dtype)
    if isinstance(got, Exception) or not _difference(expected, got, torch.finfo(dtype).eps / tolerance) <= tolerance:
        raise CannotPrune(
            f"the smaller network would run on batches of {batch} only, since the graph has that number written into "
            "it: let the code take the batch's size from its input (x.shape[0], or -1)"
        )


def _silent(masked: nn.Module, plan: Plan) -> bool:
    """Whether weights are zero that the plan keeps: all of a layer, and not its shift."""
    kept = [p for n, p in masked.named_parameters() if p.numel() > 1 and not n.endswith("bias") and n in plan.slices]
    return not all(bool(p[-1].any()) or bool(p.any()) for p in kept)  # one row tells of most


def _shaken(masked: nn.Module, small: nn.Module, plan: Plan) -> tuple[nn.Module, nn.Module]:
    """Both networks with random weights in the places that the plan keeps, and zeros in the others."""
    large, cut = duplicate(masked), duplicate(small)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in large.named_parameters():
            if parameter.is_floating_point():
                # mostly positive with a sum of about two, so that no depth or dead rectifier swallows the inputs
                left = plan.slices[name].left if name in plan.slices else tuple(parameter.shape)
                fan = max(math.prod(left[1:]), 1)
                drawn = (torch.randn(parameter.shape, generator=generator, dtype=torch.float64) + 2) / fan
                value = torch.zeros_like(drawn) if name in plan.slices else drawn
                if name in plan.slices:
                    plan.slices[name].put(value, plan.slices[name].take(drawn))
                parameter.copy_(value)
        own = plan.of_state(large.state_dict())
        for name, value in cut.state_dict().items():
            if name in own:
                value.copy_(own[name])
    return large, cut


def _cast(example: Example, dtype: torch.dtype) -> Inputs:
    return mapped(lambda t: t.detach().to(dtype) if t.is_floating_point() else t, example)


def _random(example: Example, dtype: torch.dtype, wanted: int) -> list[Example]:
    """Random inputs of the same shapes, at least as many as are wanted; none if all inputs are whole numbers."""
    count = max(size(example), 1)
    generator = torch.Generator().manual_seed(0)
    if not any(isinstance(t, Tensor) and t.is_floating_point() for t in pytree.tree_leaves(arguments(example))):
        return []

    def drawn(value: Tensor) -> Tensor:
        if not value.is_floating_point():
            return value
        # of the example's own mean and spread: far from these, deep networks answer with little but rounding
        middle, spread = _spread(value)
        return (middle + spread * torch.randn(value.shape, generator=generator, dtype=dtype)).to(value.device)

    return [mapped(drawn, example) for _ in range(-(-wanted // count))]


def _spread(value: Tensor) -> tuple[float, float]:
    """Mean and standard deviation; of numbers that are all the same, none and their size."""
    finite = value[value.isfinite()].double()
    spread = float(finite.std(correction=0)) if finite.numel() else 0.0
    if spread:
        return float(finite.mean()), spread
    return 0.0, (float(finite[0].abs()) if finite.numel() else 0.0) or 1.0


def _rounding(masked: nn.Module, inputs: Sequence[Example], expected: Answers, dtype: torch.dtype) -> float:
    """How far the answers move when each weight moves by a few units in its last digit, as rounding in a layer would.

    Relative to the largest answer, as the difference of two networks; 0 if they then cannot be computed.
    """
    moved = in_type(masked, dtype)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in moved.parameters():
            if parameter.is_floating_point():
                step = torch.randn(parameter.shape, generator=generator, dtype=dtype).to(parameter.device)
                parameter.mul_(1 + 4 * torch.finfo(dtype).eps * step)
    answers = _answers(moved, inputs, dtype)
    return 0.0 if isinstance(answers, Exception) else _difference(expected, answers, 0.0)


def _answers(model: nn.Module, inputs: Sequence[Example], dtype: torch.dtype) -> Answers | Exception:
    try:
        cast = in_type(model, dtype)
        found = []
        with torch.no_grad(), evaluating(cast):
            for one in inputs:
                args, kwargs = arguments(one)
                with seeded(0):
                    answer = cast(*copy.deepcopy(args), **copy.deepcopy(kwargs))
                found.append([t.clone() for t in pytree.tree_leaves(answer) if isinstance(t, Tensor)])
    except Exception as error:  # noqa: BLE001 (whatever the user's code raises is the answer to "does it run?")
        return error
    return found


def in_type(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of a network in a type of numbers; what is a constant of the user's code stays what it is in a graph."""
    cast = converted(model, dtype)
    for own, new in zip(model.modules(), cast.modules(), strict=True):
        for name in own.meta.get(CONSTANTS, ()) if isinstance(own, fx.GraphModule) else ():
            path, _, key = name.rpartition(".")
            new.get_submodule(path)._buffers[key] = own.get_submodule(path)._buffers[key]
    return cast


def _difference(expected: Answers, got: Answers, floor: float) -> float:
    """Largest difference of an answer relative to its size; of one below `floor` of the largest, relative to that."""
    if [[t.shape for t in ts] for ts in expected] != [[t.shape for t in ts] for ts in got]:
        return math.inf
    scales = [max((_largest(t) for t in same), default=0.0) for same in zip(*expected, strict=True)]
    least = floor * max(scales, default=0.0)
    worst = 0.0
    for ours, theirs in zip(expected, got, strict=True):
        for a, b, scale in zip(ours, theirs, scales, strict=True):
            far = _apart(a, b)
            worst = max(worst, far / max(scale, least, 1e-300) if math.isfinite(far) else far)
    return worst


def _apart(a: Tensor, b: Tensor) -> float:
    """Largest absolute difference; infinite where one is not a number, or not finite, and the other is not the same."""
    if not (a.is_floating_point() or a.is_complex()):
        return 0.0 if torch.equal(a, b) else math.inf
    same = (a == b) | (a.isnan() & b.isnan())
    if not bool((same | (a.isfinite() & b.isfinite())).all()):
        return math.inf
    return float((a - b).abs()[~same].max()) if not bool(same.all()) else 0.0


def _largest(value: Tensor) -> float:
    if not (value.is_floating_point() or value.is_complex()):
        return 0.0
    finite = value[value.isfinite()]
    return float(finite.abs().max()) if finite.numel() else 0.0


def _telling(answers: Answers, *, fixed: bool) -> bool:
    """Whether numbers that are no whole ones differ from input to input, or, of one input, from place to place."""
    for same in zip(*answers, strict=True):
        if not (same[0].is_floating_point() or same[0].is_complex()):
            continue
        finite = [value[value.isfinite()] for value in same]
        if fixed and bool((finite[0] != finite[0][:1]).any()):
            return True
        if any(not torch.equal(one, finite[0]) for one in finite[1:]):
            return True
    return False
