"""A small finished run with real statistics: random networks' answers, evaluated and certified by prudent itself."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from prudent.calibration import reliability
from prudent.certificates import write_certificate
from prudent.certification import certify
from prudent.evaluation import evaluate, worst_class_error
from prudent.loss_tables import losses
from prudent.report.reading import Run
from prudent.report.verification import verify_all
from prudent.run_folder import SCHEMA, certificate_file, network_folder, read_results, run_id, write_results
from prudent.settings import Settings
from prudent.types import Predictions

SPLITS = {"train": 300, "validation": 60, "certification": 300, "test": 200}
BINS = 10
LAYERS = {"conv1": 100, "fc1": 900}

WEIGHTS = {
    "name": "magnitude", "title": "Weights by magnitude", "schedule": "iterative", "rewind": "init",
    "sparsities": [0.5, 0.75, 0.875, 0.96],
}  # fmt: skip
CONTROL = {
    "name": "random", "title": "Weights at random", "score": "random", "control_of": "magnitude",
    "sparsities": [0.5, 0.75, 0.875, 0.96],
}  # fmt: skip
CHANNELS = {
    "name": "channels", "granularity": "channel", "scope": "layer", "sparsities": [0.25, 0.5, 0.75],
}  # fmt: skip

SIX: tuple[dict[str, Any], ...] = (
    WEIGHTS,
    CONTROL | {"title": "Weights at random, as many in each layer"},
    {"name": "oracle", "score": "oracle", "granularity": "channel", "sparsities": [0.25, 0.5, 0.75]},
    {"name": "mean", "title": "Channels by mean activation", "score": "activation_mean", "granularity": "channel",
     "sparsities": [0.25, 0.5, 0.625]},
    {"name": "maximum", "title": "Channels by mean activation, largest first", "score": "activation_mean",
     "granularity": "channel", "sparsities": [0.25, 0.5]},
    {"name": "apoz", "title": "Channels by share of zeros (APoZ)", "score": "apoz", "granularity": "channel",
     "schedule": "iterative", "sparsities": [0.25, 0.5, 0.75, 0.875]},
)  # fmt: skip
"""Long titles, and lines that end at different sparsities; three of them may be compared with the oracle."""

TWELVE = (
    *SIX,
    *(
        {"name": f"another_method_{k}", "granularity": "channel", "sparsities": [0.2, 0.2 + 0.06 * k]}
        for k in range(1, 7)
    ),
)

HARM = {"magnitude": 1.7, "random": 3.0, "channels": 2.4}
"""How much noise a sparsity adds to the answers of a method; other methods 2.4."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What the run is like."""

    seeds: tuple[int, ...] = (0, 1, 2)
    methods: tuple[dict[str, Any], ...] = (WEIGHTS, CONTROL, CHANNELS)
    ood: bool = True
    dropout: bool = True
    alpha: float = 0.1
    delta: float = 0.05
    risks: tuple[str, ...] = ("disagreement", "error")
    classes: tuple[str, ...] = ("cat", "dog", "eel", "fox")
    declared: str = "magnitude"
    compare_with: str | None = None
    change: dict[str, Any] = field(default_factory=dict)


def write_run(folder: Path, sample: Sample | None = None) -> Path:
    """Write results.json and the certificates of such a run; `sample.change` replaces parts of the results."""
    sample = sample or Sample()
    settings = _settings(sample)
    results = {
        "prudent_results": SCHEMA,
        "id": settings.id,
        "other_claims": 0,
        "file": "sample.toml",
        "study": settings.model_dump(mode="json"),
        "data": _data(sample),
        "networks": [_network(sample, *address) for address in _addresses(settings)],
        "certificates": list(_certificates(sample, settings, folder)),
        "environments": [
            {"prudent": "0.1.0", "python": "3.11.7", "torch": "2.13.0", "numpy": "2.4.6", "processor": "x86_64",
             "system": "Linux", "threads": "1", "cores": "2"}
        ],
        "finished": "2026-11-21T02:29:44+00:00",
        "seconds": {"this_run": 83.1, "computing": 127.9},
    }  # fmt: skip
    results |= sample.change
    write_results(folder, results)
    return folder


