"""What the networks decide all over the plane, and where they doubt: dense beside pruned."""

import base64
from typing import Any

from prudent.report import answers, pictures
from prudent.report.looks import for_each_look
from prudent.report.reading import Method, Run
from prudent.wording import percent

KINDS = (
    ("probability", "What it decides", "", "probability of one class against the other"),
    ("entropy", "How unsure it says it is", "entropy", "entropy"),
    ("mc_entropy", "The same, under dropout", "entropy", "entropy of the mean over dropout samples"),
    ("mc_mutual_information", "Doubt under dropout", "mi", "mutual information of dropout samples"),
    ("laplace_entropy", "The same, with uncertain weights", "entropy", "entropy with uncertain weights"),
    ("laplace_mutual_information", "Doubt by uncertain weights", "mi", "mutual information of uncertain weights"),
)
"""Name in the results, heading, glossary entry, and what it is in words."""


def view(run: Run) -> dict[str, Any] | None:
    """Maps of every candidate beside those of the dense network of the declared seed; None where none were made."""
    dense = run.dense(run.declared[2])
    if "maps" not in dense:
        return None
    shown = [kind for kind in KINDS if kind[0] in dense["maps"]["maps"]]
    first, second = run.data["classes"]
    return {
        "looks": for_each_look(run, lambda run, method, i: _look(run, method, i, dense["maps"], shown)),
        "seed": run.declared[2],
        "side": dense["maps"]["points"],
        "dot": round(dense["maps"]["points"] / 90, 2),
        "first": first,
        "second": second,
        "sides": pictures.png(bytes(range(256)) * 256, 256, pictures.SIDES),
        "doubts": pictures.png(bytes(range(256)) * 256, 256, pictures.DOUBT),
        "samples": run.samples,
        "points": _points(dense["maps"]),
        "weights": dense.get("laplace", {}).get("weights"),
    }


def mean(found: dict[str, Any], name: str) -> float:
    """Mean of a map over all its points, in [0, 1]."""
    values = base64.b64decode(found["maps"][name])
    return sum(values) / (255 * len(values))


def _look(
    run: Run, method: Method, i: int, dense: dict[str, Any], shown: list[tuple[str, str, str, str]]
) -> dict[str, Any]:
    pruned = run.network(method, i, run.declared[2])["maps"]
    means = [(name, mean(dense, name), mean(pruned, name)) for name, *_ in shown if name.endswith("entropy")]
    return {
        "answer": answers.maps(method.title, run.sparsity(method, i), means),
        "rows": [
            {
                "name": heading,
                "term": term,
                "dense": _picture(dense, name, f"Dense network: {words}"),
                "pruned": _picture(pruned, name, f"{method.title}, {percent(run.sparsity(method, i))}: {words}"),
            }
            for name, heading, term, words in shown
        ],
    }


def _picture(found: dict[str, Any], name: str, label: str) -> dict[str, str]:
    values, sides = base64.b64decode(found["maps"][name]), base64.b64decode(found["maps"]["probability"])
    stops = pictures.SIDES if name == "probability" else pictures.DOUBT
    return {
        "png": pictures.png(values, found["points"], stops),
        "line": pictures.crossing(sides, found["points"]),
        "label": label,
    }


def _points(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Some test examples, in units of the pictures."""
    (left, right), (low, high), last = found["x"], found["y"], found["points"] - 1
    return [
        {
            "x": round(0.5 + last * (x - left) / (right - left), 2),
            "y": round(0.5 + last * (high - y) / (high - low), 2),
            "class": c,
        }
        for x, y, c in found["examples"]
        if left <= x <= right and low <= y <= high
    ]
