"""The walk of p-values, its table, and how many examples the next step would need."""

import math
from typing import Any

from prudent.intervals import upper_limit
from prudent.planning import examples_needed, needed
from prudent.report import answers
from prudent.report.looks import for_each_method
from prudent.report.reading import Method, Run
from prudent.report.writing import number, one_in, p_value
from prudent.types import Certificate
from prudent.wording import exact_percent, percent, percent_above

LEAST = 1e-9
"""Smaller p-values are drawn here."""

RISKS = {
    "disagreement": {"title": "Differs from dense", "verb": "differ", "labels": "no labels needed"},
    "error": {"title": "Wrong", "verb": "wrong", "labels": "labels needed"},
}


def view(run: Run) -> dict[str, Any]:
    """For each method: a walk for each risk, the table of counts, and the planner."""
    certificate = run.certificate
    plan = _plan(run) if _has_planner(certificate) else None
    return {
        "risks": [{"id": f"c-walk-{k}", **RISKS[risk]} for k, risk in enumerate(run.risks)],
        "alpha": exact_percent(certificate.alpha),
        "delta": f"{certificate.delta:g}",
        "level": exact_percent(certificate.delta, complement=True),
        "n": f"{certificate.n:,}",
        "bound": certificate.bound,
        "seed": run.declared[2],
        "others": len(run.seeds) > 1,
        "methods": for_each_method(run, _method),
        "planner": plan is not None,
        "data": {
            "walks": [
                {f"c-walk-{k}": _walk(run, method, risk) for k, risk in enumerate(run.risks)} for method in run.methods
            ],
            "scale": _scale(run),
            "delta": math.log10(certificate.delta),
            "passes": f"passes: p ≤ {certificate.delta:g}",
            "plan": plan,
        },
    }


def _has_planner(certificate: Certificate) -> bool:
    """Whether the planner speaks of this certificate's bound."""
    return certificate.counts is not None and certificate.bound == "binomial"


def _method(run: Run, method: Method) -> dict[str, Any]:
    _, declared_risk, seed = run.declared
    own = [run.certificates[method.name, risk, seed] for risk in run.risks]
    reached = [_reached(run.certificates[method.name, declared_risk, s]) for s in run.seeds]
    return {
        "answer": answers.proof(method.title, reached, declared_risk),
        "rows": [_row(own, i) for i in range(len(method.sparsities))],
        "needs": [
            {"risk": RISKS[risk]["title"], "text": needed(certificate)}
            for risk, certificate in zip(run.risks, own, strict=True)
            if needed(certificate)
        ],
    }


def _reached(certificate: Certificate) -> float | None:
    return None if certificate.selected is None else certificate.sparsities[certificate.selected]


def _row(certificates: list[Certificate], i: int) -> dict[str, Any]:
    return {
        "i": i,
        "removed": percent(certificates[0].sparsities[i]),
        "cells": [_cell(certificate, i) for certificate in certificates],
    }


def _cell(certificate: Certificate, i: int) -> dict[str, str]:
    state = certificate.states[i]
    upper = ""
    if certificate.counts is not None and certificate.bound == "binomial":
        upper = percent_above(upper_limit(certificate.counts[i], certificate.n, delta=certificate.delta), 1)
    return {
        "count": _count(certificate, i),
        "upper": upper,
        "p": p_value(certificate.p_values[i], near=certificate.delta),
        "state": state,
        "word": {"passed": "passed", "stopped": "stopped here", "not tested": "not tested"}[state],
        "icon": {"passed": "ok", "stopped": "stop", "not tested": "part"}[state],
    }


def _count(certificate: Certificate, i: int) -> str:
    if certificate.counts is None:
        return percent(certificate.empirical_risks[i], 1)
    return f"{certificate.counts[i]:,}"


