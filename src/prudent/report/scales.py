"""Ranges and ticks of axes: round numbers, few enough to be read."""

import math
from collections.abc import Sequence

from prudent.report.writing import number, times
from prudent.wording import fixed

Tick = tuple[float, str]


def log_scale(values: Sequence[float], *, factor: float = 1.0) -> tuple[tuple[float, float], list[Tick], float]:
    """A logarithmic axis for values >= 0.

    Args:
        values: everything that will be drawn.
        factor: what a value is multiplied with in the tick's text (100 for percentages).

    Returns: the range and the ticks, both as log10 of the value, and the floor: what 0 is drawn as.
    """
    positive = [v for v in values if v > 0] or [1.0]
    floor = min(positive) if min(values, default=1.0) > 0 else min(positive) / 2
    low, high = math.log10(floor) - 0.08, math.log10(max(positive)) + 0.08
    if high - low < 0.5:
        low, high = (low + high) / 2 - 0.25, (low + high) / 2 + 0.25
    steps = (1, 2, 5) if high - low < 2.4 else (1,)
    every = [
        (math.log10(step * 10.0**power), f"{step * 10.0**power * factor:g}")
        for power in range(math.floor(low), math.ceil(high) + 1)
        for step in steps
    ]
    return (low, high), [(at, text) for at, text in every if low <= at <= high], floor


def linear_scale(
    values: Sequence[float], *, top: float = math.inf, bottom: float = 0.0
) -> tuple[tuple[float, float], list[Tick]]:
    """A linear axis around the values, kept within `bottom` and `top`."""
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 0.05
    low, high = max(bottom, low - margin), min(top, high + margin)
    step = round_step((high - low) / 4)
    digits = max(0, -math.floor(math.log10(step)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return (low, high), [(k * step, fixed(k * step, digits)) for k in range(first, last + 1)]


def round_step(step: float) -> float:
    """The nearest of 1, 2, 5 times a power of ten that is not smaller."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * k for k in (1, 2, 5, 10) if power * k >= step * (1 - 1e-9))


def sparsity_ticks(highest: float) -> list[Tick]:
    """Ticks at -log2(1 - s) for sparsities up to `highest`: each step halves what is kept."""
    halvings = [0.0, *(1 - 0.5**k for k in range(1, 15))]
    kept = [s for s in halvings if s <= highest + 0.006]
    if len(kept) <= 4:
        kept = sorted([*kept, *(s for s in (0.25,) if s <= highest)])
    return [(-math.log2(1 - s), number(_short(s))) for s in kept]


def _short(sparsity: float) -> float:
    """96.875 -> 96.9, 98.4375 -> 98.4: what fits under a tick; 93.75 stays."""
    return sparsity if 1 - sparsity >= 1 / 16 else round(sparsity, 3) if sparsity < 0.99 else round(sparsity, 4)


def ratio_ticks(low: float, high: float) -> list[Tick]:
    """Ticks on an axis of log2 ratios: ½×, 1×, 2×, 4× ..."""
    powers = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
    every = 1 if len(powers) <= 7 else 2
    return [(float(k), ratio_text(k)) for k in powers if k % every == 0]


def ratio_text(power: int) -> str:
    """2 to the `power` as a ratio: "½×", "1×", "8×"."""
    return {-1: "\u00bd\u00d7", -2: "\u00bc\u00d7"}.get(power, f"{2**power}\u00d7" if power >= 0 else times(2.0**power))
