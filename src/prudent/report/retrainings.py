"""What robust retraining changed, as the page shows it: task by task, beside the same pruning retrained as usual."""

from typing import Any

from prudent.report.reading import Run
from prudent.report.suites import shown
from prudent.report.writing import signed
from prudent.wording import percent

GROUPS = {
    "nominal": "images as they are",
    "retrained_on": "corruptions it was retrained on",
    "held_out": "corruptions held out",
    "noise": "noise",
}


def retrained(run: Run, effect: dict[str, Any]) -> dict[str, Any]:
    """A method beside its twin that is retrained as usual: potentials, and errors at the highest sparsity.

    Args:
        run: which has a suite.
        effect: one of its results' suite.retraining.
    """
    titles = {method.name: method.title for method in run.methods}
    found = []
    for task, one in effect["tasks"].items():
        error = one["errors"][-1]
        cells = [shown(one["other"], "percent"), shown(one["own"], "percent"), _changed(one["change"])]
        cells += [shown(error["other"], "percent"), shown(error["own"], "percent"), _changed(error["change"])]
        name = GROUPS[task] if effect["differs"].get("corruptions") or task != "held_out" else "corruptions"
        found.append({"task": name, "n": len(one["names"]), "cells": cells})
    hardest = next(iter(effect["tasks"].values()))["errors"][-1]["requested"]
    return {
        "title": titles[effect["method"]],
        "beside": titles[effect["beside"]],
        "how": ", ".join(f"{key} = {_listed(value)}" for key, value in effect["differs"].items()),
        "sparsity": percent(hardest),
        "rows": found,
    }


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _changed(metric: dict[str, Any]) -> dict[str, str]:
    """A paired change of a share, in points."""
    ends = [metric["lo"], metric["hi"]]
    between = "" if None in ends else " to ".join(signed(100 * end, 1) for end in ends)
    return {"value": signed(100 * metric["value"], 1), "between": between}
