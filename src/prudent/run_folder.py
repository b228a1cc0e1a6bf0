"""The folder of a finished study: what lies where, and its numbers.

report.html             the page
results.json            every number of the page, and many more
table.csv               means over seeds with their intervals, one row for each method and sparsity
suite.csv               of a study with a suite, the same for each of its measures, one row for each
study.json              all settings, defaults written out
certificates/NAME.json  with NAME.losses.safetensors beside it, for `prudent verify`
networks/seedN/NAME/    every network, for `prudent.load`
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prudent.errors import BadInput, reason
from prudent.files import read_file, write_whole
from prudent.keys import canonical

SCHEMA = 1
RESULTS = "results.json"
REPORT = "report.html"
STUDY = "study.json"
TABLE = "table.csv"
SUITE = "suite.csv"
CERTIFICATES = "certificates"
PARTS = ("id", "study", "data", "networks", "certificates", "environments", "finished", "seconds")
"""What results consist of."""


def run_id(name: str, settings: Mapping[str, Any]) -> str:
    """Name of a run: the study's name and the hash of all its settings."""
    return f"{name}-{hashlib.sha256(canonical(settings)).hexdigest()[:8]}"


def network_folder(seed: int, method: str, sparsity: float) -> str:
    """Where a run keeps a network: "networks/seed0/magnitude-0.875"; method "" is the dense one."""
    return f"networks/seed{seed}/" + (f"{method}-{sparsity!r}" if method else "dense")


def certificate_file(method: str, risk: str, seed: int) -> str:
    """Where a run keeps a certificate: "certificates/magnitude-error-seed0.json"."""
    return f"{CERTIFICATES}/{method}-{risk}-seed{seed}.json"


def write_results(folder: str | Path, results: Mapping[str, Any]) -> Path:
    """Write the numbers of a run, sealed with the hash of all of them.

    The hash has no key: it finds damage and careless edits, not forgers.

    Raises:
        PrudentError: the folder cannot be written to.
    """
    sealed = {**results, "sha256": _seal(results)}
    return write_whole(Path(folder) / RESULTS, json.dumps(sealed, indent=1) + "\n")


def read_results(folder: str | Path) -> dict[str, Any]:
    """The numbers of a run, without their seal.

    Raises:
        PrudentError: the folder has no results.
        BadInput: they are of a newer format, no results, were changed after they were written, or their settings are
            not those of the run.
    """
    path = Path(folder) / RESULTS
    try:
        results = json.loads(read_file(path))
        schema = results["prudent_results"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise BadInput(f"{path} holds no results written by prudent ({reason(error)})") from error
    if not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
        raise BadInput(f"{path} has format {schema}; this version of prudent reads up to {SCHEMA}")
    if results.pop("sha256", None) != _seal(results):
        raise BadInput(f"{path} was changed after it was written (its sha256 does not match): run the study again")
    missing = [name for name in PARTS if name not in results]
    if missing:
        raise BadInput(f"{path} holds no results written by prudent: it has no {', '.join(missing)}")
    if not str(results["id"]).endswith(run_id("", results["study"])):
        raise BadInput(f"the settings in {path} were changed after the run {results['id']!r}: run the study again")
    return dict(results)


def _seal(results: Mapping[str, Any]) -> str:
    # not `canonical`, which refuses NaN: a number that came out so is told, not a reason to lose a study
    return hashlib.sha256(json.dumps(results, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
