"""What the suite of a study found of each network, and means over seeds: plain numbers, from saved answers."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

import numpy as np

from prudent.errors import BadInput
from prudent.graph import DENSE
from prudent.intervals import over_seeds, paired_over_seeds
from prudent.measure_families import UNDEFINED, calibration_family, distance_family, selective_family
from prudent.reallocation import churn
from prudent.robustness import corruption_errors
from prudent.shift_names import NOMINAL, corrupted, noisy
from prudent.suite_answers import Address, Answers

HIGHER = ("auroc", "aupr_ood", "aupr_id", "agreement", "brier_resolution", "coverage_at_1_percent", "cka",
          "p_consistency", "p_spiegelhalter")  # fmt: skip
SHARES = ("error", "agreement", "l_infinity", "total_variation", "hellinger", "ece", "ece_equal_mass", "ece_sweep",
          "ece_classwise", "ece_top_label", "ece_smooth", "ece_after_temperature", "brier_uncertainty", "p_consistency",
          "p_spiegelhalter")  # fmt: skip
"""Beside those of strangers, attacks and silence: none goes above 1."""

SIGNED = ("ece_debiased_squared", "kce_squared", "cka", "relative_mce")
"""The first three are of estimates without bias, which may fall below 0; such a CKA may also exceed 1."""

NEITHER = ("temperature", "brier_uncertainty")


def network_suite(answers: Answers, address: Address) -> dict[str, Any]:
    """All that the suite measured of one network.

    Returns: measures, dotted name -> number: calibration.*, selective.*, strangers.SET.DETECTOR.*, nominal.*,
        corruption.* and corruption.NAME.*, severity.S.error, noise.SIZE.*, attack.RADIUS.*, layers.NAME.cka; churn: of
        the examples that the dense network decides for each class, how many this one does not; wrong: wrong answers
        under each shift of n images; notes, in words. Distances of a dense network are from that of another seed: the
        yardstick. With one seed, or given weights, it has none.
    """
    study = answers.finished.study
    test = answers.on_test(address)
    validation = answers.finished.predictions(*address, "validation")
    bins = max(1, min(study.evaluation.bins, test.n // 2))
    measures = _named("calibration", calibration_family(test, validation=validation, bins=bins))
    measures |= _named("selective", selective_family(test))
    silent = [f"{name}: {why}" for name, why in UNDEFINED.items() if f"calibration.{name}" not in measures]
    found: dict[str, Any] = {"measures": measures, "notes": silent}
    beside = _beside(answers, address)
    if beside is not None:
        moved = churn(test, answers.on_test(beside))
        found["churn"] = {"total": moved.sum(axis=1).tolist(), "moved": (moved.sum(axis=1) - np.diag(moved)).tolist()}
    for part in (_strangers, _shifts, _attacks, _layers):
        own, notes = part(answers, address)
        measures |= own
        found["notes"] += notes
    if answers.has("shifted"):
        outputs = [name for _, names in answers.tasks() for name in names]
        wrong = {name: int(np.count_nonzero(answers.wrong(address, name))) for name in outputs}
        found["wrong"] = {"n": len(answers.wrong(address, NOMINAL)), "of": wrong}
    return found


def over_networks(networks: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each measure that all of these networks have, as mean over seeds with its interval.

    Args:
        networks: results of one method at one sparsity, one for each seed.
    """
    each = [network["suite"]["measures"] for network in networks]
    shared = [key for key in each[0] if all(key in other for other in each)]
    return {
        key: asdict(over_seeds([one[key] for one in each], better=better(key), within=possible(key))) for key in shared
    }


