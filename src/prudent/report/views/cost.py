"""Error, calibration and telling strangers apart, against what was removed or saved."""

import math
from statistics import fmean
from typing import Any

from prudent.report import answers
from prudent.report.changes import change_of
from prudent.report.looks import for_each_method, method_color, passed
from prudent.report.measures import MEASURE, MEASURES, Measure, dense_values, finely, has, spread_words, summary, values
from prudent.report.palette import styles
from prudent.report.reading import Method, Run
from prudent.report.scales import Tick, linear_scale, log_scale, ratio_ticks, sparsity_ticks
from prudent.report.writing import cut, removed
from prudent.types import Metric

CHARTS = ("error", "ece", "auroc_max_prob")
IN_SENTENCES = {"error": "test error", "ece": "calibration (ECE)", "auroc_max_prob": "telling strangers apart"}
SAVED = {"error": 100.0, "ece": 100.0, "auroc_max_prob": 1.0}


def view(run: Run) -> dict[str, Any]:
    """Three linked charts, their answer for each method, and the table of all measures."""
    charts = [MEASURE[key] for key in CHARTS if has(run, key)]
    return {
        "charts": [{"id": f"c-{m.key}", "measure": m} for m in charts],
        "axes": [{"key": key, "name": axis["name"]} for key, axis in _axes(run).items()],
        "spread": spread_words(run),
        "answers": for_each_method(run, lambda run, method: {"answer": _answer(run, method, charts)}),
        "legend": _legend(run),
        "passed": _passed(run),
        "seeds": len(run.seeds),
        "zero": any(_has_zero(run, m) for m in charts if m.unit != "number"),
        "table": table(run),
        "data": {
            "charts": {f"c-{m.key}": _chart(run, m) for m in charts},
            "axes": _axes(run),
            "saved": saved(run),
        },
    }


def _answer(run: Run, method: Method, charts: list[Measure]) -> Any:  # noqa: ANN401 (Markup)
    onsets = [_onset(run, method, measure) for measure in charts]
    return answers.cost(method.title, onsets, seeds=len(run.seeds))


def _onset(run: Run, method: Method, measure: Measure) -> answers.Onset:
    """From where on a measure is clearly worse than dense at every sparsity."""
    found = [change_of(run, method, i, measure) for i in range(len(method.sparsities))]
    start = len(found)
    while start and found[start - 1].verdict == "worse":
        start -= 1
    at = None if start == len(found) else start
    there = found[-1 if at is None else at]
    return answers.Onset(
        what=IN_SENTENCES[measure.key],
        at=None if at is None else run.sparsity(method, at),
        dense=measure.show(there.dense, finely=finely(run)),
        there=measure.show(there.pruned, finely=finely(run)),
        comparable=there.effect is not None,
        undecided=at is None and there.undecided and (there.effect or 0) > 0,
    )


def _has_zero(run: Run, measure: Measure) -> bool:
    """Whether anything that is drawn on a log scale is 0."""
    every = [dense_values(run, measure.key), *(values(run, m, i, measure.key) for m, i in run.candidates())]
    return any(summary(each).value == 0 or summary(each).lo == 0 for each in every)


def _passed(run: Run) -> str:
    """What the tinted region is called; "" where no method passed."""
    passing = [m for m in run.methods if passed(run, m) is not None]
    return "" if not passing else "certified" if passing == [run.declared_method] else "certified, or passes by itself"


def _legend(run: Run) -> list[dict[str, Any]]:
    return [
        {
            "title": method.title,
            "style": style,
            "control": method.control_of is not None,
            "rewound": run.study["methods"][method.index]["rewind"] == "init",
        }
        for method, style in zip(run.methods, styles(run.methods), strict=True)
    ]


def _chart(run: Run, measure: Measure) -> dict[str, Any]:
    """What one chart draws: a point with its interval for each candidate, on a scale that fits all of them."""
    dense = summary(dense_values(run, measure.key), share=measure.share)
    points = [[_point(run, method, i, measure) for i in range(len(method.sparsities))] for method in run.methods]
    drawn = [dense, *(p["metric"] for each in points for p in each)]
    ends = [v for m in drawn for v in (m.value, m.lo, m.hi) if v is not None]
    log = measure.unit != "number"
    if log:
        reach, ticks, floor = log_scale(ends, factor=SAVED[measure.key])
    else:
        reach, ticks = linear_scale(ends, top=1.0)
        floor = 0.0
    return {
        "log": log,
        "floor": floor,
        "range": reach,
        "ticks": ticks,
        "up": measure.better == "higher",
        "dense": _numbers(dense),
        "points": [[{k: v for k, v in p.items() if k != "metric"} for p in each] for each in points],
    }


