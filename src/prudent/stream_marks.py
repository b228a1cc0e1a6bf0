"""How much of a file a watch has counted, so that nothing is counted twice and nothing left out."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prudent.errors import BadInput, PrudentError, reason

MANY = 1000
"""So many equal lines at the beginning are no chance: streams of small numbers often begin alike."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """The beginning of a file, as far as it was counted.

    Args:
        size, lines: bytes and lines.
        digest: sha256 of these bytes.
        ended: whether that was all that there was.
    """

    size: int
    lines: int
    digest: str
    ended: bool


@dataclass(frozen=True, kw_only=True)
class Running:
    """The mark of a file that is being counted; a new one has counted nothing.

    Args:
        size, lines: bytes and lines so far.
        hashed: their sha256, which takes more bytes.
    """

    size: int = 0
    lines: int = 0
    hashed: Any = field(default_factory=hashlib.sha256)


def longer(running: Running, lines: Sequence[str]) -> Running:
    """The same with some more lines, as they stand in the file, ends of lines included."""
    content, hashed = "".join(lines).encode(), running.hashed.copy()
    hashed.update(content)
    return Running(size=running.size + len(content), lines=running.lines + len(lines), hashed=hashed)


def mark(running: Running, *, ended: bool) -> Mark:
    """What is kept of it."""
    return Mark(size=running.size, lines=running.lines, digest=running.hashed.hexdigest(), ended=ended)


def marks_from_json(kept: Sequence[Sequence[Any]]) -> list[Mark]:
    """The marks that `marks_to_json` gave, or those of earlier versions, which were of whole files."""
    return [Mark(size=int(m[0]), lines=int(m[1]), digest=str(m[2]), ended=bool(m[3]) if len(m) > 3 else True)
            for m in kept]  # fmt: skip


def marks_to_json(marks: Sequence[Mark]) -> list[list[Any]]:
    """What JSON can hold of them."""
    return [[m.size, m.lines, m.digest, m.ended] for m in marks]


def check_uncounted(file: Path, marks: Sequence[Mark]) -> None:
    """Refuse a file that was counted before, or whose beginning was.

    A file that begins with a mark's lines is taken for the same one where the mark's file was counted in part only, as
    by a watch that was interrupted or met a line that was no loss; where the lines are many; or where it has no others.

    Raises:
        BadInput: saying how many lines were counted.
        PrudentError: the file cannot be read.
    """
    for known in marks:
        alike = known.lines >= MANY or not known.ended or file.stat().st_size == known.size
        if alike and _digest(file, known.size) == known.digest:
            raise BadInput(
                f"the first {known.lines:,} lines of {file} were counted before: give the new ones only, or --again if "
                "the same were served once more"
            )


def _digest(file: Path, most: int) -> str:
    """sha256 of the first `most` bytes."""
    digest, left = hashlib.sha256(), most
    try:
        with file.open("rb") as content:
            while part := content.read(min(1 << 20, left)):
                digest.update(part)
                left -= len(part)
    except OSError as error:
        raise PrudentError(f"the stream cannot be read ({reason(error)})") from error
    return digest.hexdigest()
