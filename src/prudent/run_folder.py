"""The folder of a finished study: what lies where, and its numbers.

report.html             the page
results.json            every number of the page, and many more
table.csv               means over seeds with their intervals, one row for each method and sparsity
study.json              all settings, defaults written out
certificates/NAME.json  with NAME.losses.safetensors beside it, for `prudent verify`
networks/seedN/NAME/    every network, for `prudent.load`
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prudent.errors import BadInput
from prudent.files import read_file
from prudent.keys import canonical

SCHEMA = 1
RESULTS = "results.json"
REPORT = "report.html"
STUDY = "study.json"
TABLE = "table.csv"
CERTIFICATES = "certificates"


def run_id(name: str, settings: Mapping[str, Any]) -> str:
    """Name of a run: the study's name and the hash of all its settings."""
    return f"{name}-{hashlib.sha256(canonical(settings)).hexdigest()[:8]}"


def network_folder(seed: int, method: str, sparsity: float) -> str:
    """Where a run keeps a network: "networks/seed0/magnitude-0.875"; method "" is the dense one."""
    return f"networks/seed{seed}/" + (f"{method}-{sparsity!r}" if method else "dense")


def certificate_file(method: str, risk: str, seed: int) -> str:
    """Where a run keeps a certificate: "certificates/magnitude-error-seed0.json"."""
    return f"{CERTIFICATES}/{method}-{risk}-seed{seed}.json"


def read_results(folder: str | Path) -> dict[str, Any]:
    """The numbers of a run.

    Raises:
        PrudentError: the folder has no results.
        BadInput: they are of a newer format, no results, or their settings are not those of the run.
    """
    path = Path(folder) / RESULTS
    try:
        results = json.loads(read_file(path))
        schema = results["prudent_results"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} holds no results written by prudent ({error})") from error
    if not isinstance(schema, int) or schema > SCHEMA:
        raise BadInput(f"{path} has format {schema}; this version of prudent reads up to {SCHEMA}")
    if not str(results["id"]).endswith(run_id("", results["study"])):
        raise BadInput(f"the settings in {path} were changed after the run {results['id']!r}: run the study again")
    return dict(results)