def _walk(run: Run, method: Method, risk: str) -> dict[str, Any]:
    """p-values of every seed, with those of the declared one in words."""
    declared = run.certificates[method.name, risk, run.declared[2]]
    count = len(method.sparsities)
    return {
        "labels": [number(run.sparsity(method, i)) for i in range(count)],
        "p": [_log(p) for p in declared.p_values],
        "states": declared.states,
        "text": [_words(declared, i) for i in range(count)],
        "others": [
            {
                "p": [_log(p) for p in other.p_values],
                "text": [f"seed {seed}: {_count(other, i)} of {other.n:,}" for i in range(count)],
            }
            for seed in run.seeds
            if seed != run.declared[2]
            for other in [run.certificates[method.name, risk, seed]]
        ],
    }


def _words(certificate: Certificate, i: int) -> list[str]:
    cell = _cell(certificate, i)
    lost = f"{cell['count']} of {certificate.n:,} ({percent(certificate.empirical_risks[i], 1)})"
    return [
        f"{percent(certificate.sparsities[i])} removed",
        f"{lost}, upper limit {cell['upper']}" if cell["upper"] else lost,
        f"p = {cell['p']}: {cell['word']}",
    ]


def _log(p: float) -> float:
    return math.log10(max(p, LEAST))


def _scale(run: Run) -> dict[str, Any]:
    """One axis of p-values for all walks, in powers of ten."""
    least = min(_log(p) for c in run.certificates.values() for p in c.p_values)
    low = math.floor(min(least, -2.0)) - 0.4
    step = 1 if low > -3.5 else 2
    return {"range": (low, 0.35), "ticks": [(-k, one_in(k)) for k in range(0, int(-low) + 1, step)]}


def _plan(run: Run) -> dict[str, Any] | None:
    """Examples needed against the true rate, at the declared limit; and where each candidate would stand.

    None where the limit is so low that no number of examples that is searched would do at any rate.
    """
    certificate = run.certificate
    alpha, delta, n = certificate.alpha, certificate.delta, certificate.n
    own = [run.certificates[method.name, run.declared[1], run.declared[2]] for method in run.methods]
    # the line goes through the candidates' own rates too, so that their dots lie on it
    observed = {rate for one in own for rate in one.empirical_risks if rate < alpha}
    grid = sorted({*(alpha * k / 40 for k in range(40)), *observed})
    line = [(rate, m) for rate in grid if (m := _needs(rate, alpha, delta)) is not None]
    if not line:
        return None
    points = [[_planned(one, i) for i in range(len(one.names))] for one in own]
    highest = max(math.log10(max(n, *(m for _, m in line))), math.log10(n) + 0.3)
    lowest = math.log10(min(m for _, m in line))
    return {
        "line": [(rate, math.log10(m), f"{m:,}") for rate, m in line],
        "points": points,
        "have": math.log10(n),
        "have_text": f"you have {n:,}",
        "alpha": alpha,
        "x": [*((alpha * k / 5, number(alpha * k / 5)) for k in range(5)), (alpha, f"limit {number(alpha)}")],
        "y": [(float(k), f"{10**k:,}") for k in range(math.ceil(lowest - 0.2), math.floor(highest + 0.1) + 1)],
        "range": (min(lowest, math.log10(n)) - 0.2, highest + 0.1),
    }


def _needs(rate: float, alpha: float, delta: float) -> int | None:
    return examples_needed(rate, alpha=alpha, delta=delta)


def _planned(certificate: Certificate, i: int) -> dict[str, Any] | None:
    """A candidate on the planner, were its observed rate the true one; None where no number would do."""
    rate = certificate.empirical_risks[i]
    m = _needs(rate, certificate.alpha, certificate.delta)
    if m is None:
        return None
    return {
        "i": i,
        "rate": rate,
        "y": math.log10(m),
        "state": certificate.states[i],
        "label": percent(certificate.sparsities[i]),
        "text": [f"{percent(certificate.sparsities[i])} removed: {_count(certificate, i)} of {certificate.n:,}",
                 f"if that is the truth: {m:,} examples"],
    }  # fmt: skip
