"""A suite for the sample run: numbers of the form that a study writes, no two of them the same."""

import base64
from typing import Any

import numpy as np

from prudent.intervals import over_seeds
from prudent.pictures import png

OPTIONS = {
    "corruptions": ["gaussian_noise", "fog"], "severities": [1, 5], "noises": [8.0, 32.0], "ood": ["letters"],
    "detectors": ["energy", "relative_mahalanobis"], "radii": [4.0],
}  # fmt: skip

TASKS = ("nominal", "gaussian_noise", "fog", "noise", "strangers: photo_patches", "strangers: letters")

KEYS = (
    "calibration.ece_equal_mass", "calibration.ece_smooth", "calibration.temperature", "selective.aurc",
    "selective.coverage_at_1_percent", "nominal.error", "nominal.l2", "corruption.error", "corruption.mce",
    "severity.1.error", "severity.5.error", "noise.8.error", "noise.8.l2", "noise.32.error", "noise.32.l2",
    "attack.4.random", "attack.4.pgd", "attack.4.apgd", "attack.4.unproved_crown", "attack.4.unproved",
    *(f"strangers.{s}.{d}.auroc" for s in ("photo_patches", "letters") for d in OPTIONS["detectors"]),
)  # fmt: skip


def with_suite(results: dict[str, Any]) -> None:
    """Add a suite to the results of the sample, of all its methods."""
    results["study"]["evaluation"] |= {"suite": "full", "suite_options": dict(OPTIONS)}
    rng = np.random.default_rng(0)
    for network in results["networks"]:
        base = 0.1 + 0.6 * network["requested"]
        measures = {key: float(base + 0.2 * rng.random()) for key in KEYS}
        network["suite"] = {"measures": measures, "notes": ["mCE: a note <b>of</b> a network"]}
    study = results["study"]
    candidates = [("", 0.0), *((m["name"], s) for m in study["methods"] for s in m["sparsities"])]
    results["suite"] = {
        "left_out": ["Something is left out."],
        "n": 200,
        "strangers": [
            {"name": "photo_patches", "about": "patches", "n": 150, "classes": []},
            {"name": "letters", "about": "letters", "n": 90, "classes": ["alpha", "<i>beta</i>"]},
        ],
        "relaxed": {"n": 32, "of": 200, "inner": "interval"},
        "rows": [{"method": m, "requested": s, "metrics": _means(results, m, s)} for m, s in candidates],
        "control": {"magnitude": "random"} if any(m["name"] == "random" for m in study["methods"]) else {},
        "potentials": {m["name"]: _potentials(m, rng) for m in study["methods"]},
        "excess": {m["name"]: {} for m in study["methods"]},
        "reallocation": {m["name"]: {repr(s): _taken(s) for s in m["sparsities"]} for m in study["methods"]},
        "exemplars": {m["name"]: {repr(s): _forgotten(s) for s in m["sparsities"]} for m in study["methods"]},
        "images": {str(i): base64.b64encode(png(rng.random((1, 8, 8)))).decode() for i in (3, 7)},
        "changes": {m["name"]: {repr(s): _changes(s) for s in m["sparsities"]} for m in study["methods"]},
    }


def _means(results: dict[str, Any], method: str, sparsity: float) -> dict[str, Any]:
    same = [n for n in results["networks"] if (n["method"], n["requested"]) == (method, sparsity)]
    found = {}
    for key in KEYS:
        metric = over_seeds([n["suite"]["measures"][key] for n in same])
        found[key] = {"value": metric.value, "lo": metric.lo, "hi": metric.hi, "interval": "", "better": "lower"}
    return found


def _potentials(method: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    by_task = {}
    for at, task in enumerate(TASKS):
        value = method["sparsities"][-1] * (1 - 0.15 * at)
        spread = 0.05 * rng.random()
        by_task[task] = {"value": value, "lo": value - spread, "hi": value + spread, "interval": "", "better": "higher"}
    return {"by_task": by_task, "mean": by_task["fog"], "lowest": by_task["noise"], "tolerated": 0.005}


def _taken(sparsity: float) -> dict[str, Any]:
    move = {"stranger": 1, "taken_for": 2, "dense": 0.125, "pruned": sparsity, "n": 45}
    # of 200 and 45 letters, taken for cat, dog, eel and fox
    dense = [[200, 0, 0, 0], [20, 10, 5, 10]]
    pruned = [[199, 1, 0, 0], [45 - round(40 * sparsity), 0, round(40 * sparsity), 0]]
    return {
        "photo_patches": {"movements": [], "dense": [[90, 4, 3, 3]], "pruned": [[91, 3, 3, 3]]},
        "letters": {"movements": [move], "dense": dense, "pruned": pruned},
    }


def _forgotten(sparsity: float) -> dict[str, Any]:
    shown = [{"index": i, "label": 0, "dense": 1, "pruned": 3} for i in (7, 3)]
    return {"n": round(100 * sparsity), "of": 200, "shown": shown}


def _changes(sparsity: float) -> dict[str, Any]:
    def hit(kind: str, name: str, adjusted: float) -> dict[str, Any]:
        values = {"dense": 0.123, "pruned": 0.2 + sparsity / 2, "n": 50, "p_value": adjusted / 9}
        return {"kind": kind, "name": name, "adjusted": adjusted, **values}

    worst = {
        "class": hit("class", "eel", 0.0123),
        "corruption": hit("corruption", "gaussian_noise", 0.05 if sparsity < 0.8 else 0.0501),
        "strangers": hit("strangers", "letters", 0.4) if sparsity > 0.6 else None,
    }
    return {"seed": 0, "looked_at": {"class": 4, "corruption": 2, "strangers": 2}, "worst": worst}