def run_of(folder: Path) -> Run:
    """The run in a folder, with its certificates recomputed."""
    results = read_results(folder)
    return Run(results, verify_all(results, folder))


def edit(folder: Path, change: Any) -> None:
    """Pass the results of a run through `change` (which alters them) and write them back."""
    results = read_results(folder)
    study = json.dumps(results["study"])
    change(results)
    if json.dumps(results["study"]) != study:  # as if the study had been run with these settings
        results["id"] += run_id("", results["study"])
    write_results(folder, results)


def _settings(sample: Sample) -> Settings:
    return Settings.model_validate(
        {
            "name": "sample",
            "about": "A run made for the tests.",
            "seeds": list(sample.seeds),
            "data": {"name": "digits", "ood": "photo_patches"} if sample.ood else {"name": "digits"},
            "methods": [dict(m) for m in sample.methods],
            "evaluation": {
                "bins": BINS,
                "mc_samples": 5 if sample.dropout else None,
                "compare_with": sample.compare_with,
            },
            "certification": {
                "alpha": sample.alpha,
                "delta": sample.delta,
                "risks": list(sample.risks),
                "declared": {"method": sample.declared, "seed": sample.seeds[0], "risk": sample.risks[0]},
            },
        }
    )


def _data(sample: Sample) -> dict[str, Any]:
    about: dict[str, Any] = {
        "name": "digits", "about": "four kinds of animals", "shape": [1, 8, 8], "classes": list(sample.classes),
        "fingerprint": "d" * 64, "splits": SPLITS,
        "repeated": {"validation": 0, "certification": 0, "test": 0},
    }  # fmt: skip
    if sample.ood:
        about["ood"] = {"name": "photo_patches", "about": "patches of photographs", "n": 150, "fingerprint": "e" * 64}
    return about


def _addresses(settings: Settings) -> Iterator[tuple[int, str, float]]:
    for seed in settings.seeds:
        yield seed, "", 0.0
        for method in settings.methods:
            yield from ((seed, method.name, s) for s in method.sparsities)


def answers(
    sample: Sample, seed: int, method: str, sparsity: float, split: str, members: int | None = None
) -> Predictions:
    """What one network answers: the truth, the seed's own noise, and noise that grows with the sparsity."""
    n, classes = SPLITS.get(split, 150), len(sample.classes)
    truth = np.random.default_rng([len(split), 7]).integers(0, classes, n)
    rng = np.random.default_rng([seed, len(split), 13])
    logits = rng.normal(size=(n, classes))
    logits[np.arange(n), truth] += 3.8 if split != "ood" else 1.5
    own = np.random.default_rng([seed, len(method), round(1000 * sparsity), len(split)])
    harm = HARM.get(method, 2.4) * sparsity**2 if method else 0.0
    logits = (logits + harm * own.normal(size=logits.shape)) * (1.0 - 0.4 * sparsity)
    if members is not None:
        logits = logits + 0.4 * own.normal(size=(members, *logits.shape))
    labels = None if split == "ood" else truth
    return Predictions(
        logits=logits.astype(np.float32), labels=labels, split=split, data=f"{split}-data",
        model=fingerprint(seed, method, sparsity),
    )  # type: ignore[arg-type]  # fmt: skip


def fingerprint(seed: int, method: str, sparsity: float) -> str:
    """Stands for the hash of a network's weights."""
    return f"{seed}{method or 'dense'}{sparsity:g}".ljust(64, "0")


