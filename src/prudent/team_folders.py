"""A team as a folder: each member as `prudent.save` writes it, and a description with the hashes of all. No pickle.

team.json            who belongs to it, in order, with the sha256 of each member's description and numbers
members/NAME/        every member, for `prudent.load`
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from prudent.assembling import Architecture
from prudent.ensembles import Ensemble, join
from prudent.errors import BadInput, PrudentError, reason
from prudent.files import read_file, write_whole
from prudent.networks import DESCRIPTION, NUMBERS, PLAN, Saved, pack, unpack
from prudent.pruning import Pruned
from prudent.surgery.shrinking import Shrunk

SCHEMA = 1
TEAM = "team.json"
NOTE = "prudent.team"
"""The key under which an ONNX file of a team carries what team.json says."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Team:
    """A team that was loaded.

    Args:
        members: name -> plain, masked or smaller network, in their order.
        model: the ensemble of them, which votes softly.
        chosen: how it was chosen, as it was saved.
    """

    members: Mapping[str, Saved]
    model: Ensemble
    chosen: Mapping[str, Any]

    @property
    def sparsity(self) -> float:
        """Mean over the members of the fraction that was removed, 0 for dense ones."""
        own = [m.mask.sparsity if isinstance(m, (Pruned, Shrunk)) else 0.0 for m in self.members.values()]
        return sum(own) / len(own)


def save_team(
    members: Mapping[str, Saved],
    folder: str | Path,
    *,
    architectures: Mapping[str, Architecture] | None = None,
    chosen: Mapping[str, Any] | None = None,
) -> Path:
    """Write a team into a folder.

    Args:
        members: name -> network, in the order of the team; a name becomes the name of a folder.
        folder: made if absent; team.json is written last.
        architectures: name -> how to build the original of that member, so that `load_team` needs no `build`.
        chosen: plain words and numbers about the choice, kept as they are.

    Raises:
        BadInput: no members, a name that is no name of a folder, or a folder that holds another team.
        PrudentError: the folder cannot be written to.
    """
    known = architectures or {}
    packed = {name: pack(network, architecture=known.get(name)) for name, network in members.items()}
    return write_team(packed, folder, chosen=chosen)


def write_team(
    members: Mapping[str, Mapping[str, bytes]], folder: str | Path, *, chosen: Mapping[str, Any] | None = None
) -> Path:
    """The same from the files of each member, as `networks.pack` makes them."""
    if not members:
        raise BadInput("a team to be saved has at least one member; got none")
    for name in members:
        _check_name(name)
    root = Path(folder)
    about = {
        "schema": SCHEMA,
        "kind": "team",
        "voting": "soft",
        "members": [{"name": name, "files": _hashes(files)} for name, files in members.items()],
        "chosen": dict(chosen or {}),
    }
    # what was exported from the other one would lie beside this description
    if (root / TEAM).exists() and _described(read_file(root / TEAM))["members"] != about["members"]:
        raise BadInput(f"{root} holds another team: name another folder, or remove that one first")
    for name, files in members.items():
        for file, content in files.items():
            write_whole(root / "members" / name / file, content)
    write_whole(root / TEAM, json.dumps(about | {"seal": _seal(about)}, indent=1, sort_keys=True) + "\n")
    return root


def load_team(folder: str | Path, *, build: Callable[[], nn.Module] | None = None) -> Team:
    """Read a team that `save_team` wrote.

    Args:
        folder: where it is.
        build: makes the original architecture of every member; may be left out for architectures of prudent's own.

    Raises:
        PrudentError: a file is missing or unreadable.
        BadInput: a description that was changed, a member whose files are not those that it names, or that do not fit
            the architecture.
    """
    root = Path(folder)
    about = _described(read_file(root / TEAM))
    members: dict[str, Saved] = {}
    for entry in about["members"]:
        name, hashes = entry["name"], entry["files"]
        files = {file: read_file(root / "members" / name / file) for file in hashes}
        if _hashes(files) != hashes:
            raise BadInput(
                f"member {name!r} is not the one that {TEAM} was written for: the hashes of its files differ"
            )
        members[name] = unpack(files, build=build)
    return Team(members=members, model=join(list(members.values())), chosen=about["chosen"])


def chosen_of(folder: str | Path) -> Mapping[str, Any]:
    """How the team in a folder was chosen, as it was saved, without its members.

    Raises:
        PrudentError, BadInput: as `load_team`, of the description alone.
    """
    return dict(_described(read_file(Path(folder) / TEAM))["chosen"])


def origin_notes(folder: str | Path) -> dict[str, str]:
    """What an ONNX file of a team is to carry, so that it can be copied without the folder: for `export_onnx`.

    The same as team.json: members with the hashes of their files, how they were chosen, and on which data, sealed.

    Raises:
        PrudentError, BadInput: as `load_team`, of the description alone.
    """
    content = read_file(Path(folder) / TEAM)
    _described(content)
    return {NOTE: json.dumps(json.loads(content), sort_keys=True)}


def chosen_in(notes: Mapping[str, str], name: str) -> Mapping[str, Any] | None:
    """How the team in an ONNX file was chosen, by its notes; None where they say nothing of it.

    Args:
        notes: of the file.
        name: of the file, to say where the trouble is.

    Raises:
        PrudentError, BadInput: a description that was changed, or of a later format.
    """
    if NOTE not in notes:
        return None
    try:
        return dict(_described(notes[NOTE].encode())["chosen"])
    except PrudentError as error:
        raise type(error)(f"{name}, notes inside: {error}") from error


def _described(content: bytes) -> dict[str, Any]:
    try:
        about = dict(json.loads(content))
        seal, schema = about.pop("seal"), int(about["schema"])
        named = {str(entry["name"]): dict(entry["files"]) for entry in about["members"]}
        about["chosen"] = dict(about["chosen"])
    except (ValueError, KeyError, TypeError) as error:
        raise PrudentError(f"{TEAM} is not a description written by prudent ({reason(error)})") from error
    if schema > SCHEMA:
        raise BadInput(f"the team was saved with format {schema}; this version of prudent reads up to {SCHEMA}")
    if seal != _seal(about):
        raise BadInput(f"{TEAM} is not as it was written: it does not have the hash that it carries")
    for name, files in named.items():
        _check_name(name)
        if not {DESCRIPTION, NUMBERS} <= set(files) <= {DESCRIPTION, NUMBERS, PLAN}:
            raise BadInput(f"member {name!r} of {TEAM} is made of {DESCRIPTION} and {NUMBERS}; it names {list(files)}")
    return about


def _check_name(name: str) -> None:
    # a name becomes part of a path
    if not name or name.startswith(".") or not all(c.isalnum() or c in "._-" for c in name):
        raise BadInput(f"the name of a member is made of letters, digits, '.', '_' and '-'; got {name!r}")


def _hashes(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}


def _seal(about: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def names_of(addresses: Sequence[tuple[int, str, float]]) -> list[str]:
    """Names for networks of a study: "seed0-magnitude-0.9", and "seed1-dense" for method ""."""
    return [f"seed{seed}-" + (f"{method}-{sparsity!r}" if method else "dense") for seed, method, sparsity in addresses]