def _point(run: Run, method: Method, i: int, measure: Measure) -> dict[str, Any]:
    metric = summary(values(run, method, i, measure.key), share=measure.share)
    return {
        "metric": metric,
        **_numbers(metric),
        "text": _words(run, measure, metric),
        "who": f"{cut(method.name, 14)}, {removed(run, method, i)}",
    }


def _words(run: Run, measure: Measure, metric: Metric) -> list[str]:
    """Value and interval, in lines that fit a third of the page."""
    between = _between(run, measure, metric)
    return [measure.show(metric.value, finely=finely(run)), *([between] if between else [])]


def _numbers(metric: Metric) -> dict[str, float | None]:
    return {"value": metric.value, "lo": metric.lo, "hi": metric.hi}


def _between(run: Run, measure: Measure, metric: Metric) -> str:
    if metric.lo is None or metric.hi is None:
        return ""
    return f"{measure.bare(metric.lo, finely=finely(run))} to {measure.bare(metric.hi, finely=finely(run))}"


def _ratios(run: Run, method: Method, field: str) -> list[float]:
    """log2 of dense / pruned of a count, mean over the seeds, for each sparsity."""
    return [
        math.log2(fmean(run.dense(seed)[field] / run.network(method, i, seed)[field] for seed in run.seeds))
        for i in range(len(method.sparsities))
    ]


def _speeds(run: Run, method: Method) -> list[float]:
    """log2 of the measured speed-up, mean over the seeds, for each sparsity."""
    count = len(method.sparsities)
    return [math.log2(fmean(n["timing"]["speedup"] for n in run.networks(method, i))) for i in range(count)]


def _axes(run: Run) -> dict[str, dict[str, Any]]:
    """The four things that the charts can be drawn against; all logarithmic, each step halves what is left."""
    kept = [[-math.log2(1 - run.sparsity(m, i)) for i in range(len(m.sparsities))] for m in run.methods]
    highest = max(run.sparsity(method, i) for method, i in run.candidates())
    fewer = [[_ratios(run, method, field) for method in run.methods] for field in ("parameters", "macs")]
    return {
        "removed": _axis("removed", "removed, %", kept, ticks=sparsity_ticks(highest)),
        "parameters": _axis("parameters", "times fewer parameters", fewer[0]),
        "executed": _axis("multiply-adds", "times fewer multiply-adds executed", fewer[1]),
        "speed": _axis("speed", "times faster, measured", [_speeds(run, m) for m in run.methods], lines=False),
    }


def _axis(
    name: str, title: str, points: list[list[float]], *, ticks: list[Tick] | None = None, lines: bool = True
) -> dict[str, Any]:
    every = [x for each in points for x in each]
    low, high = min(0.0, *every), max(0.25, *every)
    reach = (low - 0.04 * (high - low), high + 0.04 * (high - low))
    return {
        "name": name,
        "title": title,  # stands under a third of the page: short
        "points": points,
        "range": reach,
        "ticks": ratio_ticks(*reach) if ticks is None else ticks,
        "lines": lines,
    }


def table(run: Run) -> dict[str, Any]:
    """Every measure of every network, mean over seeds with its interval, as text."""
    measures = [m for m in MEASURES if has(run, m.key) and not m.key.startswith("mc.")]
    rows = [{"name": "dense", "removed": "0", "color": "dense", "cells": [
        _cell(run, m, dense_values(run, m.key)) for m in measures]}]  # fmt: skip
    for method, i in run.candidates():
        rows.append(
            {
                "name": method.name,
                "removed": removed(run, method, i),
                "color": method_color(run, method),
                "cells": [_cell(run, m, values(run, method, i, m.key)) for m in measures],
            }
        )
    return {"heads": [{"text": m.head, "term": m.term} for m in measures], "rows": rows}


def _cell(run: Run, measure: Measure, each: list[float]) -> dict[str, str]:
    metric = summary(each, share=measure.share)
    return {"value": measure.bare(metric.value, finely=finely(run)), "between": _between(run, measure, metric)}


def saved(run: Run) -> dict[str, Any]:
    """The numbers of the table, unrounded, for the reader who saves them: one row for each network and measure."""
    rows: list[list[Any]] = []
    measures = [m for m in MEASURES if has(run, m.key)]
    for measure in measures:
        metric = summary(dense_values(run, measure.key), share=measure.share)
        rows.append(["dense", 0.0, measure.key, metric.value, metric.lo, metric.hi, metric.interval])
    for method, i in run.candidates():
        for measure in measures:
            metric = summary(values(run, method, i, measure.key), share=measure.share)
            row = [method.name, run.sparsity(method, i), measure.key, metric.value, metric.lo, metric.hi]
            rows.append([*row, metric.interval])
    return {"columns": ["network", "sparsity", "measure", "mean", "lo", "hi", "interval"], "rows": rows}
