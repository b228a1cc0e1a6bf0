"""A certificate as a JSON document, and back. Format 2; of format 1 every file is still read and verified.

Format 3 is that of `prudent.claim_files`.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from prudent._version import __version__
from prudent.certification import WALK
from prudent.errors import BadInput, BrokenCertificate, PrudentError
from prudent.keys import canonical
from prudent.planning import needed
from prudent.types import Certificate

SCHEMA = 2

OTHER = 3
"""Format of claims that are no walk over networks: see `prudent.claim_files`. Older versions of prudent refuse it."""

ASSUMPTIONS = (
    "The certification examples are independent draws from the population that the claim is about.",
    "They were used for nothing else: not to train, prune, tune or choose any candidate.",
    "Risk, alpha, delta and the order of the candidates were fixed before their losses were seen.",
    "What is used is the selected candidate exactly as it was tested.",
)

WALK_ORDER = "sparsity ascending, each tested at delta, stop at the first that does not pass"

NEW_IN_2 = ("consequence", "settings", "group", "options", "parts", "stopped")
NEW_IN_2_OF_CANDIDATES = ("examples",)


def assumptions(certificate: Certificate) -> list[str]:
    """Everything that the claim rests on, in words."""
    parts = certificate.parts or (certificate,)
    options = {name for part in parts for name, _ in part.options}
    found = list(ASSUMPTIONS)
    if "threshold" in options:
        found.append("The threshold was chosen on other examples.")
    if "bins" in options:
        found.append("The bins were fixed beforehand.")
    if any(part.stopped and part.bound == "group_sequential" for part in parts):
        found.append("How many examples there would be at most was fixed beforehand.")
    if certificate.settings:
        found.append("The settings of the procedure were fixed beforehand.")
    if any(part.group for part in parts):
        found.append("Which group an example belongs to does not depend on the candidates.")
    return found


def document(
    certificate: Certificate, stored: Sequence[tuple[str, bytes]], *, schema: int = SCHEMA, earlier: bool = False
) -> dict[str, Any]:
    """The document of a certificate whose losses are stored as these (file name, content), one for each part.

    With `earlier`, in the words of earlier versions: see `said_earlier`.
    """
    files = [{"file": name, "sha256": hashlib.sha256(content).hexdigest()} for name, content in stored]
    written: dict[str, Any] = {
        "prudent_certificate": schema,
        "claim": certificate.sentence(earlier=earlier),
        "consequence": certificate.consequence(),
        "needed": needed(certificate, earlier=earlier),
        **_table(certificate),
        "delta": certificate.delta,
        "procedure": certificate.procedure,
        "settings": dict(certificate.settings),
        "order": WALK_ORDER if certificate.procedure == WALK else "sparsity ascending",
        "selected": certificate.selected,
        "split": {"name": "certification", "sha256": certificate.data},
        "parts": [_table(part) for part in certificate.parts],
        "losses": files if certificate.parts else files[0],
        "assumptions": assumptions(certificate),
        "made_by": f"prudent {__version__}",
    }
    if schema == 1:
        written = {name: value for name, value in written.items() if name not in NEW_IN_2}
        for candidate in written["candidates"]:
            for name in NEW_IN_2_OF_CANDIDATES:
                del candidate[name]
    return written | {"sha256": digest(written)}


def said_earlier(written: dict[str, Any], certificate: Certificate) -> bool:
    """Whether a document says what its certificate claims in the words of earlier versions."""
    said = certificate.sentence(earlier=True), needed(certificate, earlier=True)
    return (written["claim"], written["needed"]) == said


def certificate_of(written: dict[str, Any]) -> Certificate:
    """The certificate that a document states, unchecked."""
    whole = _read_table(written, written)
    parts = tuple(_read_table(part, written) for part in written.get("parts", ()))
    walked = written["procedure"] == WALK
    return Certificate(
        **whole,
        selected=written["selected"],
        passed=() if walked else tuple(c["result"] == "passed" for c in written["candidates"]),
        parts=tuple(Certificate(**part, selected=None) for part in parts),
    )


def read_document(text: str | bytes, name: str) -> dict[str, Any]:
    """The document in a file.

    Raises:
        BadInput: no certificate, or of a newer format.
        BrokenCertificate: a key that comes twice.
    """
    try:
        written = json.loads(text, object_pairs_hook=_once)
    except ValueError as error:
        raise BadInput(f"{name} is no JSON ({error})") from error
    if not isinstance(written, dict) or "prudent_certificate" not in written:
        raise BadInput(f"{name} is no certificate written by prudent")
    schema = written["prudent_certificate"]
    if not isinstance(schema, int) or not 1 <= schema <= OTHER:
        raise BadInput(f"{name} has format {schema}; this version of prudent reads up to {OTHER}")
    return written


def digest(written: dict[str, Any]) -> str:
    """sha256 of a document without its own.

    Raises:
        BrokenCertificate: a document with what JSON does not have.
    """
    try:
        return hashlib.sha256(canonical({k: v for k, v in written.items() if k != "sha256"})).hexdigest()
    except PrudentError as error:
        raise BrokenCertificate(f"the certificate holds what JSON does not have ({error})") from error


def check_digest(written: dict[str, Any], name: str) -> None:
    """Refuse a document whose own sha256 is not that of its content."""
    if written.get("sha256") != digest(written):
        raise BrokenCertificate(f"{name} was changed after it was written: its sha256 does not match its content")


def _table(certificate: Certificate) -> dict[str, Any]:
    """What a whole certificate and each of its parts say."""
    states = certificate.states
    return {
        "risk": certificate.risk,
        "group": certificate.group,
        "options": dict(certificate.options),
        "alpha": certificate.alpha,
        "n": certificate.n,
        "bound": certificate.bound,
        "candidates": [
            {
                "name": name,
                "sparsity": certificate.sparsities[i],
                "examples": certificate.examples(i),
                "losses": None if certificate.counts is None else certificate.counts[i],
                "empirical_risk": certificate.empirical_risks[i],
                "p_value": certificate.p_values[i],
                "result": states[i],
                "network": certificate.models[i] if certificate.models else "",
            }
            for i, name in enumerate(certificate.names)
        ],
        "dense": certificate.dense,
        "stopped": certificate.stopped,
    }


def _read_table(table: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    candidates = table["candidates"]
    counts = tuple(c["losses"] for c in candidates)
    models = tuple(c["network"] for c in candidates)
    sizes = tuple(c.get("examples", table["n"]) for c in candidates)
    return {
        "risk": table["risk"],
        "alpha": table["alpha"],
        "delta": whole["delta"],
        "n": table["n"],
        "bound": table["bound"],
        "procedure": whole["procedure"],
        "names": tuple(c["name"] for c in candidates),
        "sparsities": tuple(c["sparsity"] for c in candidates),
        "counts": None if None in counts else counts,
        "empirical_risks": tuple(c["empirical_risk"] for c in candidates),
        "p_values": tuple(c["p_value"] for c in candidates),
        "data": whole["split"]["sha256"],
        "models": models if all(models) else (),
        "dense": table["dense"],
        "sizes": () if all(size == table["n"] for size in sizes) else sizes,
        "group": table.get("group", ""),
        "options": tuple(sorted(table.get("options", {}).items())),
        "stopped": table.get("stopped", False),
        "settings": tuple(sorted((k, _tuples(v)) for k, v in whole.get("settings", {}).items()))
        if table is whole
        else (),
    }


def _tuples(value: object) -> object:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys occur once: of a repeated one a person reads the first, and a parser takes the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BrokenCertificate(f"the certificate has the key {twice!r} twice: it was changed after it was written")
    return found
