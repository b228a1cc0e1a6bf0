"""What a suite found beyond accuracy: prune potentials, corruption, noise, strangers, attacks, forgotten examples."""

from typing import Any

from prudent.intervals import FEWEST, paired_over_seeds
from prudent.report import suites
from prudent.report.looks import for_each_look, for_each_method
from prudent.report.measures import spread_words
from prudent.report.palette import styles
from prudent.report.reading import Method, Run
from prudent.report.retrainings import retrained
from prudent.report.suites import CALLED, Measures, SuiteOf, shown, task_name
from prudent.report.taken import taken
from prudent.report.writing import cut, signed
from prudent.wording import fixed, percent, plural

FIGURES = (
    ("Calibration error, equal mass", "calibration.ece_equal_mass", "points"),
    ("Calibration error, swept bins", "calibration.ece_sweep", "points"),
    ("Calibration error, smooth", "calibration.ece_smooth", "points"),
    ("Calibration error, by class", "calibration.ece_classwise", "points"),
    ("Entropy and errors apart (UCE)", "calibration.uce", "points"),
    ("Best temperature", "calibration.temperature", "number"),
    ("Calibration error at that temperature", "calibration.ece_after_temperature", "points"),
    ("Error over coverages (AURC)", "selective.aurc", "points"),
    ("Answered at 1 % error", "selective.coverage_at_1_percent", "percent"),
    ("Error under corruption", "corruption.error", "percent"),
    ("Corruption error, dense = 1 (mCE)", "corruption.mce", "number"),
    ("Relative corruption error", "corruption.relative_mce", "number"),
)
"""Name, measure and unit of the table's first rows; attacks follow, by radius."""

ATTACKS = (
    ("random", "Error under random changes"),
    ("pgd", "Error under attack (PGD)"),
    ("apgd", "Error under the strongest attack (APGD)"),
    ("unproved_crown", "Not proved safe by linear bounds"),
    ("unproved", "Not proved safe by intervals"),
)

PICTURES, ROW = 8, 24

STEPS, MOST_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25), 6
"""Of an axis from 0 for shares and distances."""


def view(run: Run) -> dict[str, Any] | None:
    """Charts, sentences, tables and pictures for each look; None where the study asked for no suite."""
    if "suite" not in run.results:
        return None
    suite = SuiteOf(run)
    found = suite.found
    tasks = list(found["potentials"][run.methods[0].name].get("by_task", {}))
    shifts = [key for key in suite.dense if key.startswith("severity.")]
    return {
        "left_out": found["left_out"],
        "images": plural(found["n"], "test image") if found["n"] else "",
        "tasks": [task_name(task) for task in tasks],
        "height": 60 + ROW * len(tasks),
        "corruptions": bool(shifts),
        "noises": bool(_noises(suite)),
        "yardstick": "nominal.l2" in suite.dense,
        "sets": [one["name"] for one in found["strangers"]],
        "called": percent(CALLED),
        "relaxed": _relaxed(suite),
        "seeds": len(run.seeds),
        "spread": spread_words(run),
        "potentials": _potential_rows(run, suite, tasks),
        "answers": for_each_method(run, lambda _, method: {"answer": _room(suite, method)}),
        "looks": for_each_look(run, lambda _, method, i: _look(suite, method, i)),
        "retraining": [retrained(run, effect) for effect in suite.found.get("retraining", ())],
        "notes": list(dict.fromkeys(note for n in run.results["networks"] for note in n["suite"]["notes"])),
        "data": _charts(run, suite, tasks),
    }


def _relaxed(suite: SuiteOf) -> str:
    """What linear bounds were asked about, and how; "" where they were not."""
    found = suite.found.get("relaxed")
    if found is None:
        return ""
    inside = "" if found["inner"] == "crown" else ", the inputs of ReLUs bounded by intervals"
    return f"the first {found['n']:,} of {found['of']:,} attacked examples{inside}"


def _room(suite: SuiteOf, method: Method) -> Any:  # noqa: ANN401 (Markup)
    potentials = suite.found["potentials"][method.name]
    return suites.room(method.title, potentials) if potentials else ""


def _potential_rows(run: Run, suite: SuiteOf, tasks: list[str]) -> list[dict[str, Any]]:
    found = suite.found["potentials"]
    return [
        {"task": task_name(task), "cells": [shown(found[m.name]["by_task"][task], "percent") for m in run.methods]}
        for task in tasks
    ]


def _look(suite: SuiteOf, method: Method, i: int) -> dict[str, Any]:
    changes = suite.at("changes", method, i)
    own, control = suite.of(method, i), suite.beside(method, i)
    return {
        "hurt": suites.hurt(changes),
        "seed": changes["seed"],
        "control": bool(control),
        "figures": [
            _figure(suite.dense, own, control, *row) | {"change": _change(suite, method, i, *row[1:])}
            for row in _figures(suite)
        ],
        "detectors": _detectors(suite, own, control),
        "taken": taken(suite, method, i),
        "forgotten": _forgotten(suite, method, i),
    }


def _figures(suite: SuiteOf) -> list[tuple[str, str, str]]:
    """The rows of the table that the run has."""
    radii = dict.fromkeys(key.split(".", 1)[1].rpartition(".")[0] for key in suite.dense if key.endswith(".pgd"))
    attacks = [
        (f"{name}, {radius}/255", f"attack.{radius}.{kind}", "percent") for radius in radii for kind, name in ATTACKS
    ]
    return [row for row in (*FIGURES, *attacks) if row[1] in suite.dense]


