"""Examples that are not from the task: are they told apart, and what are they taken for?"""

from typing import Any

from prudent.report import answers
from prudent.report.changes import change_of
from prudent.report.looks import for_each_look
from prudent.report.measures import MEASURE, Measure, has
from prudent.report.reading import Method, Run
from prudent.report.writing import signed
from prudent.wording import fixed, percent, plural

APART = (
    ("Told apart (AUROC)", "auroc_{}"),
    ("Strangers let in (FPR95)", "fpr_ood_at_tpr95_id_{}"),
    ("Task turned away (FPR95)", "fpr_id_at_tpr95_ood_{}"),
)
SCORES = {"max_prob": "by maximum probability", "entropy": "by entropy"}
SURE = (
    ("Confidence", "", "confidence", "ood_confidence"),
    ("Uncertainty", "entropy", "mc.entropy", "mc.ood_entropy"),
    ("Doubt", "mi", "mc.mutual_information", "mc.ood_mutual_information"),
)
SHOWN = 20
"""More classes than this are shown as one row."""


def view(run: Run) -> dict[str, Any] | None:
    """How well strangers are told apart, doubt under dropout, and the classes they are taken for; None without any."""
    if not run.has_ood or not all("ood_decisions" in network for network in run.results["networks"]):
        return None
    ood = run.data["ood"]
    return {
        "about": ood["about"],
        "name": ood["name"],
        "n": plural(ood["n"], "example"),
        "test": plural(run.data["splits"]["test"], "test example"),
        "seeds": plural(len(run.seeds), "seed"),
        "many": len(run.seeds) > 1,
        "samples": run.samples,
        "scores": list(SCORES.values()),
        "sure": [{"name": name, "term": term} for name, term, *_ in _sure(run)],
        "looks": for_each_look(run, _look),
        "known": run.data["about"],
    }


def _sure(run: Run) -> list[tuple[str, str, str, str]]:
    """What says how sure the network is, as far as the run has it."""
    return [one for one in SURE if has(run, one[2]) and has(run, one[3])]


def _look(run: Run, method: Method, i: int) -> dict[str, Any]:
    apart, sure = (change_of(run, method, i, MEASURE[key]) for key in ("auroc_max_prob", "ood_confidence"))
    classes = list(zip(run.data["classes"], shares(run.dense_networks()), shares(run.networks(method, i)), strict=True))
    name, dense, pruned = max(classes, key=lambda c: abs(c[2] - c[1]))
    shift = answers.Shift(name=name, dense=dense, pruned=pruned)
    return {
        "answer": answers.strangers(method.title, run.sparsity(method, i), apart, sure, shift),
        "apart": [
            {
                "name": name,
                "term": MEASURE[key.format("max_prob")].term,
                "cells": [_compared(run, method, i, MEASURE[key.format(score)]) for score in SCORES],
            }
            for name, key in APART
        ],
        "sure": [
            {"who": who, "cells": [_compared(run, method, i, MEASURE[one[at]]) for one in _sure(run)]}
            for who, at in (("task", 2), ("strangers", 3))
        ],
        "classes": _classes(run, method, i),
    }


def _compared(run: Run, method: Method, i: int, measure: Measure) -> dict[str, str]:
    change = change_of(run, method, i, measure)
    return {
        "dense": measure.show(change.dense),
        "pruned": measure.show(change.pruned),
        "verdict": change.verdict,
    }


def _classes(run: Run, method: Method, i: int) -> list[dict[str, Any]]:
    """For each class the share of strangers that are taken for it, over the seeds together."""
    dense, pruned = shares(run.dense_networks()), shares(run.networks(method, i))
    names = run.data["classes"]
    order = list(range(len(names)))
    if len(order) > SHOWN:
        most = sorted(order, key=lambda c: -max(dense[c], pruned[c]))[:SHOWN]
        order = sorted(most)
    rows = [_class(names[c], dense[c], pruned[c]) for c in order]
    left = [c for c in range(len(names)) if c not in order]
    if left:
        rows.append(_class(f"{len(left)} other classes", sum(dense[c] for c in left), sum(pruned[c] for c in left)))
    top = max(*(row["most"] for row in rows), 0.01)
    for row in rows:
        row["bars"] = [round(100 * share / top, 1) for share in row.pop("shares")]
    return rows


def shares(networks: list[dict[str, Any]]) -> list[float]:
    """Share of the strangers decided for each class, the networks' answers added up."""
    counts = [sum(column) for column in zip(*(n["ood_decisions"] for n in networks), strict=True)]
    return [count / sum(counts) for count in counts]


def _class(name: str, dense: float, pruned: float) -> dict[str, Any]:
    return {
        "name": name,
        "dense": percent(dense, 1),
        "pruned": percent(pruned, 1),
        "change": signed(100 * (pruned - dense), 1),
        "large": abs(pruned - dense) >= answers.LARGE_SHIFT,
        "shares": (dense, pruned),
        "most": max(dense, pruned),
        "label": f"{name}: dense {fixed(100 * dense, 1)}, pruned {fixed(100 * pruned, 1)} percent",
    }
