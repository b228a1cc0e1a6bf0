"""Finished cells -> everything that a study found, as plain numbers; and the certificates."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from prudent.archive import predictions_from_bytes
from prudent.calibration import reliability
from prudent.certificates import write_certificate
from prudent.certification import certify
from prudent.comparison import chance_overlap, overlap
from prudent.consistency import comparable
from prudent.evaluation import evaluate, worst_class_error
from prudent.graph import DENSE, Graph
from prudent.loss_tables import losses
from prudent.masks import Mask
from prudent.measure_families import dropout_family
from prudent.networks import DESCRIPTION, NUMBERS, PLAN, mask_in
from prudent.resplitting import resplit
from prudent.run_folder import certificate_file, network_folder
from prudent.settings import Method, Settings
from prudent.store import Store
from prudent.types import Certificate, Losses, Metric, Predictions

KEPT = (
    "fingerprint", "parameters", "bytes", "macs", "macs_needed", "history", "best_epoch", "train_loss", "train_error",
)  # fmt: skip
"""What the results repeat of a network's record."""

ALWAYS = ("validation", "certification", "test")
"""Splits that every network is asked for."""

Records = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Finished:
    """A study whose cells are all finished.

    Args:
        study: its settings.
        graph: its cells.
        store: where they are.
        records: key -> record.
    """

    study: Settings
    graph: Graph
    store: Store
    records: Records

    def predictions(self, seed: int, method: str, sparsity: float, name: str) -> Predictions | None:
        """What a network answered on a split ("test", "ood_mc"), None if it was not asked.

        Raises:
            DamagedStore: the store has lost answers on a split that every network is asked for.
        """
        trio = self.graph.networks[seed, method, sparsity]
        cell = trio.laplace if trio.laplace is not None and name.endswith("_laplace") else trio.predictions
        if name not in ALWAYS and name not in self.records[cell.key]["outputs"]:
            return None
        return predictions_from_bytes(self.store.read(cell.key, name, record=self.records[cell.key]))

    def mask(self, seed: int, method: str, sparsity: float) -> Mask:
        """Which units a network kept, as its files say."""
        return mask_in(self.files(seed, method, sparsity))

    def files(self, seed: int, method: str, sparsity: float) -> dict[str, bytes]:
        """The files of a network, as `prudent.load` reads them."""
        cell = self.graph.networks[seed, method, sparsity].network
        record = self.records[cell.key]
        names = (DESCRIPTION, NUMBERS, *[name for name in (PLAN,) if name in record["outputs"]])
        return {name: self.store.read(cell.key, name, record=record) for name in names}


def network_results(finished: Finished) -> list[dict[str, Any]]:
    """One entry for each network: what it is, what it costs, and all its metrics. The dense one has method ""."""
    return [_network(finished, *address) for address in finished.graph.networks]


def write_certificates(finished: Finished, folder: Path) -> dict[tuple[str, str, int], Certificate]:
    """Certify every method for every risk and seed, each by itself, and write the files.

    Returns: (method, risk, seed) -> certificate.
    """
    found = {}
    for method, risk, seed in _claims(finished.study):
        certificate = _certify(finished, method, risk, seed, folder / certificate_file(method.name, risk, seed))
        found[method.name, risk, seed] = certificate
    return found


def _claims(study: Settings) -> Iterator[tuple[Method, str, int]]:
    for method in study.methods:
        for risk in study.certification.risks:
            for seed in study.seeds:
                yield method, risk, seed


def _certify(finished: Finished, method: Method, risk: str, seed: int, path: Path) -> Certificate:
    table = _losses(finished, method, risk, seed, "certification")
    claim = finished.study.certification
    certificate = certify(table, alpha=claim.alpha, delta=claim.delta, bound=claim.bound)
    write_certificate(certificate, table, path)
    return certificate


def _losses(finished: Finished, method: Method, risk: str, seed: int, split: str) -> Losses:
    """The losses of a method's candidates on a split."""
    asked = partial(finished.predictions, seed, name=split)
    answers = [asked(method=method.name, sparsity=s) for s in method.sparsities]
    return losses(
        [a for a in answers if a is not None],
        dense=asked(method=DENSE[0], sparsity=DENSE[1]),
        loss=risk,
        # of the very networks that go into the run's folder, not what was noted when they were made
        sparsities=[finished.mask(seed, method.name, s).sparsity for s in method.sparsities],
        names=[f"{method.name} {s!r}" for s in method.sparsities],
    )


