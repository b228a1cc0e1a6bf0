"""Stated confidence against how often it is right, over the seeds together."""

from typing import Any

from prudent.intervals import clopper_pearson
from prudent.report import answers
from prudent.report.changes import change_of
from prudent.report.looks import for_each_look, for_each_method
from prudent.report.measures import MEASURE
from prudent.report.reading import Method, Run
from prudent.report.writing import removed
from prudent.wording import fixed, percent, plural

FEW = 10
"""A bin with fewer predictions is drawn faint."""


def view(run: Run) -> dict[str, Any] | None:
    """The diagram of the look, all sparsities at a glance, and the last bin in words; None without bins."""
    if not all("reliability" in network for network in run.results["networks"]):
        return None
    dense = _bins(run, run.dense_networks())
    return {
        "looks": for_each_look(run, lambda run, method, i: _look(run, method, i, dense)),
        "methods": for_each_method(run, lambda run, method: {"minis": _minis(run, method)}),
        "dense": _mini(dense, "dense"),
        "bins": run.study["evaluation"]["bins"],
        "pooled": f"{sum(b['n'] for b in dense):,}",
        "seeds": len(run.seeds),
        "test": plural(run.data["splits"]["test"], "example"),
        "few": FEW,
        "data": {
            "count": run.study["evaluation"]["bins"],
            "dense": dense,
            "points": [
                [_bins(run, run.networks(method, i)) for i in range(len(method.sparsities))] for method in run.methods
            ],
        },
    }


def _bins(run: Run, networks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Bins that hold predictions, the seeds' counts added up."""
    counts = [sum(column) for column in zip(*(n["reliability"]["counts"] for n in networks), strict=True)]
    right = [sum(column) for column in zip(*(n["reliability"]["right"] for n in networks), strict=True)]
    said = [sum(column) for column in zip(*(n["reliability"]["confidence"] for n in networks), strict=True)]
    total = sum(counts)
    found = []
    for i, n in enumerate(counts):
        if n:
            lo, hi = limits(right[i], n, seeds=len(run.seeds))
            found.append({
                "bin": i, "n": n, "said": said[i] / n, "right": right[i] / n, "lo": lo, "hi": hi, "share": n / total,
                "few": n < FEW,
                "text": [f"said {percent(said[i] / n, 1)}", f"was right in {percent(right[i] / n, 1)}",
                         f"{n:,} of {total:,} predictions"],
            })  # fmt: skip
    return found


def limits(right: int, n: int, *, seeds: int) -> tuple[float, float]:
    """95 % limits of the share of right answers among n predictions of several seeds.

    All seeds answer the same examples, so their predictions are not independent: the limits are those of one seed's
    worth of predictions, n / seeds of them. The share itself always lies within.
    """
    one = max(1, round(n / seeds))
    lo, hi = clopper_pearson(min(one, round(right / seeds)), one)
    return min(lo, right / n), max(hi, right / n)


def gap(bins: list[dict[str, Any]]) -> float:
    """Calibration gap of these bins: sum of n |said - right| over all predictions."""
    return float(sum(b["share"] * abs(b["said"] - b["right"]) for b in bins))


def _look(run: Run, method: Method, i: int, dense: list[dict[str, Any]]) -> dict[str, Any]:
    bins = _bins(run, run.networks(method, i))
    total = sum(b["n"] for b in bins)
    right = round(sum(b["n"] * b["right"] for b in bins))
    lo, hi = limits(right, total, seeds=len(run.seeds))
    honesty = answers.Honesty(said=sum(b["share"] * b["said"] for b in bins), right=right / total, lo=lo, hi=hi)
    change = change_of(run, method, i, MEASURE["ece"])
    return {
        "answer": answers.confidence(method.title, run.sparsity(method, i), change, honesty),
        "last": _last(bins, run),
        "last_dense": _last(dense, run),
    }


def _last(bins: list[dict[str, Any]], run: Run) -> str:
    """The highest bin in words, since most predictions lie in it and a dot cannot show it."""
    top = bins[-1]
    if top["bin"] < run.study["evaluation"]["bins"] - 1:
        return "none of its predictions is in the last bin"
    return (
        f"{percent(top['share'], 0)} of its predictions are in the last bin: there it says {percent(top['said'], 1)} "
        f"and is right in {percent(top['right'], 1)} ({fixed(100 * top['lo'], 1)} to {percent(top['hi'], 1)})"
    )


def _minis(run: Run, method: Method) -> list[dict[str, Any]]:
    return [
        _mini(_bins(run, run.networks(method, i)), removed(run, method, i)) | {"i": i}
        for i in range(len(method.sparsities))
    ]


def _mini(bins: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """A diagram of 100 x 100 units: a dot and a line to the diagonal for each bin."""
    marks = [
        {
            "x": round(9 + 82 * b["said"], 1),
            "y": round(91 - 82 * b["right"], 1),
            "base": round(91 - 82 * b["said"], 1),
            "r": round(2.2 + 6 * b["share"] ** 0.5, 1),
            "few": b["few"],
        }
        for b in bins
    ]
    return {"name": name, "gap": fixed(100 * gap(bins), 1), "marks": marks}
