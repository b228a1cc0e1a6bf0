"""What strangers are taken for, as the page shows it: the largest movements, and all of them as a matrix."""

from typing import Any

import numpy as np

from prudent.report.reading import Method
from prudent.report.suites import SuiteOf
from prudent.report.writing import cut, signed
from prudent.wording import percent

MOVEMENTS = 8

MOST_CELLS = 2000
"""Of a matrix that is shown: 100 classes of strangers by 20 of the task."""

MOST_OPEN = 20
"""Rows of a matrix that is there without asking."""

STEPS = (0.005, 0.05, 0.15, 0.3)
"""Changes of a share from which on a cell has each of its four shades."""


def taken(suite: SuiteOf, method: Method, i: int) -> list[dict[str, Any]]:
    """Movements of strangers between classes, set by set."""
    names = suite.run.data["classes"]
    found = []
    for one in suite.found["strangers"]:
        moved = suite.at("reallocation", method, i)[one["name"]]
        rows = [
            {
                "stranger": one["classes"][m["stranger"]] if one["classes"] else "all",
                "taken_for": names[m["taken_for"]],
                "n": f"{m['n']:,}",
                "dense": percent(m["dense"], 1),
                "pruned": percent(m["pruned"], 1),
            }
            for m in moved["movements"][:MOVEMENTS]
        ]
        whole = matrix(moved, one["classes"], names)
        found.append({"set": one["name"], "about": one["about"], "rows": rows, "matrix": whole})
    return found


def matrix(moved: dict[str, Any], strangers: list[str], names: list[str]) -> dict[str, Any] | None:
    """A row for each class of strangers, a cell for each class of the task: how its share changed, in points.

        share of the pruned networks' answers less that of the dense ones', of this class of strangers

    Args:
        moved: of a set; counts of answers `dense` and `pruned`, (classes of strangers, classes of the task).
        strangers: names of the rows; none if they have no classes, whose one row the movements say already.
        names: of the columns.

    Returns: rows of cells with their shade (u more, d less, 1 to 4), text and what the cell says in full; None where
        the run has no counts, or where they are too many for a page.
    """
    if "dense" not in moved or not strangers or len(names) * len(strangers) > MOST_CELLS:
        return None
    dense, pruned = (_shares(np.array(moved[side])) for side in ("dense", "pruned"))
    return {
        "columns": [{"name": name, "short": cut(name, 14)} for name in names],
        "rows": [
            {"name": row, "short": cut(row, 18), "cells": [_cell(*pair) for pair in zip(*both, strict=True)]}
            for row, *both in zip(strangers, dense, pruned, strict=True)
        ],
        "open": len(strangers) <= MOST_OPEN,
    }


def _shares(counts: np.ndarray) -> np.ndarray:
    """Counts (rows, columns) as shares of their row; 0 where a row has none."""
    shares: np.ndarray = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def _cell(dense: float, pruned: float) -> dict[str, Any]:
    change = pruned - dense
    shade = sum(abs(change) >= step for step in STEPS)
    return {
        "text": signed(100 * change, 0) if shade else "",
        "shade": f"{'u' if change > 0 else 'd'}{shade}" if shade else "",
        "full": f"{percent(dense, 1)} → {percent(pruned, 1)}" if max(dense, pruned) > 0 else "",
    }
