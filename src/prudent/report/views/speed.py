"""Promised by counting multiply-adds, measured by the clock, weighed on disk."""

import math
from statistics import fmean
from typing import Any

from prudent.report import trades
from prudent.report.looks import for_each_method
from prudent.report.reading import Method, Run
from prudent.report.scales import ratio_text
from prudent.report.speeds import Timing, flag, noise, timing
from prudent.report.writing import removed, times
from prudent.wording import fixed, size


def view(run: Run) -> dict[str, Any] | None:
    """One row for each sparsity of each method, on one scale for all of them; None where nothing was timed."""
    if not all("speedup" in network["timing"] for network in run.results["networks"]):
        return None
    scale = _scale(run)
    around = noise(run)
    dense = run.dense(run.declared[2])
    evaluation = run.study["evaluation"]
    return {
        "answer": trades.speed([_summary(run, method) for method in run.methods]),
        "methods": for_each_method(run, lambda run, method: {"rows": _rows(run, method, scale, around)}),
        "dense": {
            "size": size(dense["bytes"]),
            "parameters": f"{dense['parameters']:,}",
            "macs": f"{dense['macs']:,}",
            "x": [_place(v, scale) for v in (around.lo, around.mean, around.hi)],
            "words": f"{fixed(around.lo, 2)} to {times(around.hi)}",
        },
        "ticks": [(_at(k, scale), ratio_text(k)) for k in _powers(scale)],
        "one": _at(0, scale),
        "batch": evaluation["latency_batch"],
        "turns": evaluation["latency_turns"],
        "seeds": len(run.seeds),
        "weights": any(m.granularity == "weight" for m in run.methods),
        "channels": any(m.granularity == "channel" for m in run.methods),
    }


def _promised(run: Run, method: Method, i: int) -> float:
    """Multiply-adds of dense / those that the kept weights need, mean over the seeds."""
    return _ratio(run, method, i, "macs_needed")


def _saves(run: Run, method: Method, i: int) -> bool:
    """Whether it does less arithmetic than the dense network."""
    return _ratio(run, method, i, "macs") > 1


def _ratio(run: Run, method: Method, i: int, field: str) -> float:
    """Dense / pruned of a count, mean over the seeds."""
    return fmean(float(run.dense(s)[field] / run.network(method, i, s)[field]) for s in run.seeds)


def _summary(run: Run, method: Method) -> trades.Speed:
    around = noise(run)
    count = range(len(method.sparsities))
    measured = [timing(run.networks(method, i)) for i in count]
    flags = [flag(one, around, saves=_saves(run, method, i)) for i, one in enumerate(measured)]
    faster = [i for i in count if flags[i] == "faster"]
    noisy = [one.mean for one, found in zip(measured, flags, strict=True) if found == "too noisy" and one.mean > 1]
    best = max(faster, key=lambda i: measured[i].mean) if faster else None
    return trades.Speed(
        title=method.title,
        smaller=max(_ratio(run, method, i, "bytes") for i in count),
        faster=None if best is None else measured[best].mean,
        promised=max(_promised(run, method, i) for i in count) if best is None else _promised(run, method, best),
        noisy=max(noisy, default=None) if best is None else None,
    )


Scale = tuple[float, float]
TICKS = 6
"""Ratios that have room beside each other."""


def _scale(run: Run) -> Scale:
    """log2 of the lowest and the highest ratio that is drawn."""
    found = [noise(run).lo, noise(run).hi]
    for method, i in run.candidates():
        measured = timing(run.networks(method, i))
        found += [_promised(run, method, i), measured.lo, measured.hi]
    low, high = math.log2(min(found)), math.log2(max(found))
    return min(low, -0.4), max(high, 1.0)


def _at(power: float, scale: Scale) -> float:
    return round(100 * (power - scale[0]) / (scale[1] - scale[0]), 2)


def _place(ratio: float, scale: Scale) -> float:
    return _at(math.log2(ratio), scale)


def _powers(scale: Scale) -> range:
    """The powers of two that are marked, 1 among them: as many as there is room for."""
    step = max(1, math.ceil((scale[1] - scale[0]) / TICKS))
    return range(math.ceil(scale[0] / step) * step, math.floor(scale[1]) + 1, step)


def _rows(run: Run, method: Method, scale: Scale, around: Timing) -> list[dict[str, Any]]:
    return [_row(run, method, i, scale, around) for i in range(len(method.sparsities))]


def _row(run: Run, method: Method, i: int, scale: Scale, around: Timing) -> dict[str, Any]:
    measured, promised = timing(run.networks(method, i)), _promised(run, method, i)
    xs = [_place(v, scale) for v in (measured.lo, measured.mean, measured.hi)]
    disk = _ratio(run, method, i, "bytes")
    return {
        "i": i,
        "removed": removed(run, method, i),
        "disk": times(disk),
        "larger": disk < 1,
        "parameters": times(_ratio(run, method, i, "parameters")),
        "executed": times(_ratio(run, method, i, "macs")),
        "promised": times(promised),
        "measured": times(measured.mean),
        "quartiles": f"{fixed(measured.lo, 2)} to {fixed(measured.hi, 2)}",
        "x": xs,
        "x_promised": _place(promised, scale),
        "flag": flag(measured, around, saves=_saves(run, method, i)),
    }
