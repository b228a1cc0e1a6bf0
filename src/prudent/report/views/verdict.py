"""The first screen: the declared claim, how close it was, and what was gained and lost for it."""

import math
import re
from typing import Any

from prudent.certificate_documents import ASSUMPTIONS
from prudent.intervals import upper_limit
from prudent.planning import LIMIT, examples_needed, most_losses, needed
from prudent.report.changes import worst
from prudent.report.measures import MEASURE, Measure, dense_values, finely, values
from prudent.report.reading import Run
from prudent.report.speeds import Timing, flag, noise, timing
from prudent.report.writing import times
from prudent.types import Certificate
from prudent.wording import NARROW, exact_percent, fixed, percent, percent_above, plural, size

BADGES = {"certified": "Certified", "nothing": "Nothing certified", "broken": "Certificate broken"}


def view(run: Run) -> dict[str, Any]:
    """The declared claim with its gauge, and either the gains and losses or what would be needed."""
    certificate, (_, risk, seed) = run.certificate, run.declared
    at = certificate.selected or 0
    state = _state(run)
    return {
        "state": state,
        "badge": BADGES[state],
        "headline": headline(certificate),
        "gauge": gauge(certificate, at),
        "title": run.declared_method.title,
        "seed": seed,
        "risk": risk,
        "observed": _observed(certificate, at),
        "sparsity": percent(certificate.sparsities[at]),
        "peers": _peers(run, at) if state == "certified" else "",
        "tiles": _tiles(run) if state == "certified" else None,
        "todo": todo(certificate) if state == "nothing" else None,
        "broken": [{"file": f, "reason": r} for f, r in run.verification.broken],
        "promise": _promise(run, at),
    }


def _state(run: Run) -> str:
    if run.declared in run.broken:
        return "broken"
    return "nothing" if run.certificate.selected is None else "certified"


def headline(certificate: Certificate) -> list[tuple[str, bool]]:
    """The claim's sentence in parts, each with whether it is emphasised: the limit and the sparsity are."""
    strong = {exact_percent(certificate.alpha)}
    if certificate.selected is not None:
        strong.add(percent(certificate.sparsities[certificate.selected]))
    parts = re.split(rf"(\d[\d.,]*{NARROW}%)", certificate.sentence())
    return [(part, part in strong) for part in parts if part]


def gauge(certificate: Certificate, at: int) -> dict[str, Any]:
    """Observed losses of a candidate, their pointwise upper limit and the tolerated limit, on one scale."""
    observed = certificate.empirical_risks[at]
    upper = None
    if certificate.counts is not None and certificate.bound == "binomial":
        upper = upper_limit(certificate.counts[at], certificate.n, delta=certificate.delta)
    end = _round_up(max(1.5 * certificate.alpha, 1.08 * (upper or observed)))
    return {
        "observed": percent(observed, 1),
        "upper": None if upper is None else percent_above(upper, 1),
        "level": exact_percent(certificate.delta, complement=True),
        "limit": exact_percent(certificate.alpha),
        "end": percent(end),
        "x_observed": _place(observed, end),
        "x_upper": None if upper is None else _place(upper, end),
        "x_limit": _place(certificate.alpha, end),
    }


def _place(value: float, end: float) -> float:
    return round(100 * value / end, 2)


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    rounded = next(k * power for k in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if k * power >= value)
    return min(1.0, rounded)


def _observed(certificate: Certificate, at: int) -> str:
    if certificate.counts is None:
        return f"mean loss {fixed(certificate.empirical_risks[at], 4)} over {certificate.n:,}"
    return f"{certificate.counts[at]:,} of {certificate.n:,}"


def _peers(run: Run, at: int) -> str:
    """How many seeds pass where the declared one does: a claim about one network says nothing about the others."""
    if len(run.seeds) == 1:
        return ""
    name, risk, _ = run.declared
    selected = [run.certificates[name, risk, seed].selected for seed in run.seeds]
    passing = sum(s is not None and s >= at for s in selected)
    return f"{passing} of {len(run.seeds)}"


def _tiles(run: Run) -> dict[str, Any]:
    method, at = run.start
    seed = run.declared[2]
    dense, pruned = run.dense(seed), run.network(method, at, seed)
    ratio = dense["bytes"] / pruned["bytes"]
    return {
        "size": {
            "big": times(ratio if ratio >= 1 else 1 / ratio),
            "word": "smaller" if ratio > 1.005 else "larger" if ratio < 0.995 else "of dense",
            "flag": ratio < 0.995,
            "mask": method.granularity == "weight",
            "from": size(dense["bytes"]),
            "to": size(pruned["bytes"]),
            "bars": _bars(dense["bytes"], pruned["bytes"]),
        },
        "speed": _speed_tile(run),
        "error": _dots(run, MEASURE["error"]),
        "worst": _worst_tile(run),
    }


