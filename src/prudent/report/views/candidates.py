"""What passed, method by method; and what all the certificates of the page are worth together."""

from typing import Any

from prudent.report import trades
from prudent.report.looks import method_color
from prudent.report.measures import MEASURE, finely, has
from prudent.report.palette import styles
from prudent.report.reading import Method, Run
from prudent.report.speeds import flag, noise, timing
from prudent.report.writing import times
from prudent.types import Certificate
from prudent.wording import exact_percent, percent, size


def view(run: Run) -> dict[str, Any]:
    """One row for each method: the sparsest network that passed for the declared risk and seed."""
    rows = [_row(run, method) for method in run.methods]
    passed = [row for row in rows if row["passed"]]
    _tag(passed)
    return {
        "rows": rows,
        "dense": _dense(run),
        "answer": trades.candidates([row["choice"] for row in passed if not row["broken"]], len(rows)),
        "any": bool(passed),
        "seed": run.declared[2],
        "claim": run.certificate.bounded(),
        "confidence": exact_percent(run.certificate.delta, complement=True),
        "has_ood": has(run, "auroc_max_prob"),
        "joint": joint(run),
        "weaker": any(row["jointly"] != row["removed"] for row in passed),
    }


def _row(run: Run, method: Method) -> dict[str, Any]:
    _, risk, seed = run.declared
    certificate = run.certificates[method.name, risk, seed]
    at = certificate.selected
    row: dict[str, Any] = {
        "title": method.title,
        "style": styles(run.methods)[method.index],
        "declared": method == run.declared_method,
        "control": method.control_of is not None,
        "passed": at is not None,
        "broken": (method.name, risk, seed) in run.broken,
        "tags": [],
    }
    if at is None:
        return row | {"first": percent(certificate.sparsities[0]), "observed": _lost(certificate, 0)}
    network, dense = run.network(method, at, seed), run.dense(seed)
    own = timing([network])
    found = flag(own, noise(run), saves=network["macs"] < dense["macs"])
    shown = {key: _shown(run, network, key) for key in ("error", "auroc_max_prob")}
    again = walk(certificate.p_values, certificate.delta / len(run.certificates))
    return row | {
        "removed": percent(certificate.sparsities[at]),
        "observed": _lost(certificate, at),
        "jointly": None if again is None else percent(certificate.sparsities[again]),
        "disk": times(dense["bytes"] / network["bytes"]),
        "macs": times(dense["macs"] / network["macs"]),
        "speed": times(own.mean),
        "faster": found == "faster",
        "error": shown["error"],
        "auroc": shown["auroc_max_prob"],
        "bytes": network["bytes"],
        "speedup": own.mean,
        "choice": trades.Choice(
            title=method.title,
            sparsity=certificate.sparsities[at],
            smaller=dense["bytes"] / network["bytes"],
            speedup=own.mean,
            flag=found,
        ),
    }


def _tag(passed: list[dict[str, Any]]) -> None:
    """Mark the smallest and the fastest of several, the declared one and the controls."""
    if len(passed) > 1:
        small = min(passed, key=lambda row: row["bytes"])
        if small["choice"].smaller > 1:  # not where even the smallest is larger than dense
            small["tags"].append(("good", "smallest"))
        quick = [row for row in passed if row["faster"]]
        if quick:
            max(quick, key=lambda row: row["speedup"])["tags"].append(("good", "fastest"))
    for row in passed:
        if row["broken"]:
            row["tags"].append(("bad", "certificate broken"))
        if row["declared"]:
            row["tags"].append(("", "declared"))
        if row["control"]:
            row["tags"].append(("", "control"))


def _dense(run: Run) -> dict[str, Any]:
    network = run.dense(run.declared[2])
    return {
        "disk": size(network["bytes"]),
        "macs": f"{network['macs']:,}",
        "error": _shown(run, network, "error"),
        "auroc": _shown(run, network, "auroc_max_prob"),
    }


def _shown(run: Run, network: dict[str, Any], key: str) -> str:
    found = network["metrics"].get(key)
    return "" if found is None else MEASURE[key].show(found["value"], finely=finely(run))


def _lost(certificate: Certificate, i: int) -> str:
    if certificate.counts is None:
        return percent(certificate.empirical_risks[i], 1)
    return f"{certificate.counts[i]:,} of {certificate.n:,}"


def walk(p_values: tuple[float, ...], level: float) -> int | None:
    """Where fixed-sequence testing at another level ends: the last of the leading p-values that are <= `level`.

    Valid for any level, since the p-values do not depend on it.
    """
    passed = [p <= level for p in p_values]
    walked = passed.index(False) if False in passed else len(passed)
    return walked - 1 if walked else None


def joint(run: Run) -> dict[str, Any]:
    """All certificates, each at its own level and at delta / m, where all m hold together (Bonferroni)."""
    m, delta = len(run.certificates), run.certificate.delta
    rows, held = [], 0
    for method in run.methods:
        for risk in run.risks:
            cells = []
            for seed in run.seeds:
                certificate = run.certificates[method.name, risk, seed]
                again = walk(certificate.p_values, delta / m)
                held += again is not None
                cells.append(
                    {
                        "alone": _at(certificate, certificate.selected),
                        "jointly": _at(certificate, again),
                        "same": again == certificate.selected,
                        "declared": (method.name, risk, seed) == run.declared,
                    }
                )
            rows.append({"title": method.title, "color": method_color(run, method), "risk": risk, "cells": cells})
    return {
        "m": m,
        "held": held,
        "alone": sum(c.selected is not None for c in run.certificates.values()),
        "delta": f"{delta:g}",
        "level": f"{delta / m:.3g}",
        "confidence": percent(1 - delta / m),
        "seeds": run.seeds,
        "rows": rows,
    }


def _at(certificate: Certificate, i: int | None) -> str:
    return "none" if i is None else percent(certificate.sparsities[i])
