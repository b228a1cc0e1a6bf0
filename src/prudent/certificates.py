"""Certificates as files: JSON for people and machines, with the losses beside them, so that anyone can recompute."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from prudent.archive import losses_from_bytes, losses_to_bytes
from prudent.certificate_documents import OTHER, certificate_of, check_digest, document, read_document, said_earlier
from prudent.certification import check
from prudent.claims import PARTING, same_network
from prudent.errors import BadInput, BrokenCertificate, PrudentError, reason
from prudent.files import read_file, write_whole
from prudent.keys import canonical
from prudent.recounting import check_counts
from prudent.spending import spend
from prudent.types import Certificate, Losses

if TYPE_CHECKING:
    from torch import nn

Level = Literal["losses", "counts"]


def write_certificate(certificate: Certificate, losses: Losses | Sequence[Losses], path: str | Path) -> Path:
    """Write NAME.json and, beside it, NAME.losses.safetensors, from which it can be recomputed.

    A claim about several risks has one file of losses for each: NAME.losses-1.safetensors and so on. The claim is
    also entered into spending.jsonl beside it: see `prudent.spending`.

    Args:
        certificate: made from `losses`.
        losses: of the certification split; as many tables as the certificate has parts.
        path: of the JSON file.

    Returns: the path.

    Raises:
        BrokenCertificate: the certificate does not follow from the losses.
    """
    path = Path(path)
    tables = [losses] if isinstance(losses, Losses) else list(losses)
    check(certificate, losses)
    own = path.name.removesuffix(".json")
    if isinstance(losses, Losses):
        names = [f"{own}.losses.safetensors"]
    else:
        names = [f"{own}.losses-{i}.safetensors" for i in range(1, len(tables) + 1)]
    stored = [(name, losses_to_bytes(table)) for name, table in zip(names, tables, strict=True)]
    for name, content in stored:
        write_whole(path.with_name(name), content)
    # before the certificate is there: one that was not counted must not exist
    spend(path.parent, certificate, hashlib.sha256(b"".join(content for _, content in stored)).hexdigest())
    return write_whole(path, json.dumps(document(certificate, stored), indent=1) + "\n")


def verify(path: str | Path, *, network: "nn.Module | None" = None, level: Level = "losses") -> Certificate:
    """Recompute a certificate from the losses stored beside it.

    Shows that everything in the file follows from those losses, alpha, delta and the bound. The hashes have no key:
    they find damage and careless edits, and cannot show who wrote the file, when, or that another alpha was not
    declared first. Who must be able to show that publishes the file's sha256 beforehand.

    Args:
        path: of the JSON file.
        network: the network that is to be used; checked to be the selected candidate, bit by bit.
        level: "losses" recomputes everything from the stored losses. "counts" needs no other file and is weaker: it
            shows that claim and p-values follow from the counts in the file, not that these are the losses' counts.

    Returns: the certificate.

    Raises:
        PrudentError: a file is missing or cannot be read.
        BadInput: the file is no certificate, or of a newer format; counts alone cannot show it.
        BrokenCertificate: the certificate or its losses were changed, or do not agree; `network` is another one.
    """
    path = Path(path)
    try:
        certificate = _recomputed(path, level)
    except PrudentError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        # whatever stands where prudent writes something else: text for a number, no claim, brackets without end
        raise BadInput(f"{path.name} is no certificate written by prudent ({reason(error)})") from error
    if network is not None:
        from prudent.identity import identity

        check_artefact(certificate, identity(network), path)
    return certificate


def losses_of(path: str | Path) -> list[Losses]:
    """The losses stored beside a certificate, one table for each risk of its claim.

    Raises:
        PrudentError: a file is missing or cannot be read.
        BadInput: the file is no certificate, or names losses elsewhere.
        BrokenCertificate: losses that were changed.
    """
    path = Path(path)
    written = read_document(read_file(path), path.name)
    return [losses_from_bytes(content) for _, content in _stored(written, path)]


def _recomputed(path: Path, level: Level) -> Certificate:
    written = read_document(read_file(path), path.name)
    if written["prudent_certificate"] == OTHER:
        raise BadInput(f"{path.name} is a claim of another kind: prudent.claim_files.verify_claim checks it")
    check_digest(written, path.name)
    certificate = certificate_of(written)
    if level == "counts":
        check_counts(certificate)
        stored = [("", b"")] * max(1, len(certificate.parts))
    else:
        stored = _stored(written, path)
        tables = [losses_from_bytes(content) for _, content in stored]
        check(certificate, tables if certificate.parts else tables[0])
    earlier = said_earlier(written, certificate)
    if not earlier and written["claim"] != certificate.sentence():
        raise BrokenCertificate(f"the claim of {path.name} is not what its numbers say: {certificate.sentence()}")
    made = document(certificate, stored, schema=written["prudent_certificate"], earlier=earlier)
    _check_rest(written, made | ({"losses": written["losses"]} if level == "counts" else {}), path)
    return certificate


def _stored(written: dict[str, Any], path: Path) -> list[tuple[str, bytes]]:
    """Name and content of the files that hold the losses."""
    named = written["losses"]
    return read_stored(named if isinstance(named, list) else [named], path)


def read_stored(entries: Sequence[dict[str, Any]], path: Path) -> list[tuple[str, bytes]]:
    """Name and content of the files beside a certificate that it names with their sha256.

    Raises:
        PrudentError: a file is missing or cannot be read.
        BadInput: a file elsewhere.
        BrokenCertificate: a file that was changed.
    """
    found = []
    for entry in entries:
        name = str(entry["file"])
        if Path(name).name != name:
            raise BadInput(f"the losses of a certificate lie beside it; {path.name} names {name!r}")
        content = read_file(path.with_name(name))
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise BrokenCertificate(f"{name} was changed after {path.name} was written: its sha256 does not match")
        found.append((name, content))
    return found


def _check_rest(written: dict[str, Any], made: dict[str, Any], path: Path) -> None:
    """Refuse what is not as this certificate is written: all but the version that made it and the last digits."""
    shown = ("made_by", "sha256")
    written, made = ({k: v for k, v in each.items() if k not in shown} for each in (written, made))
    for old, new in [(written, made), *zip(written.get("parts", ()), made.get("parts", ()), strict=True)]:
        for of_old, of_new in zip(old["candidates"], new["candidates"], strict=True):
            # p-values and risks are compared by `check`, which knows how far libraries may differ
            of_new |= {name: of_old[name] for name in ("p_value", "empirical_risk")}
    for name in sorted({*written, *made}):
        if canonical(written.get(name)) != canonical(made.get(name)):
            raise BrokenCertificate(f"{name!r} of {path.name} is not what its losses and claim give. Do not rely on it")


def check_artefact(certificate: Certificate, fingerprint: str, path: str | Path) -> None:
    """Refuse an artefact that is not the one that is certified.

    Raises:
        BadInput: the certificate certifies none, or does not say which.
        BrokenCertificate: another fingerprint.
    """
    name = Path(path).name
    if certificate.selected is None or not certificate.models:
        what = "certifies no network" if certificate.selected is None else "does not say which networks it is about"
        raise BadInput(f"{name} {what}, so none can be compared with it")
    claimed, chosen = certificate.models[certificate.selected], certificate.names[certificate.selected]
    if not same_network(fingerprint, claimed):
        alike = fingerprint.partition(PARTING)[0] == claimed.partition(PARTING)[0]
        differs = (
            "its weights are the same, but not the modules that compute with them" if alike else "its hash differs"
        )
        raise BrokenCertificate(f"this is not the network that {name} certifies ({chosen}): {differs}")
