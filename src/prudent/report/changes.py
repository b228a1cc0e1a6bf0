"""How much a measure changed, beside how much it differs between dense networks of different seeds."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from scipy.special import chdtri, stdtrit

from prudent.report.measures import MEASURES, Measure, dense_values, has, values
from prudent.report.reading import Method, Run

FEW = 3
"""With fewer seeds, a large change that is not clear is no sign that nothing changed."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One measure, dense against pruned, over the same seeds.

    Args:
        measure: what is measured.
        dense, pruned: means over the seeds.
        effect: difference of the means divided by the standard deviation over the dense seeds; above 0 = worse, and
            for descriptions = more. None where the dense networks do not differ, or there is one seed.
        worse, better: seeds in which the pruned network is worse (for descriptions: higher) or better than its own
            dense network; ties count for neither.
        seeds: number of seeds.
        looked_at: of how many measures this change was picked as the largest.
    """

    measure: Measure
    dense: float
    pruned: float
    effect: float | None
    worse: int
    better: int
    seeds: int
    looked_at: int = 1

    @property
    def clear(self) -> bool:
        """Whether it is larger than `luck`."""
        return self.effect is not None and abs(self.effect) > luck(self.seeds, self.looked_at)

    @property
    def undecided(self) -> bool:
        """Whether it is not clear only because there are two seeds: five with that spread would call it clear.

        The spread of two seeds is known so roughly that luck may explain almost any change.
        """
        few = self.seeds < FEW and self.effect is not None and not self.clear
        return few and abs(self.effect or 0) > luck(5, self.looked_at)

    @property
    def verdict(self) -> Literal["worse", "better", "more", "less", ""]:
        """What a clear change is; "" for no clear change."""
        if not self.clear or self.effect is None:
            return ""
        if self.measure.better == "neither":
            return "more" if self.effect > 0 else "less"
        return "worse" if self.effect > 0 else "better"


def luck(seeds: int, looked_at: int = 1) -> float:
    """The change, in spreads of the dense seeds, that luck alone exceeds in 1 of 20 cases.

        t(1 - 0.025 / looked_at; seeds - 1) sqrt(2 / seeds)

    `looked_at`: of how many measures the largest change was picked.

    It is the prediction limit of Student for the mean of as many further dense networks: were pruning without any
    effect, the pruned networks would be such. Infinite for one seed.
    """
    return math.inf if seeds < 2 else float(stdtrit(seeds - 1, 1 - 0.025 / looked_at)) * math.sqrt(2 / seeds)


def spread_error(seeds: int) -> tuple[float, float]:
    """How far the true spread may lie from the one measured: 95 % limits of their ratio (normal distribution)."""
    freedom = seeds - 1
    return math.sqrt(freedom / float(chdtri(freedom, 0.025))), math.sqrt(freedom / float(chdtri(freedom, 0.975)))


def compare(measure: Measure, dense: Sequence[float], pruned: Sequence[float]) -> Change:
    """The change of one measure from values of the same seeds in the same order."""
    sign = -1 if measure.better == "higher" else 1
    spread = statistics.stdev(dense) if len(dense) > 1 else 0.0
    difference = statistics.fmean(pruned) - statistics.fmean(dense)
    pairs = list(zip(dense, pruned, strict=True))
    return Change(
        measure=measure,
        dense=statistics.fmean(dense),
        pruned=statistics.fmean(pruned),
        effect=sign * difference / spread if spread > 0 else None,
        worse=sum(sign * (p - d) > 0 for d, p in pairs),
        better=sum(sign * (p - d) < 0 for d, p in pairs),
        seeds=len(pairs),
    )


def change_of(run: Run, method: Method, i: int, measure: Measure) -> Change:
    """The change of one measure at a method's i-th sparsity."""
    return compare(measure, dense_values(run, measure.key), values(run, method, i, measure.key))


def changes(run: Run, method: Method, i: int) -> list[Change]:
    """Every ranked measure that the run has and whose dense networks differ, the largest change first."""
    found = [change_of(run, method, i, m) for m in MEASURES if m.ranked and has(run, m.key)]
    return sorted((c for c in found if c.effect is not None), key=lambda c: -abs(c.effect or 0))


def worst(run: Run, method: Method, i: int) -> Change | None:
    """The largest change for the worse, None if nothing got worse."""
    judged = [c for c in changes(run, method, i) if c.measure.better != "neither"]
    worsened = [c for c in judged if (c.effect or 0) > 0]
    return replace(worsened[0], looked_at=len(judged)) if worsened else None
