"""Certificates as files: JSON for people and machines, with the losses beside them, so that anyone can recompute."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prudent._version import __version__
from prudent.archive import losses_from_bytes, losses_to_bytes
from prudent.certification import check
from prudent.errors import BadInput, BrokenCertificate, PrudentError, reason
from prudent.files import read_file, write_whole
from prudent.keys import canonical
from prudent.planning import needed
from prudent.types import Certificate, Losses

if TYPE_CHECKING:
    from torch import nn

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


def verify(path: str | Path, *, network: "nn.Module | None" = None) -> Certificate:
    """Recompute a certificate from the losses stored beside it.

    Shows that everything in the file follows from those losses, alpha, delta and the bound. The hashes have no key:
    they find damage and careless edits, and cannot show who wrote the file, when, or that another alpha was not
    declared first. Who must be able to show that publishes the file's sha256 beforehand.

    Args:
        path: of the JSON file.
        network: the network that is to be used; checked to be the selected candidate, bit by bit.

    Returns: the certificate.

    Raises:
        PrudentError: a file is missing or cannot be read.
        BadInput: the file is no certificate, or of a newer format.
        BrokenCertificate: the certificate or its losses were changed, or do not agree; `network` is another one.
    """
    path = Path(path)
    try:
        certificate = _recomputed(path)
    except PrudentError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        # whatever stands where prudent writes something else: text for a number, no claim, brackets without end
        raise BadInput(f"{path.name} is no certificate written by prudent ({reason(error)})") from error
    if network is not None:
        _check_network(certificate, network, path)
    return certificate


def _recomputed(path: Path) -> Certificate:
    document = _read(path)
    stated = document.get("sha256")
    if stated != _hash(document):
        raise BrokenCertificate(f"{path.name} was changed after it was written: its sha256 does not match its content")
    certificate = _certificate(document)
    beside, digest = str(document["losses"]["file"]), document["losses"]["sha256"]
    if Path(beside).name != beside:
        raise BadInput(f"the losses of a certificate lie beside it; {path.name} names {beside!r}")
    content = read_file(path.with_name(beside))
    if hashlib.sha256(content).hexdigest() != digest:
        raise BrokenCertificate(f"{beside} was changed after {path.name} was written: its sha256 does not match")
    check(certificate, losses_from_bytes(content))
    if document["claim"] != certificate.sentence():
        raise BrokenCertificate(f"the claim of {path.name} is not what its numbers say: {certificate.sentence()}")
    _check_rest(document, _document(certificate, beside, content), path)
    return certificate


def _check_rest(document: dict[str, Any], again: dict[str, Any], path: Path) -> None:
    """Refuse what is not as this certificate is written: all but the version that made it and the last digits."""
    shown = ("made_by", "sha256")
    written, made = ({k: v for k, v in each.items() if k not in shown} for each in (document, again))
    made["candidates"] = [
        # p-values and risks are compared by `check`, which knows how far libraries may differ
        {**new, "p_value": old["p_value"], "empirical_risk": old["empirical_risk"]}
        for old, new in zip(written["candidates"], made["candidates"], strict=True)
    ]
    for name in sorted({*written, *made}):
        if canonical(written.get(name)) != canonical(made.get(name)):
            raise BrokenCertificate(f"{name!r} of {path.name} is not what its losses and claim give. Do not rely on it")


def _check_network(certificate: Certificate, network: "nn.Module", path: Path) -> None:
    from prudent.network import fingerprint

    if certificate.selected is None or not certificate.models:
        what = "certifies no network" if certificate.selected is None else "does not say which networks it is about"
        raise BadInput(f"{path.name} {what}, so none can be compared with it")
    if fingerprint(network) != certificate.models[certificate.selected]:
        name = certificate.names[certificate.selected]
        raise BrokenCertificate(f"this is not the network that {path.name} certifies ({name}): its weights differ")


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
        document = json.loads(read_file(path), object_pairs_hook=_once)
    except ValueError as error:
        raise BadInput(f"{path.name} is no JSON ({error})") from error
    if not isinstance(document, dict) or "prudent_certificate" not in document:
        raise BadInput(f"{path.name} is no certificate written by prudent")
    schema = document["prudent_certificate"]
    if not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
        raise BadInput(f"{path.name} has format {schema}; this version of prudent reads up to {SCHEMA}")
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys occur once: of a repeated one a person reads the first, and a parser takes the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BrokenCertificate(f"the certificate has the key {twice!r} twice: it was changed after it was written")
    return found


def _hash(document: dict[str, Any]) -> str:
    try:
        return hashlib.sha256(canonical({k: v for k, v in document.items() if k != "sha256"})).hexdigest()
    except PrudentError as error:
        raise BrokenCertificate(f"the certificate holds what JSON does not have ({error})") from error
