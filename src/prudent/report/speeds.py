"""Measured speed beside dense: what is faster, what is slower, and what is only the noise of measuring."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from prudent.report.reading import Run


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Measured speed-up over dense, over seeds.

    Args:
        mean: mean over seeds of the median speed-up; above 1 = faster.
        lo, hi: the lowest lower and the highest upper quartile of any seed.
        always_above, always_below: whether both quartiles lie above, or below, 1 in every seed.
    """

    mean: float
    lo: float
    hi: float
    always_above: bool
    always_below: bool


def timing(networks: Sequence[dict[str, Any]]) -> Timing:
    """The speed-up of the same candidate over seeds."""
    clocks = [network["timing"] for network in networks]
    lows, highs = [c["lo"] for c in clocks], [c["hi"] for c in clocks]
    return Timing(
        mean=sum(c["speedup"] for c in clocks) / len(clocks),
        lo=min(lows),
        hi=max(highs),
        always_above=min(lows) > 1,
        always_below=max(highs) < 1,
    )


def noise(run: Run) -> Timing:
    """Dense networks timed beside themselves: what the clock shows where nothing differs."""
    return timing(run.dense_networks())


LARGE = 1.25
"""A mean speed-up, or slow-down, from which on "not faster" would say more than a noisy clock can tell."""

Flag = Literal["faster", "slower", "not faster", "too noisy"]


def flag(measured: Timing, around: Timing, *, saves: bool) -> Flag:
    """Faster or slower only where every seed says so and the mean lies outside what dense shows beside itself.

    Where the mean is far from 1 all the same, the clock was too noisy to say either. What does all the arithmetic of
    the dense network (`saves` is false) is not called faster, whatever the clock says.
    """
    if saves and measured.always_above and measured.mean > around.hi:
        return "faster"
    if measured.always_below and measured.mean < around.lo:
        return "slower"
    return "not faster" if 1 / LARGE < measured.mean < LARGE else "too noisy"