def resplit_results(finished: Finished) -> list[dict[str, Any]]:
    """Of each method, for the declared risk and seed: certificates on examples drawn anew from certification and test.

    Returns: one entry for each method, the numbers of `prudent.resplitting.Resplits`; none unless the study asks.
    """
    claim = finished.study.certification
    if claim.resplits is None:
        return []
    found = []
    for method in finished.study.methods:
        address = (method, claim.declared.risk, claim.declared.seed)
        own, test = (_losses(finished, *address, split) for split in ("certification", "test"))
        made = resplit(
            replace(own, values=np.concatenate([own.values, test.values]), data=""),
            n=own.n,
            alphas=claim.alphas or [claim.alpha],
            delta=claim.delta,
            bounds=claim.bounds or [claim.bound],
            resplits=claim.resplits,
        )
        # the seed of the network, which stands for that of the draws: they are always the same
        found.append(asdict(made) | {"method": method.name, "risk": claim.declared.risk, "seed": claim.declared.seed})
    return found


def _network(finished: Finished, seed: int, method: str, sparsity: float) -> dict[str, Any]:
    cells = finished.graph.networks[seed, method, sparsity]
    made = finished.records[cells.network.key]
    values = made["values"]
    entry: dict[str, Any] = {
        "seed": seed,
        "method": method,
        "requested": sparsity,
        "sparsity": values.get("sparsity", 0.0),
        "folder": network_folder(seed, method, sparsity),
        **{k: values[k] for k in KEPT},
        "layers": values.get("layers", {}),
        "timing": {
            "training_seconds": made["seconds"],
            **finished.records[cells.latency.key]["values"],
        },
    }
    return entry | _measured(finished, seed, method, sparsity) | _compared(finished, seed, method, sparsity)


def _compared(finished: Finished, seed: int, method: str, sparsity: float) -> dict[str, Any]:
    """The units that a method keeps beside those that the method of `compare_with` keeps, of the same dense network."""
    name = finished.study.evaluation.compare_with
    if name is None or method in ("", name):
        return {}
    like = finished.study.method(name)
    if not comparable(finished.study.method(method), like) or sparsity not in like.sparsities:
        return {}
    mask, other = (finished.mask(seed, one, sparsity) for one in (method, name))
    found = {
        "with": name,
        "kept": mask.remaining,
        "overlap": overlap(mask, other),
        "chance": chance_overlap(mask, other),
        "chance_by_layer": chance_overlap(mask, other, by_layer=True),
    }
    return {"compared": found}


def _measured(finished: Finished, seed: int, method: str, sparsity: float) -> dict[str, Any]:
    values = finished.records[finished.graph.networks[seed, method, sparsity].network.key]["values"]
    ask = partial(finished.predictions, seed, method, sparsity)
    dense = partial(finished.predictions, seed, *DENSE)
    bins = finished.study.evaluation.bins
    test, ood, test_mc, ood_mc = ask("test"), ask("ood"), ask("test_mc"), ask("ood_mc")
    if test is None:
        raise AssertionError("every network is asked for its answers on the test split")
    diagram = reliability(test, bins=bins)
    metrics = evaluate(test, dense=dense("test"), ood=ood, bins=bins)
    found: dict[str, Any] = {
        "metrics": _plain(metrics),
        "reliability": {
            "counts": diagram.counts.tolist(),
            "right": diagram.right.tolist(),
            "confidence": diagram.confidence.tolist(),
        },
        "worst_class": worst_class_error(test)[0],
        # how much worse on examples that it was not trained on
        "train_test_gap": metrics["error"].value - values["train_error"],
    }
    if ood is not None:
        found["ood_decisions"] = np.bincount(ood.decisions, minlength=ood.classes).tolist()
    if test_mc is not None:
        found["mc_metrics"] = _plain(evaluate(test_mc, ood=ood_mc, bins=bins))
        found["mc_metrics"] |= _after_temperature(test_mc, ask("validation_mc"), bins)
    return found | _doubts(finished, seed, method, sparsity)


def _after_temperature(test: Predictions, validation: Predictions | None, bins: int) -> dict[str, dict[str, Any]]:
    """What a study that asks for all of dropout measures beside `evaluate`."""
    if validation is None:
        return {}
    family = dropout_family(test, validation=validation, bins=bins)
    described = ("pairwise_divergence", "reverse_mutual_information", "temperature")
    return _plain({k: Metric(value=v, better="neither" if k in described else "lower") for k, v in family.items()})


def _doubts(finished: Finished, seed: int, method: str, sparsity: float) -> dict[str, Any]:
    """What the study asked for beyond plain answers and dropout: uncertain weights, and maps of the plane."""
    trio, found = finished.graph.networks[seed, method, sparsity], dict[str, Any]()
    ask = partial(finished.predictions, seed, method, sparsity)
    test = ask("test_laplace")
    if test is not None and trio.laplace is not None:
        found["laplace_metrics"] = _plain(evaluate(test, ood=ask("ood_laplace"), bins=finished.study.evaluation.bins))
        found["laplace"] = dict(finished.records[trio.laplace.key]["values"])
    if trio.maps is not None:
        found["maps"] = json.loads(finished.store.read(trio.maps.key, "maps"))
    return found


def _plain(metrics: Mapping[str, Metric]) -> dict[str, dict[str, Any]]:
    return {name: asdict(metric) for name, metric in metrics.items()}
