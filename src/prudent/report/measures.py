"""The measures of the page: which there are, what they are called, and how their values are written."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from prudent.intervals import over_seeds
from prudent.report.reading import Method, Run
from prudent.types import Metric
from prudent.wording import fixed, percent

Unit = Literal["percent", "points", "number"]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure of a network.

    Args:
        key: its name in the results; "mc." before it: under dropout.
        name: in plain words.
        term: its entry in the glossary, "" without one.
        unit: "percent": a share; "points": a share as percentage points; "number": as it is, three decimals.
        better: which direction is better; "neither" for a description.
        ranked: whether the list of changes has it; not where it would repeat another one.
    """

    key: str
    name: str
    term: str = ""
    unit: Unit = "number"
    better: Literal["lower", "higher", "neither"] = "lower"
    ranked: bool = True

    @property
    def share(self) -> bool:
        """Whether it lies in [0, 1]."""
        return self.unit != "number" or self.key.startswith("auroc")

    def show(self, value: float, *, finely: bool = False) -> str:
        """A value with its unit: "1.4 %", "0.9 points", "0.949"; `finely` with one more decimal of a percentage."""
        if self.unit == "percent":
            return percent(value, 2 if finely else 1)
        if self.unit == "points":
            return f"{fixed(100 * value, 1)} points"
        return fixed(value, 3)

    def bare(self, value: float, *, finely: bool = False) -> str:
        """The same without its unit, for a column whose head names it."""
        return self.show(value, finely=finely).removesuffix(" points").rstrip("%").rstrip()

    @property
    def head(self) -> str:
        """Name with unit, as the head of a column of bare values."""
        return self.name + {"percent": ", %", "points": ", points", "number": ""}[self.unit]


MEASURES = (
    Measure(key="error", name="Test error", unit="percent"),
    Measure(key="worst_class_error", name="Error on the worst class", unit="percent"),
    Measure(key="ece", name="Calibration gap (ECE)", term="ece", unit="points"),
    Measure(key="nll", name="Log loss (NLL)", term="nll"),
    Measure(key="brier", name="Brier score", term="brier"),
    Measure(key="auroc_max_prob", name="Telling strangers apart (AUROC)", term="auroc", better="higher"),
    Measure(key="auroc_entropy", name="AUROC by entropy", term="auroc", better="higher", ranked=False),
    Measure(key="fpr_ood_at_tpr95_id_max_prob", name="Strangers let in (FPR95)", term="fpr-ood", unit="percent"),
    Measure(
        key="fpr_ood_at_tpr95_id_entropy", name="Strangers let in, by entropy", term="fpr-ood", unit="percent",
        ranked=False,
    ),
    Measure(key="fpr_id_at_tpr95_ood_max_prob", name="Task turned away (FPR95)", term="fpr-id", unit="percent"),
    Measure(
        key="fpr_id_at_tpr95_ood_entropy", name="Task turned away, by entropy", term="fpr-id", unit="percent",
        ranked=False,
    ),
    Measure(key="confidence", name="Confidence on the task", unit="percent", better="neither"),
    Measure(key="ood_confidence", name="Confidence on strangers", unit="percent", better="neither"),
    Measure(key="mc.mutual_information", name="Doubt on the task (dropout)", term="mi", better="neither"),
    Measure(key="mc.ood_mutual_information", name="Doubt on strangers (dropout)", term="mi", better="neither"),
    Measure(key="mc.entropy", name="Entropy under dropout, task", term="entropy", better="neither", ranked=False),
    Measure(
        key="mc.ood_entropy", name="Entropy under dropout, strangers", term="entropy", better="neither", ranked=False
    ),
)  # fmt: skip
"""In the order of the tables."""

MEASURE = {measure.key: measure for measure in MEASURES}


def has(run: Run, key: str) -> bool:
    """Whether every network of the run has this measure."""
    return all(_find(network, key) is not None for network in run.results["networks"])


def dense_values(run: Run, key: str) -> list[float]:
    """A measure of the dense networks, one value for each seed."""
    return [_value(network, key) for network in run.dense_networks()]


def values(run: Run, method: Method, i: int, key: str) -> list[float]:
    """A measure of a method's i-th sparsity, one value for each seed."""
    return [_value(network, key) for network in run.networks(method, i)]


def finely(run: Run) -> bool:
    """Whether shares of the test split are written with two decimals: one example in so many would show in them."""
    return int(run.data["splits"]["test"]) >= 5000


def summary(each: Sequence[float], *, share: bool = False) -> Metric:
    """Mean over seeds with its interval, which does not leave [0, 1] for shares, nor go below 0 for other scores.

    Args:
        each: one value for each seed.
        share: whether it is a share of examples, or another number in [0, 1].
    """
    return over_seeds(each, within=(-math.inf if min(each) < 0 else 0.0, 1.0 if share else math.inf))


def spread_words(run: Run) -> str:
    """What the intervals of the page are, as the end of a sentence: "lowest to highest of 3 seeds"."""
    seeds = len(run.seeds)
    if seeds == 1:
        return "one seed, so no spread"
    if seeds < 5:
        return f"lowest to highest of {seeds} seeds"
    return f"{percent(0.95)} t interval of the mean over {seeds} seeds"


def _find(network: dict[str, Any], key: str) -> dict[str, Any] | None:
    place, _, name = key.rpartition(".")
    metrics: dict[str, dict[str, Any]] = network.get("mc_metrics" if place else "metrics", {})
    return metrics.get(name)


def _value(network: dict[str, Any], key: str) -> float:
    found = _find(network, key)
    if found is None:
        raise KeyError(f"{network['folder']} has no {key}")
    return float(found["value"])
