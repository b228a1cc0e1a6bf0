"""Files that appear whole or not at all."""

import os
import tempfile
from pathlib import Path

from prudent.errors import PrudentError


def write_whole(path: Path, content: bytes | str) -> Path:
    """Write a file under a temporary name and rename it, so that nobody ever sees half of it. Folders are made.

    Raises:
        PrudentError: the place cannot be written to, or is full.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise PrudentError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
    return path


def read_file(path: Path) -> bytes:
    """The content of a file, or one line that says it is not there.

    Raises:
        PrudentError: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise PrudentError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
