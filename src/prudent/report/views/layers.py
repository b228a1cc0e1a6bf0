"""Share of each layer that is kept."""

from typing import Any

from prudent.report import answers
from prudent.report.looks import for_each_look
from prudent.report.reading import Method, Run
from prudent.wording import fixed, percent


def view(run: Run) -> dict[str, Any] | None:
    """Bars for each look, mean over the seeds; None where no layers are recorded."""
    if not all(network["layers"] for network in run.results["networks"] if network["method"]):
        return None
    return {
        "looks": for_each_look(run, _look),
        "seeds": len(run.seeds),
        "controls": any(m.control_of is not None for m in run.methods),
    }


def _look(run: Run, method: Method, i: int) -> dict[str, Any]:
    networks = run.networks(method, i)
    before = {name: count[0] for name, count in networks[0]["layers"].items()}
    kept = {name: [n["layers"][name][1] / n["layers"][name][0] for n in networks] for name in before}
    mean = {name: sum(each) / len(each) for name, each in kept.items()}
    largest = max(before.values())
    return {
        "answer": answers.layers(method.title, run.sparsity(method, i), list(mean.items())),
        "rows": [
            {
                "name": name,
                "share": percent(mean[name], 1),
                "between": _between(kept[name]),
                "width": round(100 * mean[name], 2),
                "height": round(8 + 30 * (before[name] / largest) ** 0.5),
                "of": f"{before[name]:,} {method.units}",
            }
            for name in before
        ],
    }


def _between(each: list[float]) -> str:
    """Lowest to highest seed, "" where they agree."""
    low, high = fixed(100 * min(each), 1), fixed(100 * max(each), 1)
    return "" if low == high else f"{low} to {high}"
