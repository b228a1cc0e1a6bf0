"""What every network says under dropout: dense, pruned and its random control, before and after a temperature."""

from typing import Any

from prudent.report import answers
from prudent.report.looks import for_each_look
from prudent.report.measures import Measure, summary
from prudent.report.reading import Method, Run
from prudent.report.writing import removed
from prudent.wording import plural

ROWS = (
    (Measure(key="entropy", name="Uncertainty (predictive entropy)", term="entropy", better="neither"), ""),
    (Measure(key="expected_entropy", name="Expected entropy, what each sample is unsure of", better="neither"), ""),
    (Measure(key="mutual_information", name="Doubt (mutual information)", term="mi", better="neither"), ""),
    (Measure(key="variation_ratio", name="Samples that vote otherwise", unit="percent", better="neither"), ""),
    (Measure(key="ood_entropy", name="Uncertainty on strangers", term="entropy", better="neither"), ""),
    (Measure(key="ood_mutual_information", name="Doubt on strangers", term="mi", better="neither"), ""),
    (Measure(key="temperature", name="Best temperature inside the mean", term="inside", better="neither"), ""),
    (Measure(key="uce", name="Entropy and errors apart (UCE)", term="uce", unit="points"), "uce_after_temperature"),
    (Measure(key="ece", name="Calibration gap (ECE)", term="ece", unit="points"), "ece_after_temperature"),
    (Measure(key="nll", name="Log loss (NLL)", term="nll"), "nll_after_temperature"),
)
"""A measure of the samples, and its name in the results after the temperature; "" where it has none."""


def view(run: Run) -> dict[str, Any] | None:
    """One table for each look, means and intervals over the seeds; None where a study asked for less of dropout."""
    if not all("uce" in network.get("mc_metrics", {}) for network in run.results["networks"]):
        return None
    return {
        "looks": for_each_look(run, _look),
        "samples": plural(run.samples or 0, "sample"),
        "rate": run.study["evaluation"]["mc_dropout"]["rate"],
        "seeds": plural(len(run.seeds), "seed"),
        "spread": summary([0.0] * len(run.seeds)).interval,
        "validation": plural(run.data["splits"]["validation"], "validation example"),
        "test": plural(run.data["splits"]["test"], "test example"),
    }


def _look(run: Run, method: Method, i: int) -> dict[str, Any]:
    control = _control(run, method)
    sides = [("dense", run.dense_networks()), ("pruned", run.networks(method, i))]
    sides += [] if control is None else [("at random", run.networks(control, i))]
    rows = []
    for measure, after in ROWS:
        rows += _row(measure, measure.key, measure.name, sides)
        rows += _row(measure, after, "after the temperature", sides) if after else []
    doubts = [_values(networks, "mutual_information") for _, networks in sides[:2]]
    gaps = [[_values(sides[1][1], key) for key in ("uce", "uce_after_temperature")]]
    return {
        "answer": answers.doubt(method.title, removed(run, method, i), doubts, gaps[0]),
        "sides": [name for name, _ in sides],
        "rows": rows,
    }


def _control(run: Run, method: Method) -> Method | None:
    """The method that removes as many units at random, if the study has one."""
    return next((m for m in run.methods if m.control_of == method.name and m.score == "random"), None)


def _row(measure: Measure, key: str, name: str, sides: list[tuple[str, list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    cells = [_cell(measure, _values(networks, key)) for _, networks in sides]
    under = name.startswith("after")
    unit = {"percent": "", "points": "", "number": "nats"}[measure.unit] if key != "temperature" else ""
    return [{"name": name, "term": "" if under else measure.term, "under": under, "unit": unit, "cells": cells}] if any(
        cell["value"] for cell in cells
    ) else []  # fmt: skip


def _values(networks: list[dict[str, Any]], key: str) -> list[float]:
    """One value for each seed; none at all where a seed has none."""
    found = [network["mc_metrics"].get(key) for network in networks]
    return [] if any(one is None for one in found) else [float(one["value"]) for one in found if one is not None]


def _cell(measure: Measure, values: list[float]) -> dict[str, str]:
    if not values:
        return {"value": "", "between": ""}
    found = summary(values, share=measure.share)
    between = "" if found.lo is None or found.hi is None else f"{measure.bare(found.lo)} to {measure.bare(found.hi)}"
    return {"value": measure.show(found.value), "between": between}
