"""How far certificates reach and how often they are wrong, when their examples are drawn anew many times."""

import math
from typing import Any

from prudent.intervals import clopper_pearson
from prudent.report.looks import for_each_method
from prudent.report.palette import MARKERS, METHODS
from prudent.report.reading import Method, Run
from prudent.report.redrawn import Saved, Wrong, redrawn_answer
from prudent.report.scales import log_scale, sparsity_ticks
from prudent.report.views.proof import RISKS
from prudent.report.writing import number
from prudent.resplitting import ANYTIME, COMPARED
from prudent.wording import exact_percent, percent, plural

Entry = dict[str, Any]
"""The resplits of one method, as the results hold them."""

BANDED = (COMPARED, ANYTIME)
"""Bounds whose middle nine tenths are drawn; those of all would hide each other."""

APART = 0.014
"""Between the marks of two bounds at the same alpha, as log10 of it."""


def view(run: Run) -> dict[str, Any] | None:
    """Charts of reach, violations and examples with their answer and numbers; None where nothing was drawn anew."""
    entries = _entries(run)
    if not entries:
        return None
    first = next(iter(entries.values()))
    bounds = list(dict.fromkeys(row["bound"] for row in first["rows"]))
    frugal = bool(first["frugality"])
    narrower = math.sqrt((first["pool"] - first["n"]) / (first["pool"] - 1))
    return {
        "methods": for_each_method(run, lambda run, method: _method(run, method, entries[method.name])),
        "legend": [{"title": _title(bound), **_style(k)} for k, bound in enumerate(bounds)],
        "risk": RISKS[first["risk"]]["title"].lower(),
        "resplits": f"{first['resplits']:,}",
        "n": f"{first['n']:,}",
        "pool": f"{first['pool']:,}",
        "delta": exact_percent(first["delta"]),
        "narrower": "" if first["replacement"] else percent(narrower, 0),
        "frugal": frugal,
        "seed": run.declared[2],
        "data": {
            **_axis(first),
            "methods": [_chart(entries[method.name], bounds) for method in run.methods],
            "frugal": frugal,
        },
    }


def _entries(run: Run) -> dict[str, Entry]:
    """By the method's name; earlier results have none."""
    return {entry["method"]: entry for entry in run.results.get("resplits", [])}


def _style(k: int) -> dict[str, str]:
    return {"color": METHODS[k % len(METHODS)], "marker": MARKERS[k % len(MARKERS)]}


def _title(bound: str) -> str:
    return bound.replace("_", " ")


def _method(run: Run, method: Method, entry: Entry) -> dict[str, Any]:
    worst = max(entry["rows"], key=lambda row: row["violated"])
    lo, hi = clopper_pearson(worst["violated"], entry["resplits"])
    wrong = Wrong(
        resplits=entry["resplits"],
        violated=worst["violated"],
        lo=lo,
        hi=hi,
        delta=entry["delta"],
        bound=_title(worst["bound"]),
        alpha=worst["alpha"],
    )
    return {
        "answer": redrawn_answer(method.title, wrong, _saved(run, entry)),
        "rows": [_row(row, entry["resplits"]) for row in entry["rows"]],
        "savings": [_saving(one, entry) for one in entry["frugality"]],
    }


def _saved(run: Run, entry: Entry) -> Saved | None:
    """What the anytime walk saves at the alpha next to the declared one."""
    if not entry["frugality"]:
        return None
    declared = run.study["certification"]["alpha"]
    one = min(entry["frugality"], key=lambda each: abs(each["alpha"] - declared))
    every = entry["n"] * entry["candidates"]
    return Saved(
        alpha=one["alpha"], every=every, walked=one["walked"], anytime=one["examples"], within=one["within_one"]
    )


def _row(row: Entry, resplits: int) -> dict[str, str]:
    return {
        "bound": _title(row["bound"]),
        "alpha": exact_percent(row["alpha"]),
        "mean": percent(row["mean"], 1),
        "between": f"{number(round(row['low'], 4))} to {percent(row['high'])}",
        "nothing": f"{row['nothing']:,}",
        "violated": f"{row['violated']:,}",
        "share": percent(row["violated"] / resplits, 1),
        "limits": f"{number(round(row['violated_lo'], 4))} to {percent(row['violated_hi'], 2)}",
        "examples": f"{row['examples']:,.0f}",
    }