def beside_dense(networks: list[dict[str, Any]], dense: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each measure that all of these networks have as a finite number, less that of the dense one of the same seed.

    Args:
        networks: results of one method at one sparsity, one for each seed.
        dense: results of the dense networks, one for each seed.
    """
    ordered = sorted(networks, key=lambda one: int(one["seed"])), sorted(dense, key=lambda one: int(one["seed"]))
    own, theirs = ([network["suite"]["measures"] for network in side] for side in ordered)
    shared = [key for key in own[0] if all(math.isfinite(one.get(key, math.nan)) for one in (*own, *theirs))]
    return {
        key: asdict(paired_over_seeds([one[key] for one in theirs], [one[key] for one in own], better=better(key)))
        for key in shared
    }


def better(key: str) -> Literal["lower", "higher", "neither"]:
    """Which direction of a measure is better."""
    last = key.rpartition(".")[2]
    return "higher" if last in HIGHER else "neither" if last in NEITHER else "lower"


def possible(key: str) -> tuple[float, float]:
    """The numbers that a measure can take: what an interval of it is cut off at."""
    last = key.rpartition(".")[2]
    if last in SIGNED:
        return -math.inf, math.inf
    share = key.startswith(("strangers.", "attack.", "selective.")) or last in SHARES
    return 0.0, 1.0 if share or key == "calibration.mce" else math.inf


Part = tuple[dict[str, float], list[str]]


def _strangers(answers: Answers, address: Address) -> Part:
    values = answers.values(address, "strangers")
    measures: dict[str, float] = {}
    notes: list[str] = []
    for row in [] if values is None else values["separations"]:
        measures |= _named(f"strangers.{row['strangers']}.{row['detector']}", row["values"])
        if row["note"] and (said := f"{row['detector']}: {row['note']}") not in notes:
            notes.append(said)
    return measures, notes


def _shifts(answers: Answers, address: Address) -> Part:
    if not answers.has("shifted"):
        return {}, []
    asked = answers.options
    rate = {name: float(answers.wrong(address, name).mean()) for _, names in answers.tasks() for name in names}
    measures = {"nominal.error": rate[NOMINAL]}
    notes: list[str] = []
    if asked.corruptions:
        own, notes = _corruptions(answers, address)
        measures |= own
    for severity in asked.severities if asked.corruptions else []:
        each = [rate[corrupted(name, severity)] for name in asked.corruptions]
        measures[f"severity.{severity}.error"] = float(np.mean(each))
    beside = _beside(answers, address)
    for place, name in [("nominal", NOMINAL), *((f"noise.{size:g}", noisy(size)) for size in asked.noises)]:
        measures[f"{place}.error"] = rate[name]
        if beside is not None:
            both = [answers.predictions(one, "shifted", name) for one in (address, beside)]
            measures |= _named(place, distance_family(*both))
    return measures, notes


def _corruptions(answers: Answers, address: Address) -> Part:
    asked, dense = answers.options, (address[0], *DENSE)

    def errors(of: Address) -> dict[str, list[float]]:
        outputs = {name: [corrupted(name, s) for s in asked.severities] for name in asked.corruptions}
        return {name: [float(answers.wrong(of, one).mean()) for one in ones] for name, ones in outputs.items()}

    own = errors(address)
    measures = {f"corruption.{name}.error": float(np.mean(rates)) for name, rates in own.items()}
    measures["corruption.error"] = float(np.mean(list(own.values())))
    clean = [float(answers.wrong(of, NOMINAL).mean()) for of in (address, dense)]
    try:
        found = corruption_errors(own, errors(dense), clean=clean[0], dense_clean=clean[1])
    except BadInput as error:  # a dense network without any error has no multiples
        return measures, [f"mCE: {error}"]
    measures |= {f"corruption.{name}.ce": value for name, value in found.by_corruption.items()}
    measures["corruption.mce"] = found.mce
    if np.isfinite(found.relative_mce):
        measures["corruption.relative_mce"] = found.relative_mce
        return measures, []
    return measures, ["relative mCE: the dense network loses nothing by some corruption, so there is none"]


def _attacks(answers: Answers, address: Address) -> Part:
    values = answers.values(address, "attacked")
    if values is None:
        return {}, []
    n = values["n"]
    measures = {"attack.clean": values["clean"] / n}
    for row, radius in enumerate(answers.options.radii):
        measures |= {f"attack.{radius:g}.{name}": counts[row] / n for name, counts in values["counts"].items()}
        if values["proved"] is not None:
            measures[f"attack.{radius:g}.unproved"] = 1 - values["proved"][row] / n
        if values["crown"] is not None:
            measures[f"attack.{radius:g}.unproved_crown"] = 1 - values["crown"]["certified"][row] / values["crown"]["n"]
    return measures, [f"interval bounds: {values['note']}"] if values["note"] else []


def _layers(answers: Answers, address: Address) -> Part:
    values = answers.values(address, "aligned")
    if values is None:
        return {}, []
    measures = {f"layers.{name}.cka": cka for name, cka in values["layers"].items() if cka is not None}
    return measures, [f"layers: {values['note']}"] if values["note"] else []


def _beside(answers: Answers, address: Address) -> Address | None:
    """The network that another is compared with: its dense one; of a dense network that of the next seed, if any."""
    seed, *rest = address
    if tuple(rest) != DENSE:
        return (seed, *DENSE)
    study = answers.finished.study
    if len(study.seeds) == 1 or study.model.weights is not None:
        return None
    at = study.seeds.index(seed)
    return (study.seeds[(at + 1) % len(study.seeds)], *DENSE)


def _named(prefix: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}.{name}": value for name, value in values.items()}
