"""Which rank each layer gets: the smallest largest error that a budget allows, then the next, and so on."""

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prudent.low_rank.folding import Factors
from prudent.low_rank.spectra import Curve


@dataclass(frozen=True)
class Choice:
    """One thing that can be done with a layer.

    Args:
        cost: weights that it takes.
        error: relative spectral error.
        factors: None for leaving the layer as it is.
    """

    cost: int
    error: float
    factors: Factors | None


def frontier(size: int, curves: Sequence[Curve]) -> list[Choice]:
    """The choices that no other one beats in both cost and error, by ascending cost and descending error.

    Args:
        size: weights of the layer as it is, the last choice, without error.
        curves: what there is to choose from.
    """
    every = [
        Choice(cost, error, Factors(scheme=curve.scheme, groups=curve.groups, rank=rank))
        for curve in curves
        for rank, cost, error in zip(curve.ranks.tolist(), curve.costs.tolist(), curve.errors.tolist(), strict=True)
    ]
    best: list[Choice] = []
    for choice in sorted(every, key=lambda choice: (choice.cost, choice.error)):  # stable: of equals the first curve
        if not best or choice.error < best[-1].error:
            best.append(choice)
    return [*best, Choice(size, 0.0, None)] if not best or best[-1].error > 0 else best


def allocate(frontiers: Mapping[str, Sequence[Choice]], limit: int) -> dict[str, Choice]:
    """The choices whose largest error is the smallest possible within the limit; among those the second largest, ...

    For a common threshold each layer takes the cheapest choice that stays below it, so the total cost falls as the
    threshold rises, and the least affordable one is found by bisection over the errors that occur. The layer that
    attains it keeps its choice, and what is left of the limit goes to the others in the same way.

    No search over schemes and groups by turns and from random starts is needed, as ALDS has it: given the threshold,
    each layer's best scheme, groups and rank do not depend on the other layers.

    Args:
        frontiers: of each layer, as `frontier` makes them.
        limit: largest total cost, not below that of all first choices.

    Returns: one choice for each layer. Exact, unless errors of different layers are equal to the last bit: then only
    the largest one is.
    """
    # ascending errors, for bisection
    rising = {name: [choice.error for choice in reversed(choices)] for name, choices in frontiers.items()}

    def cheapest(name: str, threshold: float) -> Choice:
        return frontiers[name][len(frontiers[name]) - bisect.bisect_right(rising[name], threshold)]

    settled: dict[str, Choice] = {}
    while len(settled) < len(frontiers):
        free = [name for name in frontiers if name not in settled]
        left = limit - sum(choice.cost for choice in settled.values())
        thresholds = sorted({error for name in free for error in rising[name]})
        low, high = 0, len(thresholds) - 1
        while low < high:
            middle = (low + high) // 2
            if sum(cheapest(name, thresholds[middle]).cost for name in free) <= left:
                high = middle
            else:
                low = middle + 1
        taken = {name: cheapest(name, thresholds[high]) for name in free}
        settled |= {name: choice for name, choice in taken.items() if choice.error >= thresholds[high]}
    return {name: settled[name] for name in frontiers}