def _network(sample: Sample, seed: int, method: str, sparsity: float) -> dict[str, Any]:
    kept = 1 - sparsity
    channel = method != "" and method not in ("magnitude", "random")
    speedup = 1 / kept**0.4 if channel else 1 - 0.005 * (seed + 1)
    network: dict[str, Any] = {
        "seed": seed, "method": method, "requested": sparsity, "sparsity": sparsity,
        "folder": network_folder(seed, method, sparsity), "fingerprint": fingerprint(seed, method, sparsity),
        "parameters": round(1000 * kept) + 12, "bytes": round(4000 * kept) + 400 + 125 * (method != "" and not channel),
        "macs": round(50_000 * kept) if channel else 50_000, "macs_needed": round(50_000 * kept),
        "history": [[0.1, 0.02]], "layers": _layers(kept) if method else {},
        "timing": {"training_seconds": 1.0, "milliseconds": 2.0 / speedup, "beside": 2.0, "speedup": speedup,
                   "lo": speedup * 0.97, "hi": speedup * 1.03},
    }  # fmt: skip
    return network | _measured(sample, seed, method, sparsity) | _compared(sample, seed, method, sparsity)


def _compared(sample: Sample, seed: int, method: str, sparsity: float) -> dict[str, Any]:
    """As if 40 channels were ranked: the largest activations share less than chance, all others more."""
    shared = {"mean": 0.6, "maximum": -0.5}
    if sample.compare_with != "oracle" or method not in ("mean", "maximum") or sparsity not in (0.25, 0.5, 0.75):
        return {}
    kept = round(40 * (1 - sparsity))
    both = round(kept * (1 - sparsity) * (1 + shared[method] * sparsity)) + seed % 2
    found = {"with": "oracle", "kept": kept, "overlap": both / kept, "chance": kept / 40}
    return {"compared": found | {"chance_by_layer": kept / 40 + 0.01 * seed}}


def _layers(kept: float) -> dict[str, list[int]]:
    return {name: [n, round(n * kept * (0.9 + 0.1 * (name == "fc1")))] for name, n in LAYERS.items()}


def _measured(sample: Sample, seed: int, method: str, sparsity: float) -> dict[str, Any]:
    test, dense = answers(sample, seed, method, sparsity, "test"), answers(sample, seed, "", 0.0, "test")
    ood = answers(sample, seed, method, sparsity, "ood") if sample.ood else None
    diagram = reliability(test, bins=BINS)
    found: dict[str, Any] = {
        "metrics": _plain(evaluate(test, dense=dense, ood=ood, bins=BINS)),
        "reliability": {
            "counts": diagram.counts.tolist(),
            "right": diagram.right.tolist(),
            "confidence": diagram.confidence.tolist(),
        },
        "worst_class": worst_class_error(test)[0],
    }
    if ood is not None:
        found["ood_decisions"] = np.bincount(ood.decisions, minlength=ood.classes).tolist()
    if sample.dropout:
        sampled = answers(sample, seed, method, sparsity, "test", members=5)
        strange = answers(sample, seed, method, sparsity, "ood", members=5) if sample.ood else None
        found["mc_metrics"] = _plain(evaluate(sampled, ood=strange, bins=BINS))
    return found


def _plain(metrics: Any) -> dict[str, Any]:
    return {name: asdict(metric) for name, metric in metrics.items()}


def _certificates(sample: Sample, settings: Settings, folder: Path) -> Iterator[dict[str, Any]]:
    for method in settings.methods:
        for risk in settings.certification.risks:
            for seed in settings.seeds:
                table = losses(
                    [answers(sample, seed, method.name, s, "certification") for s in method.sparsities],
                    dense=answers(sample, seed, "", 0.0, "certification"),
                    loss=risk,
                    sparsities=method.sparsities,
                    names=[f"{method.name} {s:g}" for s in method.sparsities],
                )
                certificate = certify(table, alpha=sample.alpha, delta=sample.delta)
                file = certificate_file(method.name, risk, seed)
                write_certificate(certificate, table, folder / file)
                head = {"method": method.name, "risk": risk, "seed": seed, "file": file}
                yield head | {"claim": certificate.sentence(), **asdict(certificate)}