def _saving(one: Entry, entry: Entry) -> dict[str, str]:
    every = entry["n"] * entry["candidates"]
    return {
        "alpha": exact_percent(one["alpha"]),
        "every": f"{every:,}",
        "walked": f"{one['walked']:,.0f}",
        "examples": f"{one['examples']:,.0f}",
        "high": f"{one['examples_high']:,}",
        "fewer": f"{every / one['examples']:.0f}\u00d7",
        "behind": f"{one['behind']:.2f}".replace("-", "\u2212"),
        "most": f"{one['behind_most']:,}".replace("-", "\u2212"),
        "within": percent(one["within_one"], 1),
    }


def _axis(entry: Entry) -> dict[str, Any]:
    alphas = sorted({row["alpha"] for row in entry["rows"]})
    range_, ticks, _ = log_scale(alphas, factor=100)
    return {"x": {"range": range_, "ticks": ticks}, "delta": entry["delta"]}


def _chart(entry: Entry, bounds: list[str]) -> dict[str, Any]:
    reachable = [(math.log10(a), _height(s or 0.0)) for a, s in entry["reachable"]]
    top = max([row["high"] for row in entry["rows"]] + [s or 0.0 for _, s in entry["reachable"]])
    high = max([entry["delta"]] + [row["violated_hi"] for row in entry["rows"]])
    return {
        "lines": [_line(entry, bound, k, len(bounds)) for k, bound in enumerate(bounds)],
        "reachable": reachable,
        "reach": {"range": (-0.06 * _height(top), 1.06 * _height(top)), "ticks": sparsity_ticks(top)},
        "wrong": {"range": (-0.03 * high, 1.12 * high)},
        "examples": _examples(entry),
    }


def _height(sparsity: float) -> float:
    return -math.log2(1 - sparsity)


def _line(entry: Entry, bound: str, k: int, of: int) -> dict[str, Any]:
    rows = sorted((row for row in entry["rows"] if row["bound"] == bound), key=lambda row: row["alpha"])
    return {**_style(k), "banded": bound in BANDED, "points": [_point(row, entry, k - (of - 1) / 2) for row in rows]}


def _point(row: Entry, entry: Entry, place: float) -> dict[str, Any]:
    cells = _row(row, entry["resplits"])
    who = f"{cells['bound']}, α = {cells['alpha']}"
    return {
        "x": math.log10(row["alpha"]),
        "beside": math.log10(row["alpha"]) + APART * place,
        "mean": _height(row["mean"]),
        "low": _height(row["low"]),
        "high": _height(row["high"]),
        "share": row["violated"] / entry["resplits"],
        "lo": row["violated_lo"],
        "hi": row["violated_hi"],
        "reach": [who, f"{cells['mean']} certified on average", f"nine in ten: {cells['between']}"],
        "wrong": [who, f"{plural(row['violated'], 'certificate')} of {entry['resplits']:,} wrong", cells["limits"]],
    }


def _examples(entry: Entry) -> dict[str, Any] | None:
    """Forward examples of three ways to walk, as log10."""
    found = sorted(entry["frugality"], key=lambda one: one["alpha"])
    if not found:
        return None
    every = entry["n"] * entry["candidates"]
    ways = [
        ("every candidate", "dense", [every] * len(found)),
        ("until the stop", "control", [one["walked"] for one in found]),
        ("anytime", "m1", [one["examples"] for one in found]),
    ]
    range_, _, _ = log_scale([value for _, _, values in ways for value in values])
    powers = range(math.ceil(range_[0]), math.floor(range_[1]) + 1)
    steps = [(step, power) for power in range(math.floor(range_[0]), powers.stop) for step in (1, 3)]
    ticks = [(math.log10(step * 10.0**power), f"{step * 10**power:,}") for step, power in steps]
    return {
        "range": range_,
        "ticks": [tick for tick in ticks if range_[0] <= tick[0] <= range_[1]],
        "ways": [
            {
                "name": name,
                "color": color,
                "points": [
                    {"x": math.log10(one["alpha"]), "y": math.log10(value), "text": [name, f"{value:,.0f} examples"]}
                    for one, value in zip(found, values, strict=True)
                ],
            }
            for name, color, values in ways
        ],
    }
