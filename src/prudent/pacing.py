"""The search for the densest network within a time: predictions, corrected by what was cut and measured."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from prudent.pruning import Pruned
from prudent.speed import Speeds
from prudent.surgery.shrinking import Shrunk

STEPS = 128
"""Sparsities that are tried are multiples of 1 / STEPS."""

MARGIN = 1.02
"""By so much more than measured a prediction is corrected that was too low."""

NEAR = 0.9
"""A time of at least this share of the budget is near enough: nothing denser is tried any more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """A sparsity, the network that it comes to once widths are rounded, and what its layers take by themselves."""

    pruned: Pruned
    rounded: Mapping[str, tuple[int, int]]
    layers: float


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a prediction is made of.

    Args:
        budget: milliseconds that are allowed.
        dense: milliseconds of the dense network.
        rest: of them, those that its layers do not take, whatever their widths.
        factor: in (0, 1], what a layer takes in the network of what it takes alone.
    """

    budget: float
    dense: float
    rest: float
    factor: float

    def predicted(self, layers: float) -> float:
        """The time of a network whose layers take so long by themselves, not corrected yet."""
        return self.rest + self.factor * layers


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """How a search ended.

    Args:
        best: the densest candidate whose network was measured to be within the budget; None if there is none.
        small, speeds: of it, the network that was cut and what was measured.
        predicted: milliseconds that were promised for it.
        attempts: networks that were cut and measured.
        closest: the least time that was measured, in milliseconds, and the sparsity of that network.
    """

    best: Candidate | None
    small: Shrunk | None
    speeds: Speeds | None
    predicted: float
    attempts: int
    closest: tuple[float, float]


def tightened(
    candidate: Callable[[int], Candidate | None],
    measured: Callable[[Candidate], tuple[Shrunk, Speeds]],
    terms: Terms,
    *,
    attempts: int,
    late: Callable[[], bool],
) -> Found:
    """Cut the densest network that is predicted to be fast enough, measure it, correct the predictions, and again.

    Where predictions rule out all that lies between what missed the budget and what met it, that is halved.

    Args:
        candidate: step -> what step / STEPS sparsity comes to; None if a layer would be empty.
        measured: cuts a candidate, and measures it in one setting.
        terms: of the predictions.
        attempts: networks that may be cut.
        late: whether a search should be content with what it has.
    """
    correction, missed, met, tries = 1.0, 0, STEPS, 0
    found = Found(best=None, small=None, speeds=None, predicted=math.nan, attempts=0, closest=(math.inf, 0.0))
    while tries < attempts:
        limit = (terms.budget / correction - terms.rest) / terms.factor
        step = least_step(candidate, limit, missed, met, late)
        if step is None and found.best is not None and met - missed > 1:
            step = (missed + met) // 2  # what was met is faster than need be, and predictions do not reach between
        chosen = None if step is None else candidate(step)
        if step is None or chosen is None:
            break
        tries += 1
        small, speeds = measured(chosen)
        spent, promised = speeds.races[0].milliseconds, terms.predicted(chosen.layers)
        closest = min(found.closest, (spent, small.sparsity))
        found = replace(found, attempts=tries, closest=closest)
        if spent <= terms.budget:
            met = step
            found = replace(found, best=chosen, small=small, speeds=speeds, predicted=correction * promised)
        else:
            missed = step
        if NEAR * terms.budget <= spent <= terms.budget:
            break
        # right at the budget the next one would miss it as often as not
        correction = spent / promised * (1.0 if spent <= terms.budget else MARGIN)
    return found


def least_step(
    candidate: Callable[[int], Candidate | None], limit: float, missed: int, met: int, late: Callable[[], bool]
) -> int | None:
    """The least step between two whose layers take at most `limit` milliseconds, by bisection.

    Args:
        candidate: step -> what it comes to; None if a layer would be empty.
        limit: milliseconds.
        missed: a step that was too slow.
        met: a step that was fast enough; STEPS if none is known.
        late: whether what was found so far has to do.

    Returns: None if no step fits between a missed and a met one. While nothing was met, the sparsest step that leaves a
    network stands in for one that fits: predictions may be wrong.
    """
    low, high = missed + 1, met - 1
    best: int | None = None
    sparsest: int | None = None
    while low <= high and not (late() and (best or sparsest)):
        middle = (low + high) // 2
        found = candidate(middle)
        if found is None:
            high = middle - 1
        elif found.layers <= limit:
            best, high = middle, middle - 1
        else:
            sparsest, low = middle, middle + 1
    return best if best is not None or met < STEPS else sparsest
