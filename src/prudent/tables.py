"""The numbers of a study as one table: a row for each method and sparsity, means over seeds with their intervals."""

import csv
import io
from collections.abc import Callable, Mapping
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

    Args:
        results: as in results.json, of a study with a suite.
        digits: significant digits.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = ("value", "lo", "hi")
    change = ("change", "change_lo", "change_hi")
    writer.writerow(["method", "sparsity", "measure", "mean", "lo", "hi", "better", *change])
    for row in results["suite"]["rows"]:
        for name, metric in row["metrics"].items():
            beside = row.get("differences", {}).get(name, dict.fromkeys(ends))
            values = [one[key] for one in (metric, beside) for key in ends]
            shown = ["" if value is None else f"{value:.{digits}g}" for value in values]
            own, changed = shown[:3], shown[3:]
            writer.writerow([row["method"] or "dense", repr(row["requested"]), name, *own, metric["better"], *changed])
    return text.getvalue()


def csv_table(results: Mapping[str, Any], *, digits: int = 6) -> str:
    """A CSV table: method, sparsity, seeds, then for every number its mean over seeds, lo and hi.

    The interval is Student's t for the mean from five seeds on, and the range of the seeds with fewer; a number that
    some seed does not have is left out. Where the study compares masks, `overlap` is the share of the kept units that
    the method of compare_with keeps too, `chance` and `chance_by_layer` what `prudent.comparison` expects of luck.
    Where networks were asked with uncertain weights, their metrics then (`laplace_`) and under dropout (`mc_`) follow.
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
    if any("laplace_metrics" in network for network in results["networks"]):
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
