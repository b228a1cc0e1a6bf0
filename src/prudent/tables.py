"""The numbers of a study as one table: a row for each method and sparsity, means over seeds with their intervals."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prudent.intervals import over_seeds

Network = Mapping[str, Any]

COSTS: Mapping[str, Callable[[Network], float | None]] = {
    "train_test_gap": lambda network: network["train_test_gap"],
    "epochs": lambda network: len(network["history"]),
    "best_epoch": lambda network: network["best_epoch"],
    "parameters": lambda network: network["parameters"],
    "macs_needed": lambda network: network["macs_needed"],
    "bytes": lambda network: network["bytes"],
}
"""Columns beside the metrics. No timings: they differ from run to run."""

COMPARED = ("overlap", "chance", "chance_by_layer")
"""Columns where the study compares masks; the first is the share of units that the method of compare_with keeps too."""

DOUBTS: Mapping[str, str] = {"mc_": "mc_metrics", "laplace_": "laplace_metrics"}
"""Columns where the study asks for uncertain weights: what stands before a metric -> where the results have it."""


def suite_table(results: Mapping[str, Any], *, digits: int = 6) -> str:
    """A CSV table of the suite: method, sparsity, measure, mean over seeds, lo and hi, which direction is better.

    Then the difference from dense with its ends, each network beside the dense one of its seed; of dense it is empty.
    Prune potentials follow (potential.TASK, of no single sparsity), and of methods that have a nominal twin what their
    retraining changes (retraining.TASK.error and .potential): there the change is from the twin.

    Args:
        results: as in results.json, of a study with a suite.
        digits: significant digits.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "sparsity", "measure", "mean", "lo", "hi", "better", "change", "change_lo", "change_hi"])
    for method, sparsity, name, metric, change in _suite_rows(results["suite"]):
        own, changed = _ends(metric, digits), _ends(change, digits)
        writer.writerow([method or "dense", sparsity, name, *own, metric["better"], *changed])
    return text.getvalue()


def _suite_rows(
    suite: Mapping[str, Any],
) -> Iterator[tuple[str, str, str, Mapping[str, Any], Mapping[str, Any] | None]]:
    """Method, sparsity, name, the measure and its change, row by row."""
    for row in suite["rows"]:
        for name, metric in row["metrics"].items():
            yield row["method"], repr(row["requested"]), name, metric, row.get("differences", {}).get(name)
    for method, found in suite["potentials"].items():
        for task, metric in found.get("by_task", {}).items():
            yield method, "", f"potential.{task}", metric, None
    for effect in suite.get("retraining", ()):
        for task, found in effect["tasks"].items():
            yield effect["method"], "", f"retraining.{task}.potential", found["own"], found["change"]
            for one in found["errors"]:
                yield effect["method"], repr(one["requested"]), f"retraining.{task}.error", one["own"], one["change"]


def _ends(metric: Mapping[str, Any] | None, digits: int) -> list[str]:
    values = [None if metric is None else metric[key] for key in ("value", "lo", "hi")]
    return ["" if value is None else f"{value:.{digits}g}" for value in values]


def csv_table(results: Mapping[str, Any], *, digits: int = 6) -> str:
    """A CSV table: method, sparsity, seeds, then for every number its mean over seeds, lo and hi.

    The interval is Student's t for the mean from five seeds on, and the range of the seeds with fewer; a number that
    some seed does not have is left out. Where the study compares masks, `overlap` is the share of the kept units that
    the method of compare_with keeps too, `chance` and `chance_by_layer` what `prudent.comparison` expects of luck.
    Where networks were asked with uncertain weights, or for all that dropout says (evaluation.mc_dropout), their
    metrics then (`laplace_`) and under dropout (`mc_`) follow.
    Rounded to `digits` significant digits.

    Args:
        results: as in results.json.
        digits: significant digits.
    """
    groups: dict[tuple[str, float], list[Network]] = {}
    for network in results["networks"]:
        groups.setdefault((network["method"], network["requested"]), []).append(network)
    names = list(dict.fromkeys(name for network in results["networks"] for name in network["metrics"])) + list(COSTS)
    names += [name for name in COMPARED if any("compared" in network for network in results["networks"])]
    # earlier tables of studies with samples alone do without their columns
    if any("laplace_metrics" in n or "uce" in n.get("mc_metrics", {}) for n in results["networks"]):
        for prefix, place in DOUBTS.items():
            each = [name for network in results["networks"] for name in network.get(place, {})]
            names += [prefix + name for name in dict.fromkeys(each)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["method", "sparsity", "seeds", *(f"{name}{part}" for name in names for part in ("", "_lo", "_hi"))]
    )
    for (method, sparsity), networks in groups.items():
        cells = [_cells([_value(network, name) for network in networks], digits) for name in names]
        row = [method or "dense", repr(sparsity), len(networks), *(part for three in cells for part in three)]
        writer.writerow(row)
    return text.getvalue()


def _value(network: Network, name: str) -> float | None:
    if name in COSTS:
        return COSTS[name](network)
    if name in COMPARED:
        return network["compared"][name] if "compared" in network else None
    for prefix, place in DOUBTS.items():
        own = name.removeprefix(prefix)
        if own != name and own in network.get(place, {}):
            return float(network[place][own]["value"])
    return network["metrics"][name]["value"] if name in network["metrics"] else None


def _cells(values: list[float | None], digits: int) -> tuple[str, str, str]:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "", "", ""
    found = over_seeds(known)
    return tuple("" if v is None else f"{v:.{digits}g}" for v in (found.value, found.lo, found.hi))  # type: ignore[return-value]