def _bars(dense: float, pruned: float) -> tuple[float, float]:
    top = max(dense, pruned)
    return round(100 * dense / top, 1), round(100 * pruned / top, 1)


def _speed_tile(run: Run) -> dict[str, Any]:
    method, at = run.start
    seed = run.declared[2]
    network = run.network(method, at, seed)
    one: Timing = timing([network])
    found = flag(one, noise(run), saves=network["macs"] < run.dense(seed)["macs"])
    clock = network["timing"]
    promised = run.dense(seed)["macs_needed"] / network["macs_needed"]
    return {
        "big": times(one.mean),
        "flag": found,
        "from": _milliseconds(clock["beside"]),
        "to": _milliseconds(clock["milliseconds"]),
        "batch": run.study["evaluation"]["latency_batch"],
        "bars": _bars(clock["beside"], clock["milliseconds"]),
        "promised": times(promised),
        "promising": promised > 1.05,
        "weights": method.granularity == "weight",
    }


def _milliseconds(value: float) -> str:
    return fixed(value, 2 if value >= 0.1 else 3)


def _worst_tile(run: Run) -> dict[str, Any] | None:
    change = worst(run, *run.start)
    if change is None:
        return None
    return _dots(run, change.measure) | {
        "name": change.measure.name,
        "term": change.measure.term,
        "effect": fixed(abs(change.effect or 0), 1),
        "beyond": change.clear,
        "word": "two seeds cannot tell" if change.undecided else "no clear change",
    }


def _dots(run: Run, measure: Measure) -> dict[str, Any]:
    """One measure of the declared seed's two networks, with a dot for each seed."""
    dense, pruned = dense_values(run, measure.key), values(run, *run.start, measure.key)
    low, high = min(*dense, *pruned), max(*dense, *pruned)
    place = [[round(100 * (v - low) / (high - low or 1), 1) for v in each] for each in (dense, pruned)]
    own, fine = run.seeds.index(run.declared[2]), finely(run)
    sign = -1 if measure.better == "higher" else 1
    means = [sum(each) / len(each) for each in (dense, pruned)]
    worse = sum(sign * (p - d) > 0 for d, p in zip(dense, pruned, strict=True))
    return {
        "from": measure.bare(dense[own], finely=fine),
        "to": measure.bare(pruned[own], finely=fine),
        "unit": {"percent": f"{NARROW}%", "points": " points", "number": ""}[measure.unit],
        "dense": place[0],
        "pruned": place[1],
        "own": own,
        "worse": f"{worse} of {len(dense)}",
        "seeds": len(dense),
        "means": f"{measure.bare(means[0], finely=fine)} → {measure.show(means[1], finely=fine)}",
    }


def todo(certificate: Certificate) -> dict[str, Any]:
    """What would have certified something: more examples, or a limit declared looser."""
    alpha, delta, n = certificate.alpha, certificate.delta, certificate.n
    binomial = certificate.counts is not None and certificate.bound == "binomial"
    rates = [alpha / 10, alpha / 4, alpha / 2] if binomial else []
    rows = []
    for rate in rates:
        examples = examples_needed(rate, alpha=alpha, delta=delta)
        rows.append({"rate": percent(rate), "n": f"{examples:,}" if examples is not None else f"over {LIMIT:,}"})
    loosest = None
    if certificate.counts is not None and binomial:
        loosest = percent_above(upper_limit(certificate.counts[0], n, delta=delta), 2)
    allowed = most_losses(n, alpha=alpha, delta=delta) if binomial else None
    return {
        "needed": needed(certificate),
        "rows": rows,
        "loosest": loosest,
        "allowed": None if allowed is None else f"{allowed:,} of {n:,}",
        "examples": plural(n, "example"),
        "sparsity": percent(certificate.sparsities[0]),
    }


def _promise(run: Run, at: int) -> dict[str, Any]:
    certificate = run.certificate
    network = run.network(run.declared_method, at, run.declared[2])
    return {
        "delta": exact_percent(certificate.delta),
        "alpha": exact_percent(certificate.alpha),
        "n": f"{certificate.n:,}",
        "bounded": certificate.bounded(),
        "assumptions": ASSUMPTIONS,
        "fingerprint": network["fingerprint"],
        "folder": network["folder"],
        "file": f"{run.results['id']}/{run.files[run.declared]}",
        "held": run.verification.held,
        "broken": len(run.verification.broken),
        "all": len(run.certificates),
        "has_ood": run.has_ood,
        "error": run.declared[1] == "error",
    }