def _figure(dense: Measures, own: Measures, control: Measures, name: str, key: str, unit: str) -> dict[str, Any]:
    return {"name": name, "cells": [shown(each.get(key), unit) for each in (dense, own, control)]}


def _change(suite: SuiteOf, method: Method, i: int, key: str, unit: str) -> dict[str, Any]:
    """Pruned less dense, each network beside the dense one of its seed; `sure` if corrected for the table's rows."""
    pairs = suite.pairs(method, i, key)
    if pairs is None:
        return {"value": "", "between": "", "sure": False}
    factor, digits = (1, 2) if unit == "number" else (100, 1 if unit == "percent" else 2)
    found = paired_over_seeds(*pairs)
    ends = [found.lo, found.hi]
    sure = False
    if len(pairs[0]) >= FEWEST:
        whole = paired_over_seeds(*pairs, looked_at=len(_figures(suite)))
        sure = bool((whole.lo or 0) > 0 or (whole.hi or 0) < 0)
    between = "" if None in ends else " to ".join(signed(factor * (end or 0), digits) for end in ends)
    return {"value": signed(factor * found.value, digits), "between": between, "sure": sure}


def _detectors(suite: SuiteOf, own: Measures, control: Measures) -> list[dict[str, Any]]:
    """AUROC of every detector on every set: dense, pruned, control."""
    rows = []
    for detector in suite.run.study["evaluation"]["suite_options"]["detectors"]:
        keys = [f"strangers.{one['name']}.{detector}.auroc" for one in suite.found["strangers"]]
        cells = [[_auroc(each.get(key)) for each in (suite.dense, own, control)] for key in keys]
        rows.append({"name": detector.replace("_", " "), "cells": cells})
    return rows if suite.found["strangers"] else []


def _auroc(metric: dict[str, Any] | None) -> str:
    return "-" if metric is None else fixed(metric["value"], 3)


def _forgotten(suite: SuiteOf, method: Method, i: int) -> dict[str, Any]:
    names, found = suite.run.data["classes"], suite.at("exemplars", method, i)
    pictures = [
        {
            "image": suite.found["images"].get(str(one["index"])),
            "label": names[one["label"]],
            "dense": names[one["dense"]],
            "pruned": names[one["pruned"]],
            "index": one["index"],
        }
        for one in found["shown"][:PICTURES]
    ]
    return {"n": f"{found['n']:,}", "of": f"{found['of']:,}", "pictures": [p for p in pictures if p["image"]]}


def _noises(suite: SuiteOf) -> list[float]:
    return [float(k.split(".", 1)[1].removesuffix(".error")) for k in suite.dense if k.startswith("noise.")
            and k.endswith(".error")]  # fmt: skip


def _charts(run: Run, suite: SuiteOf, tasks: list[str]) -> dict[str, Any]:
    """What the script draws; the methods in the study's order."""
    severities = [key for key in suite.dense if key.startswith("severity.")]
    error = [(0.0, "none", "nominal.error"), *((float(k.split(".")[1]), k.split(".")[1], k) for k in severities)]
    # sizes double: even steps apart
    noise = [(0.0, "0", "nominal.l2")] + [
        (float(at), f"{size:g}", f"noise.{size:g}.l2") for at, size in enumerate(_noises(suite), start=1)
    ]
    return {
        "tasks": [cut(task_name(task), 22) for task in tasks],
        "potentials": [_dots(suite, method, tasks) for method in run.methods] if tasks else [],
        "controls": [c.index if (c := suite.control(m)) is not None else None for m in run.methods],
        "styles": [style.marker for style in styles(run.methods)],
        "lines": {
            "c-severity": _lines(run, suite, error) if severities else None,
            "c-noise": _lines(run, suite, noise) if len(noise) > 1 and _has(run, suite, "nominal.l2") else None,
        },
    }


def _has(run: Run, suite: SuiteOf, key: str) -> bool:
    return all(key in suite.of(method, i) for method, i in run.candidates())


def _dots(suite: SuiteOf, method: Method, tasks: list[str]) -> list[dict[str, Any]]:
    found = suite.found["potentials"][method.name]["by_task"]
    return [
        {**{k: found[task][k] for k in ("value", "lo", "hi")}, "text": shown(found[task], "percent")["value"]}
        for task in tasks
    ]


def _lines(run: Run, suite: SuiteOf, steps: list[tuple[float, str, str]]) -> dict[str, Any]:
    """A line for dense and for every candidate along the steps (place, its name, measure)."""

    def points(measures: Measures) -> list[dict[str, Any]]:
        there = [(x, measures[key]) for x, _, key in steps if key in measures]
        return [{"x": x, **{k: m[k] for k in ("value", "lo", "hi")}, "text": fixed(m["value"], 3)} for x, m in there]

    dense = points(suite.dense)
    every = [[points(suite.of(m, i)) for i in range(len(m.sparsities))] for m in run.methods]
    points_drawn = [*dense, *(p for method in every for candidate in method for p in candidate)]
    highest = max(v for p in points_drawn for v in (p["value"], p["hi"]) if v is not None)
    step = next((s for s in STEPS if highest / s <= MOST_TICKS), STEPS[-1])
    right = steps[-1][0]
    return {
        "dense": dense,
        "methods": every,
        "range": (0.0, 1.06 * max(highest, step)),
        "ticks": [(k * step, fixed(k * step, 2)) for k in range(int(highest / step + 1e-9) + 1)],
        "steps": [(x, name) for x, name, _ in steps],
        "across": (-0.04 * right, 1.04 * right),
    }
