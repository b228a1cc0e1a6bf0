"""Which units the methods keep, beside those of one method that is taken as the measure, and beside chance."""

import math
from statistics import fmean
from typing import Any

from prudent.report import answers
from prudent.report.looks import for_each_method, method_color
from prudent.report.measures import spread_words, summary
from prudent.report.palette import styles
from prudent.report.reading import Method, Run
from prudent.report.scales import sparsity_ticks
from prudent.report.writing import cut, removed
from prudent.types import Metric
from prudent.wording import percent

STEPS = 48
"""Pieces of the line of chance, which bends where sparsities are drawn by halvings."""

Compared = list[tuple[Method, list[int]]]
"""The methods that are compared, each with the places of the sparsities at which it is."""


def view(run: Run) -> dict[str, Any] | None:
    """A chart of the shared units, its answer for each method, and the numbers; None where nothing is compared."""
    name = run.study["evaluation"].get("compare_with")  # results of earlier versions do not say
    if name is None:
        return None
    like = next(m for m in run.methods if m.name == name)
    every = [(method, _places(run, method)) for method in run.methods]
    compared = [(method, places) for method, places in every if places]
    return {
        "like": like.title,
        "units": like.units,
        "answers": for_each_method(run, lambda run, method: {"answer": _answer(run, method, like)}),
        "legend": [{"title": m.title, "style": styles(run.methods)[m.index]} for m, _ in compared],
        "rows": [_row(run, method, i) for method, places in compared for i in places],
        "seeds": len(run.seeds),
        "spread": spread_words(run),
        "data": _chart(run, compared),
    }


def _places(run: Run, method: Method) -> list[int]:
    return [i for i in range(len(method.sparsities)) if all("compared" in n for n in run.networks(method, i))]


def _each(run: Run, method: Method, i: int, what: str) -> list[float]:
    return [float(n["compared"][what]) for n in run.networks(method, i)]


def _overlap(run: Run, method: Method, i: int) -> Metric:
    return summary(_each(run, method, i, "overlap"), share=True)


def _between(metric: Metric) -> str:
    return "" if metric.lo is None or metric.hi is None else f"{percent(metric.lo, 1)} to {percent(metric.hi, 1)}"


def _answer(run: Run, method: Method, like: Method) -> Any:  # noqa: ANN401 (Markup)
    if method == like:
        others = [(m.title, _shared(run, m)) for m in run.methods]
        return answers.measured_with(like.title, like.units, [(title, each[-1]) for title, each in others if each])
    return answers.alike(method.title, like.title, like.units, _shared(run, method), seeds=len(run.seeds))


def _shared(run: Run, method: Method) -> list[answers.Shared]:
    found = []
    for i in _places(run, method):
        overlap, chance = (_each(run, method, i, what) for what in ("overlap", "chance"))
        pairs = list(zip(overlap, chance, strict=True))
        found.append(
            answers.Shared(
                sparsity=run.sparsity(method, i),
                overlap=fmean(overlap),
                chance=fmean(chance),
                above=sum(a > b for a, b in pairs),
                below=sum(a < b for a, b in pairs),
            )
        )
    return found


def _row(run: Run, method: Method, i: int) -> dict[str, str]:
    metric = _overlap(run, method, i)
    return {
        "name": method.name,
        "color": method_color(run, method),
        "removed": removed(run, method, i),
        "kept": f"{run.networks(method, i)[0]['compared']['kept']:,}",
        "overlap": percent(metric.value, 1),
        "between": _between(metric),
        "chance": percent(fmean(_each(run, method, i, "chance")), 1),
        "by_layer": percent(fmean(_each(run, method, i, "chance_by_layer")), 1),
    }


def _chart(run: Run, compared: Compared) -> dict[str, Any]:
    """A line for each method, and what luck would give: of so many units, any of them, the share that is kept."""
    lines = [{"method": m.index, "points": [_point(run, m, i) for i in places]} for m, places in compared]
    right = max(run.sparsity(m, i) for m, places in compared for i in places)
    end = -math.log2(1 - right)
    return {
        "lines": lines,
        "range": (-0.04 * end, 1.04 * end),
        "ticks": sparsity_ticks(right),
        "chance": [(end * k / STEPS, 0.5 ** (end * k / STEPS)) for k in range(STEPS + 1)],
    }


def _point(run: Run, method: Method, i: int) -> dict[str, Any]:
    metric = _overlap(run, method, i)
    between = _between(metric)
    return {
        "i": i,
        "x": -math.log2(1 - run.sparsity(method, i)),
        "value": metric.value,
        "lo": metric.lo,
        "hi": metric.hi,
        "who": f"{cut(method.name, 14)}, {removed(run, method, i)}",
        "text": [
            f"{percent(metric.value, 1)} shared",
            *([between] if between else []),
            f"chance {percent(fmean(_each(run, method, i, 'chance')), 1)}",
        ],
    }
