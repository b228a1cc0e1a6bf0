"""What a run's suite says, as the page asks for it: measures by network, and sentences about what was hurt."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from markupsafe import Markup

from prudent.report.reading import Method, Run
from prudent.report.sentences import join, say
from prudent.report.writing import joined, p_value
from prudent.wording import fixed, percent, plural

CALLED = 0.05
"""What is below it, corrected, is called more than luck."""

Measures = dict[str, dict[str, Any]]
"""Dotted name -> value, lo, hi, interval, better."""


@dataclass(frozen=True)
class SuiteOf:
    """The suite of a run.

    Args:
        run: which has one.
    """

    run: Run

    @property
    def found(self) -> dict[str, Any]:
        """All of it."""
        return dict(self.run.results["suite"])

    @cached_property
    def rows(self) -> dict[tuple[str, float], Measures]:
        """(method, sparsity) -> measures over seeds; ("", 0.0) is dense."""
        return {(row["method"], row["requested"]): row["metrics"] for row in self.found["rows"]}

    @property
    def dense(self) -> Measures:
        """Measures of the dense networks."""
        return self.rows["", 0.0]

    def of(self, method: Method, i: int) -> Measures:
        """Measures of a method's i-th sparsity."""
        return self.rows[method.name, method.sparsities[i]]

    def pairs(self, method: Method, i: int, key: str) -> tuple[list[float], list[float]] | None:
        """A measure of the dense networks and of those pruned from them, by seed; None where a network lacks it."""
        dense = {network["seed"]: network["suite"]["measures"].get(key) for network in self.run.dense_networks()}
        own = {n["seed"]: n["suite"]["measures"].get(key) for n in self.run.networks(method, i)}
        both = [(dense[seed], own[seed]) for seed in own]
        if any(value is None or not math.isfinite(value) for pair in both for value in pair):
            return None
        return [before for before, _ in both], [after for _, after in both]

    def control(self, method: Method) -> Method | None:
        """The random control of a method."""
        name = self.found["control"].get(method.name)
        return next((m for m in self.run.methods if m.name == name), None)

    def beside(self, method: Method, i: int) -> Measures:
        """Measures of the random control at a method's i-th sparsity; {} without one."""
        control = self.control(method)
        return {} if control is None else self.rows[control.name, method.sparsities[i]]

    def at(self, what: str, method: Method, i: int) -> dict[str, Any]:
        """What is kept for each method and sparsity: "changes", "exemplars", "reallocation"."""
        return dict(self.found[what][method.name][repr(method.sparsities[i])])


def shown(metric: dict[str, Any] | None, unit: str) -> dict[str, str]:
    """A measure and its interval, written in its unit: "percent", "points" (100 x) or "number"."""
    if metric is None:
        return {"value": "", "between": ""}

    def write(value: float) -> str:
        return percent(value, 1) if unit == "percent" else fixed(100 * value if unit == "points" else value, 2)

    ends = [metric["lo"], metric["hi"]]
    between = "" if None in ends else " to ".join(write(end) for end in ends)
    return {"value": write(metric["value"]), "between": between}


def room(title: str, potentials: dict[str, Any]) -> Markup:
    """How far a method can prune within the tolerated errors: on the images as they are, and where it can least."""
    by_task = potentials["by_task"]
    least = min(by_task.items(), key=lambda task: task[1]["value"])
    tolerated = f"{fixed(100 * potentials['tolerated'], 1)} points"
    if "nominal" not in by_task:
        return say("{} within {} of dense: least for {}, {}.", title, tolerated, least[0], percent(least[1]["value"]))
    same = least[1]["value"] >= by_task["nominal"]["value"]
    start = say("{} can remove <b>{}</b> within {} of the dense network's errors on the images as they are",
                title, percent(by_task["nominal"]["value"]), tolerated)  # fmt: skip
    if same:
        return start + say(", and no less on any of {}.", plural(len(by_task) - 1, "other task"))
    return start + say(", but only <b>{}</b> for {}.", percent(least[1]["value"]), task_name(least[0]))


def hurt(changes: dict[str, Any]) -> Markup:
    """Which class, corruption and strangers were hurt most, and what of it is more than luck."""
    worst = {kind: one for kind, one in changes["worst"].items() if one is not None}
    looked = [plural(n, "class") if n == 1 else f"{n} classes" for n in [changes["looked_at"]["class"]] if n]
    looked += [plural(n, "corruption") for n in [changes["looked_at"]["corruption"]] if n]
    looked += [plural(n, "set") + " of strangers" for n in [changes["looked_at"]["strangers"]] if n]
    if not worst:
        return say("Of {}, none was hurt.", joined(looked))
    said = [_hit(one) for one in worst.values()]
    return join([say("Hurt most, of {}:", joined(looked)), join(said, "; ") + say(".")])


def _hit(one: dict[str, Any]) -> Markup:
    sure = one["adjusted"] <= CALLED
    verdict = say("<b>{}</b>" if sure else "{}", "more than luck" if sure else "luck may explain it")
    noun = {"class": "class", "corruption": "corruption", "strangers": "strangers"}[one["kind"]]
    name = task_name(one["name"]) if one["kind"] == "corruption" else one["name"]
    if one["kind"] == "strangers":
        values = say("told apart with AUROC {} → {}", fixed(1 - one["dense"], 3), fixed(1 - one["pruned"], 3))
    else:
        values = say("wrong in {} → {}", percent(one["dense"], 1), percent(one["pruned"], 1))
    return say("{} <b>{}</b>, {} ({}, p = {})", noun, name, values, verdict, p_value(one["adjusted"], near=CALLED))


def task_name(name: str) -> str:
    """A task in words: "gaussian_noise" -> "gaussian noise"."""
    return {"nominal": "as they are"}.get(name, name.replace("_", " ") if ":" not in name else name)
