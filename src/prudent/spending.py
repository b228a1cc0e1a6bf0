"""What a certification split was already spent on: one line for each claim, in spending.jsonl beside its certificate.

Each certificate holds by itself with probability 1 - delta. That k of them from the same examples hold together is only
as sure as 1 - the sum of their deltas; and a claim that was thought of after another from the same examples was seen is
worth nothing. So every claim is counted, also one whose file was overwritten.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from prudent.errors import PrudentError, reason
from prudent.keys import canonical
from prudent.types import Certificate

SPENDING = "spending.jsonl"


@dataclass(frozen=True)
class Spending:
    """What was claimed from one certification split.

    Args:
        claims: how many different claims.
        delta: the sum of their deltas: the chance that not all of them hold is at most that.
    """

    claims: int
    delta: float


def spend(folder: Path, certificate: Certificate, losses: str) -> None:
    """Enter a claim. The same claim from the same losses (their sha256) is counted once, however often it is written.

    Raises:
        PrudentError: the file cannot be read or written.
    """
    what = f"{certificate.risk} at {certificate.alpha!r} by {certificate.bound}"
    enter(folder, _identity(certificate, losses), data=certificate.data, delta=certificate.delta, what=what)


def enter(folder: Path, claim: str, *, data: str, delta: float, what: str) -> None:
    """Enter a claim that is known by its sha256, once.

    Raises:
        PrudentError: the file cannot be read or written.
    """
    line = {"claim": claim, "data": data, "delta": delta, "what": what}
    if claim in {entry["claim"] for entry in _entries(folder)}:
        return
    try:
        # one short write to a file opened for appending: two writers do not mix their lines
        handle = os.open(folder / SPENDING, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, (json.dumps(line, sort_keys=True) + "\n").encode())
        finally:
            os.close(handle)
    except OSError as error:
        raise PrudentError(f"{SPENDING} beside the certificate could not be written ({reason(error)})") from error


def spent(folder: str | Path, data: str) -> Spending:
    """What the split with this fingerprint was spent on by the certificates of a folder.

    Raises:
        PrudentError: the file cannot be read.
    """
    own = [entry for entry in _entries(Path(folder)) if entry["data"] == data]
    return Spending(claims=len(own), delta=min(1.0, sum(float(str(entry["delta"])) for entry in own)))


def _identity(certificate: Certificate, losses: str) -> str:
    """The same for the same claim: everything that is fixed before losses are seen, and the networks."""
    about = [
        [part.risk, part.group, part.alpha, part.bound, list(part.options)]
        for part in (certificate.parts or (certificate,))
    ]
    fixed = [certificate.data, certificate.delta, certificate.procedure, list(certificate.settings), about,
             list(certificate.names), list(certificate.models), losses]  # fmt: skip
    return hashlib.sha256(canonical(fixed)).hexdigest()


def _entries(folder: Path) -> list[dict[str, object]]:
    path = folder / SPENDING
    if not path.exists():
        return []
    try:
        entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [{name: entry[name] for name in ("claim", "data", "delta")} for entry in entries]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise PrudentError(
            f"{path.name} in {folder} is damaged ({reason(error)}): it counts what was claimed"
        ) from error
