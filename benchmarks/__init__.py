"""Speed as ratios: each benchmark runs prudent and a peer, or a floor, side by side in one process."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    Args:
        work: what is done.
        beside: what it is compared with.
        seconds, other: best measured time of each.
        promise: what was promised, in words.
        kept: whether the promise is kept in this run.
        note: more, for example memory.
    """

    work: str
    beside: str
    seconds: float
    other: float
    promise: str
    kept: bool
    note: str = ""


def alternate(
    ours: Callable[[], object],
    other: Callable[[], object],
    *,
    turns: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, float]:
    """Best time of each in seconds, taking turns, so that a busy moment of the machine hits both.

    What one side leaves to the garbage collector is collected between the turns, on nobody's time.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(turns):
        for run, taken in zip((ours, other), times, strict=True):
            gc.collect()
            start = clock()
            run()
            taken.append(clock() - start)
    return min(times[0]), min(times[1])


def median_ratio(
    ours: Callable[[], object],
    other: Callable[[], object],
    *,
    turns: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, float, float]:
    """Median time of each, and the median over turns of ours / other."""
    pairs = []
    for _ in range(turns):
        pair = []
        for run in (ours, other):
            gc.collect()  # what the other side left behind is not this one's work
            start = clock()
            run()
            pair.append(clock() - start)
        pairs.append(pair)
    own, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return own, theirs, statistics.median(a / b for a, b in pairs)
