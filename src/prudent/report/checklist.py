"""Points of good practice, each checked against the run: met, met in part, or missing, and why.

After Blalock et al. 2020, "What is the State of Neural Network Pruning?", arXiv:2003.03033, appendix B, with our own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from prudent.report.changes import change_of
from prudent.report.measures import MEASURE, has
from prudent.report.reading import Method, Run
from prudent.report.writing import joined
from prudent.wording import percent, plural

State = Literal["met", "partly", "missing"]


@dataclass(frozen=True)
class Point:
    """One point of good practice.

    Args:
        state: whether the run meets it.
        text: the point.
        why: what was found, or what to do.
    """

    state: State
    text: str
    why: str = ""


def checklist(run: Run) -> list[Point]:
    """Every point, in the order of the list."""
    return [check(run) for check in CHECKS]


def _stated(run: Run) -> Point:
    text = "Architecture, data, every setting, software and hardware are stated"
    return Point("met" if run.results["environments"] else "partly", text)


def _one_environment(run: Run) -> Point:
    count = len(run.results["environments"])
    text = "All networks were trained in one environment"
    if count == 1:
        return Point("met", text)
    return Point("partly", text, f"{count} environments: last digits may differ between networks.")


def _pairs(run: Run) -> Point:  # noqa: ARG001 (a run is one study)
    return Point("missing", "At least three pairs of data set and architecture", "A study has one pair.")


def _both(run: Run) -> Point:
    timed = all("speedup" in n["timing"] for n in run.results["networks"])
    text = "Size and speed are both reported, speed by the clock"
    return Point("met", text, "In PyTorch eager mode.") if timed else Point("missing", text, "Nothing was timed.")


def _exported(run: Run) -> Point:  # noqa: ARG001 (not in a run yet)
    return Point("missing", "Measured in a deployment runtime too", "No exported network was measured.")


def _sparsities(run: Run) -> Point:
    least = min(len(m.sparsities) for m in run.methods)
    highest = max(m.sparsities[-1] for m in run.methods)
    why = f"{least}{'' if len({len(m.sparsities) for m in run.methods}) == 1 else ' or more'}, up to {percent(highest)}"
    return Point(
        "met" if least >= 5 else "partly" if least >= 3 else "missing", "At least five sparsities a method", why
    )


def _to_the_end(run: Run) -> Point:
    text = "The sparsities reach to where the network breaks"
    if len(run.seeds) < 2:
        return Point("partly", text, "One seed cannot tell.")
    error = MEASURE["error"]
    intact = [
        m.title for m in run.methods
        if change_of(run, m, len(m.sparsities) - 1, error).verdict != "worse"
    ]  # fmt: skip
    if not intact:
        return Point("met", text, "Every method ends with a clearly higher error.")
    return Point("partly", text, f"At its last sparsity test error is not clearly higher for {joined(intact)}.")


def _seeds(run: Run) -> Point:
    count = len(run.seeds)
    text = "Several seeds, each with its own dense network, and their spread"
    if count >= 5:
        return Point("met", text, plural(count, "seed"))
    if count > 1:
        return Point("partly", text, f"{count} seeds; an interval needs 5 or more.")
    return Point("missing", text, "One seed shows no spread.")


def _control(run: Run) -> Point:
    text = "A random control that removes as much from each layer"
    followed = {m.control_of for m in run.methods}
    own = [m for m in run.methods if m.control_of is None]
    without = [m.title for m in own if m.name not in followed]
    if not without:
        return Point("met", text)
    if len(without) == len(own):
        return Point("missing", text, "Add a method with control_of.")
    return Point("partly", text, f"None for {joined(without)}.")


def _baselines(run: Run) -> Point:
    text = "Magnitude pruning as baseline, over all layers together and layer by layer"
    scopes = {m.scope for m in run.methods if m.score == "magnitude"}
    if scopes == {"global", "layer"}:
        same = any(_both_scopes(run.methods, unit) for unit in ("weight", "channel"))
        return Point("met" if same else "partly", text, "" if same else "Not of the same unit: weights, or channels.")
    if not scopes:
        return Point("missing", text)
    return Point("partly", text, "All layers together only." if scopes == {"global"} else "Layer by layer only.")


def _both_scopes(methods: tuple[Method, ...], unit: str) -> bool:
    return {m.scope for m in methods if m.score == "magnitude" and m.granularity == unit} == {"global", "layer"}


DIFFERENCES = {
    "retraining": "how they are retrained",
    "schedule": "whether each sparsity starts from the one before",
    "rewind": "from which weights they are retrained",
}
"""What methods may do differently from the same dense networks."""


def _same_start(run: Run) -> Point:
    text = "All methods start from the same dense networks and retrain alike"
    differ = [
        words
        for key, words in DIFFERENCES.items()
        if any(m[key] != run.study["methods"][0][key] for m in run.study["methods"])
    ]
    if not differ:
        return Point("met", text)
    return Point("partly", text, f"The same dense networks; methods differ in {joined(differ)}: see the settings.")


def _splits(run: Run) -> Point:
    sizes = run.data["splits"]
    text = "Four disjoint splits: train, validation, certification, test"
    missing = [name for name in ("train", "validation", "certification", "test") if not sizes.get(name)]
    if missing:
        return Point("missing", text, f"No {joined(missing)}.")
    again = {split: count for split, count in run.data["repeated"].items() if count}
    if again:
        found = joined([f"{count:,} of {sizes[split]:,} in {split}" for split, count in again.items()])
        return Point("partly", text, f"Some inputs also occur in train: {found}.")
    leaked = run.data.get("leaks", {})  # runs of earlier versions did not look
    wheres = {"validation": "in validation, too", "within": "more than once"}
    if any(leaked.get(where) for where in wheres):
        found = joined([f"{leaked[where]:,} {how}" for where, how in wheres.items() if leaked[where]])
        return Point("partly", text, f"Of {sizes['certification']:,} certification inputs some occur again: {found}.")
    return Point("met", text, "No input of another split occurs in train. Groups, such as writers, are not known.")


def _declared(run: Run) -> Point:
    text = "One claim, named in the study file"
    others = run.results["other_claims"]
    if others:
        why = (
            f"{plural(others, 'other claim')} of this store used the same certification examples: to rely on all "
            f"of them, each has to hold at δ/{others + 1}."
        )
        return Point("partly", text, why)
    why = "No other claim of this store used these certification examples; when the file was written is not known."
    return Point("met", text, why)


def _recomputed(run: Run) -> Point:
    found, count = run.verification, len(run.certificates)
    text = "Certificates recomputed from their stored losses when this page was made"
    if found.broken:
        return Point("missing", text, f"{len(found.broken)} of {count} do not hold: do not rely on them.")
    return Point("met", text, f"All {count} hold.")


def _beyond_accuracy(run: Run) -> Point:
    there = all(has(run, key) for key in ("ece", "nll", "worst_class_error"))
    return Point("met" if there else "missing", "Calibration and the worst class beside accuracy")


def _strangers(run: Run) -> Point:
    text = "Examples that are not from the task"
    sets = [run.data["ood"]] if run.has_ood else run.results.get("suite", {}).get("strangers", [])
    if not sets:
        return Point("missing", text, "Not part of this study: name a data set as ood in [data].")
    return Point("met", text, joined([f"{one['n']:,} {one['about']}" for one in sets]))


def _dropout(run: Run) -> Point:
    text = "Doubt under dropout"
    if not run.has_dropout:
        return Point("missing", text, "Not part of this study: set evaluation.mc_dropout.")
    return Point("met", text, f"{run.samples} samples")


def _shifts(run: Run) -> Point:
    text = "Noise and other corruptions of the task's own examples"
    rows = run.results.get("suite", {}).get("rows", [])
    measured = {key.split(".")[0] for row in rows for key in row["metrics"]}
    found = [kind for kind in ("corruption", "noise") if kind in measured]
    if not found:
        why = "Not part of this study: set evaluation.suite, or use prudent evaluate."
        return Point("missing", text, "The suite could not measure them." if rows else why)
    return Point("met" if len(found) == 2 else "partly", text, "" if len(found) == 2 else f"Only {found[0]}.")


CHECKS: tuple[Callable[[Run], Point], ...] = (
    _stated, _one_environment, _pairs, _seeds, _sparsities, _to_the_end, _control, _baselines, _same_start, _splits,
    _declared, _recomputed, _both, _exported, _beyond_accuracy, _strangers, _dropout, _shifts,
)  # fmt: skip


def as_dicts(points: list[Point]) -> list[dict[str, Any]]:
    """The points for the template."""
    icons = {"met": "ok", "partly": "part", "missing": "none"}
    words = {"met": "Met", "partly": "Met in part", "missing": "Missing"}
    return [
        {"state": p.state, "text": p.text, "why": p.why, "icon": icons[p.state], "word": words[p.state]} for p in points
    ]
