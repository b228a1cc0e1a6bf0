"""Certificates are recomputed when the page is made, so that it never shows one that its own losses do not support."""

from pathlib import Path
from typing import Any

from prudent.certificates import verify
from prudent.errors import PrudentError
from prudent.report.reading import Verification, certificate_of


def verify_all(results: dict[str, Any], folder: Path) -> Verification:
    """Recompute every certificate of a run from the losses stored beside it, and compare it with the results.

    Args:
        results: of the run.
        folder: of the run.

    Returns: how many hold, and which do not and why; what is not there does not hold.
    """
    held, broken = 0, []
    for entry in results["certificates"]:
        path = folder / entry["file"]
        if not path.is_file():
            broken.append((entry["file"], "the file is not there, so nothing shows that it holds"))
            continue
        try:
            same = verify(path) == certificate_of(entry)
        except PrudentError as error:
            broken.append((entry["file"], str(error)))
            continue
        if same:
            held += 1
        else:
            broken.append((entry["file"], "the file says something else than results.json"))
    return Verification(held=held, broken=tuple(broken))
