"""The command that checks certificates: `prudent verify`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prudent.errors import BadInput, BrokenCertificate
from prudent.shipping import Builder, DataName
from prudent.terminal import AsJson

if TYPE_CHECKING:
    from prudent.artefacts import Artefact
    from prudent.claim_files import Claimed
    from prudent.types import Certificate


def verify(
    files: Annotated[list[Path], typer.Argument(help="Certificates (JSON), or folders of them.")],
    network: Annotated[
        str | None, typer.Option(help="Folder of a network that must be the certified one, bit by bit.")
    ] = None,
    onnx: Annotated[str | None, typer.Option(help="ONNX file that must be the certified one.")] = None,
    counts: Annotated[  # noqa: FBT002 (a flag of the command line)
        bool,
        typer.Option("--counts", help="From the counts in the file alone, where its losses are not there. Weaker."),
    ] = False,
    data: DataName = None,
    dense: Annotated[
        str | None, typer.Option(help="The dense network that the claim compares with; for --data.")
    ] = None,
    builder: Builder = None,
    as_json: AsJson = False,  # noqa: FBT002 (a flag of the command line)
) -> int:
    """Recompute certificates from the losses stored beside them. Exits with 2 at the first that does not hold.

    With --network or --onnx the file at hand must be the one that is certified; with --data it is asked again, too.
    """
    paths = _certificates(files)
    if (network or onnx or data) and len(paths) != 1:
        raise BadInput(f"a network is compared with one certificate; got {len(paths)}: name the one it is about")
    chosen = _chosen(network, onnx, data, builder)
    found = []
    try:
        for path in paths:
            said = _checked(path, chosen, data, dense, builder, counts=counts)
            found.append(said)
            if not as_json:
                typer.echo(f"verified {path}{_how(said)}\n  {said['claim']}\n  {_spent(said)}")
    finally:
        # those that held before the first that does not are told too, as without --json
        if as_json:
            typer.echo(json.dumps(found, indent=1))
    return 0


def _checked(
    path: Path, chosen: "Artefact | None", data: str | None, dense: str | None, builder: str | None, *, counts: bool
) -> dict[str, Any]:
    """What one file claims, once it is shown to follow from what lies beside it."""
    from prudent.certificates import verify as verify_file
    from prudent.spending import spent

    if _is_other(path):
        if counts or data is not None:
            raise BadInput(f"{path.name} is verified from the numbers beside it: leave --counts and --data out")
        claim: Claimed | Certificate = _other(path, chosen)
        compared = {} if chosen is None else {"artefact": chosen.path}
    else:
        claim = certificate = verify_file(path, level="counts" if counts else "losses")
        compared = {} if chosen is None else _compared(path, certificate, chosen, data, dense, builder)
    spending = spent(path.parent, claim.data)
    return {
        "file": str(path), "claim": claim.sentence(), "verified": True, "level": "counts" if counts else "losses",
        **compared, "claims": spending.claims, "delta_spent": spending.delta,
    }  # fmt: skip


def _is_other(path: Path) -> bool:
    """Whether a file is none of a walk over networks, but of another kind."""
    from prudent.certificate_documents import OTHER, read_document
    from prudent.files import read_file

    return bool(read_document(read_file(path), path.name)["prudent_certificate"] == OTHER)


def _other(path: Path, chosen: "Artefact | None") -> "Claimed":
    from prudent.claim_files import certified_fingerprint, verify_claim
    from prudent.claims import same_network

    claim = verify_claim(path)
    if chosen is not None and not same_network(chosen.fingerprint, certified_fingerprint(claim)):
        raise BrokenCertificate(f"this is not the network that {path.name} is about: its hash differs")
    return claim


def _spent(said: dict[str, Any]) -> str:
    """What the ledger beside a certificate says of its examples."""
    from prudent.wording import percent

    if said["claims"] < 2:
        known = "no ledger beside it knows" if not said["claims"] else "the ledger beside it knows of no other claim on"
        return f"{known} its examples"
    together = percent(max(0.0, 1 - said["delta_spent"]))
    return (
        f"the ledger beside it knows of {said['claims']} claims on its examples: all of them hold together with "
        f"{together} confidence"
    )


def _chosen(network: str | None, onnx: str | None, data: str | None, builder: str | None) -> "Artefact | None":
    if network is None and onnx is None:
        if data is not None:
            raise BadInput("--data asks the certified network again: name it with --network or --onnx")
        return None
    if network is not None and onnx is not None:
        raise BadInput("one artefact is certified: name it with --network or --onnx, not both")
    from prudent.artefacts import artefact

    return artefact(network or onnx or "", data=data, builder=builder)


def _compared(
    path: Path, certificate: "Certificate", chosen: "Artefact", data: str | None, dense: str | None, builder: str | None
) -> dict[str, Any]:
    """The artefact is the certified one; and with data, asked again, it still passes."""
    from prudent.artefacts import artefact
    from prudent.certificates import check_artefact

    check_artefact(certificate, chosen.fingerprint, path)
    if data is None:
        return {"artefact": chosen.path}
    from prudent.claiming import check_rerun
    from prudent.sources import load_data

    reference = None if dense is None else artefact(dense, data=data, builder=builder)
    differing = check_rerun(path, certificate, chosen, reference, load_data(data, {}))
    return {"artefact": chosen.path, "level": "full", "losses_that_differ": differing}


def _how(said: dict[str, Any]) -> str:
    if said["level"] == "counts":
        return " from its counts alone, which are not shown to be those of any examples"
    if said["level"] == "full":
        return f", and {said['artefact']} asked again: {said['losses_that_differ']} losses differ"
    return f", and {said['artefact']} is what it certifies" if "artefact" in said else ""


def _certificates(files: list[Path]) -> list[Path]:
    found: list[Path] = []
    for path in files:
        # what `prudent monitor` keeps beside a certificate is none
        inside = [p for p in sorted(path.glob("*.json")) if not p.name.endswith(".monitor.json")]
        inside = inside if path.is_dir() else [path]
        if not inside:
            raise BadInput(f"folder {str(path)!r} holds no certificates (*.json)")
        found += inside
    return found
