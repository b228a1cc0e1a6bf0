"""What a study found, in a few lines: for the terminal and for machines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prudent.intervals import over_seeds
from prudent.run_folder import REPORT, network_folder
from prudent.wording import fixed, percent, size

COLUMNS = ("method", "certified\nup to", "smaller", "fewer\nMACs", "faster", "test\nerror", "ECE", "OOD\nAUROC")


def machine_summary(folder: Path, results: dict[str, Any]) -> dict[str, Any]:
    """The declared claim and every certificate, as JSON values."""
    declared = declared_certificate(results)
    selected = declared["selected"]
    return {
        "run": str(folder),
        "report": str(folder / REPORT),
        "certified": selected is not None,
        "claim": declared["claim"],
        "certificate": str(folder / declared["file"]),
        "selected_sparsity": None if selected is None else declared["sparsities"][selected],
        "selected_network": None if selected is None else str(folder / _selected(results, declared)["folder"]),
        "certificates": [
            {
                "file": str(folder / one["file"]),
                "method": one["method"],
                "risk": one["risk"],
                "seed": one["seed"],
                "selected_sparsity": None if one["selected"] is None else one["sparsities"][one["selected"]],
            }
            for one in results["certificates"]
        ],
    }


def declared_certificate(results: dict[str, Any]) -> dict[str, Any]:
    """The certificate of the claim that the study declared beforehand."""
    return _certificate(results, **results["study"]["certification"]["declared"])


def table(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row for the dense network, and one for each method at the sparsest network certified for the declared risk.

    Ratios are original / new. Sparsity, size and MACs are those of the declared seed's networks; speed, error, ECE and
    AUROC are means over the seeds.
    """
    claim = results["study"]["certification"]["declared"]
    dense = [n for n in results["networks"] if n["method"] == ""]
    own = next(n for n in dense if n["seed"] == claim["seed"])
    rows: list[tuple[str, ...]] = [("dense", "", size(own["bytes"]), f"{own['macs']:,}", "", *_means(dense))]
    for method in results["study"]["methods"]:
        name = method["name"]
        one = _certificate(results, method=name, risk=claim["risk"], seed=claim["seed"])
        if one["selected"] is None:
            rows.append((name, "nothing", *[""] * (len(COLUMNS) - 2)))
            continue
        network = _selected(results, one)
        same = [n for n in results["networks"] if (n["method"], n["requested"]) == (name, network["requested"])]
        speed = over_seeds([n["timing"]["speedup"] for n in same]).value
        rows.append(
            (
                name,
                percent(network["sparsity"]),
                f"{fixed(own['bytes'] / network['bytes'], 1)}x",
                f"{fixed(own['macs'] / network['macs'], 1)}x",
                f"{fixed(speed, 2)}x",
                *_means(same),
            )
        )
    return rows


def means(results: dict[str, Any]) -> str:
    """Which columns of the table are of one seed, and which are means; "" where there is one seed only."""
    seeds, own = results["study"]["seeds"], results["study"]["certification"]["declared"]["seed"]
    if len(seeds) < 2:
        return ""
    return (
        f"Certified, smaller and fewer MACs: seed {own}. Faster, error, ECE and AUROC: means over {len(seeds)} seeds."
    )


def _certificate(results: dict[str, Any], *, method: str, risk: str, seed: int) -> dict[str, Any]:
    wanted = (method, risk, seed)
    return next(c for c in results["certificates"] if (c["method"], c["risk"], c["seed"]) == wanted)


def _selected(results: dict[str, Any], certificate: dict[str, Any]) -> dict[str, Any]:
    method = next(m for m in results["study"]["methods"] if m["name"] == certificate["method"])
    requested = method["sparsities"][certificate["selected"]]
    folder = network_folder(certificate["seed"], certificate["method"], requested)
    return next(n for n in results["networks"] if n["folder"] == folder)


def _means(networks: Sequence[dict[str, Any]]) -> tuple[str, str, str]:
    def mean(name: str) -> float | None:
        values = [n["metrics"][name]["value"] for n in networks if name in n["metrics"]]
        return over_seeds(values).value if values else None

    error, ece, auroc = mean("error"), mean("ece"), mean("auroc_max_prob")
    return (
        percent(error, 1) if error is not None else "",
        fixed(ece, 4) if ece is not None else "",
        fixed(auroc, 3) if auroc is not None else "",
    )
