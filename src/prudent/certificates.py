"""Certificates as files: JSON for people and machines, with the losses beside them, so that anyone can recompute."""

import hashlib
import json
from pathlib import Path
from typing import Any

from prudent._version import __version__
from prudent.archive import losses_from_bytes, losses_to_bytes
from prudent.certification import check
from prudent.errors import BadInput, BrokenCertificate, PrudentError
from prudent.files import read_file, write_whole
from prudent.keys import canonical
from prudent.planning import needed
from prudent.types import Certificate, Losses

SCHEMA = 1

ASSUMPTIONS = (
    "The certification examples are independent draws from the population that the claim is about.",
    "They were used for nothing else: not to train, prune, tune or choose any candidate.",
    "Risk, alpha, delta and the order of the candidates were fixed before their losses were seen.",
    "What is used is the selected candidate exactly as it was tested.",
)


def write_certificate(certificate: Certificate, losses: Losses, path: str | Path) -> Path:
    """Write NAME.json and, beside it, NAME.losses.safetensors, from which it can be recomputed.

    Args:
        certificate: made from `losses`.
        losses: of the certification split.
        path: of the JSON file.

    Returns: the path.

    Raises:
        BrokenCertificate: the certificate does not follow from the losses.
    """
    path = Path(path)
    check(certificate, losses)
    content = losses_to_bytes(losses)
    beside = path.with_name(f"{path.stem}.losses.safetensors")
    write_whole(beside, content)
    return write_whole(path, json.dumps(_document(certificate, beside.name, content), indent=1) + "\n")


def verify(path: str | Path) -> Certificate:
    """Recompute a certificate from the losses stored beside it.

    Shows that the claim follows from those losses and that the file is as it was written. It cannot show who wrote it:
    whoever can change both files can also make them agree.

    Args:
        path: of the JSON file.

    Returns: the certificate.

    Raises:
        PrudentError: a file is missing or cannot be read.
        BadInput: the file is no certificate, or of a newer format.
        BrokenCertificate: the certificate or its losses were changed, or do not agree.
    """
    path = Path(path)
    document = _read(path)
    stated = document.pop("sha256", None)
    if stated != _hash(document):
        raise BrokenCertificate(f"{path.name} was changed after it was written: its sha256 does not match its content")
    try:
        certificate = _certificate(document)
        beside, digest = str(document["losses"]["file"]), document["losses"]["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path.name} is no certificate written by prudent ({type(error).__name__}: {error})") from error
    if Path(beside).name != beside:
        raise BadInput(f"the losses of a certificate lie beside it; {path.name} names {beside!r}")
    content = read_file(path.with_name(beside))
    if hashlib.sha256(content).hexdigest() != digest:
        raise BrokenCertificate(f"{beside} was changed after {path.name} was written: its sha256 does not match")
    check(certificate, losses_from_bytes(content))
    if document["claim"] != certificate.sentence():
        raise BrokenCertificate(f"the claim of {path.name} is not what its numbers say: {certificate.sentence()}")
    return certificate


def _document(certificate: Certificate, file: str, content: bytes) -> dict[str, Any]:
    states = certificate.states
    candidates = [
        {
            "name": name,
            "sparsity": certificate.sparsities[i],
            "losses": None if certificate.counts is None else certificate.counts[i],
            "empirical_risk": certificate.empirical_risks[i],
            "p_value": certificate.p_values[i],
            "result": states[i],
            "network": certificate.models[i] if certificate.models else "",
        }
        for i, name in enumerate(certificate.names)
    ]
    document: dict[str, Any] = {
        "prudent_certificate": SCHEMA,
        "claim": certificate.sentence(),
        "needed": needed(certificate),
        "risk": certificate.risk,
        "alpha": certificate.alpha,
        "delta": certificate.delta,
        "n": certificate.n,
        "bound": certificate.bound,
        "procedure": certificate.procedure,
        "order": "sparsity ascending, each tested at delta, stop at the first that does not pass",
        "candidates": candidates,
        "selected": certificate.selected,
        "split": {"name": "certification", "sha256": certificate.data},
        "dense": certificate.dense,
        "losses": {"file": file, "sha256": hashlib.sha256(content).hexdigest()},
        "assumptions": list(ASSUMPTIONS),
        "made_by": f"prudent {__version__}",
    }
    return document | {"sha256": _hash(document)}


def _certificate(document: dict[str, Any]) -> Certificate:
    candidates = document["candidates"]
    counts = tuple(c["losses"] for c in candidates)
    models = tuple(c["network"] for c in candidates)
    return Certificate(
        risk=document["risk"],
        alpha=document["alpha"],
        delta=document["delta"],
        n=document["n"],
        bound=document["bound"],
        procedure=document["procedure"],
        names=tuple(c["name"] for c in candidates),
        sparsities=tuple(c["sparsity"] for c in candidates),
        counts=None if None in counts else counts,
        empirical_risks=tuple(c["empirical_risk"] for c in candidates),
        p_values=tuple(c["p_value"] for c in candidates),
        selected=document["selected"],
        data=document["split"]["sha256"],
        models=models if all(models) else (),
        dense=document["dense"],
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_file(path))
    except ValueError as error:
        raise BadInput(f"{path.name} is no JSON ({error})") from error
    if not isinstance(document, dict) or "prudent_certificate" not in document:
        raise BadInput(f"{path.name} is no certificate written by prudent")
    schema = document["prudent_certificate"]
    if not isinstance(schema, int) or schema > SCHEMA:
        raise BadInput(f"{path.name} has format {schema}; this version of prudent reads up to {SCHEMA}")
    return document


def _hash(document: dict[str, Any]) -> str:
    try:
        return hashlib.sha256(canonical({k: v for k, v in document.items() if k != "sha256"})).hexdigest()
    except PrudentError as error:
        raise BrokenCertificate(f"the certificate holds what JSON does not have ({error})") from error
