"""A study file: TOML in, complete `Settings` out, or one line that says what is wrong and where."""

import difflib
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from prudent.errors import BadInput
from prudent.files import read_file
from prudent.merging import KEYS, Place, merge, origin
from prudent.settings import Settings


def parse(text: str, *, source: str, full: bool = False) -> Settings:
    """Settings from TOML text, or one line that says what is wrong and where.

    A table [full] is checked whether it is asked for or not.

    Args:
        text: the file's content.
        source: what to call it in messages.
        full: whether to take the full size, which the file's table [full] says (see `prudent.merging`).

    Raises:
        BadInput: TOML that cannot be read, an unknown key (with the nearest), a value out of range, an unknown name,
            a full size that the file does not have.
    """
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{source} is no TOML: {error}") from error
    small = _settings(given, source, full=False)
    large = _settings(given, source, full=True) if full or "full" in given else small
    return large if full else small


def _settings(given: dict[str, Any], source: str, *, full: bool) -> Settings:
    try:
        return Settings.model_validate(merge(given, full=full))
    except ValidationError as error:
        explained = _explain(error, lambda place: origin(given, place, full=full))
        raise BadInput(f"{source}: {'in the full size, ' if full else ''}{explained}") from error
    except BadInput as error:
        raise BadInput(f"{source}: {error}") from error


def read(path: Path, *, full: bool = False) -> Settings:
    """Settings from a study file. Raises as `parse`, and PrudentError if there is no such file."""
    try:
        text = read_file(path).decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is no text: a study file is TOML in UTF-8") from error
    return parse(text, source=str(path), full=full)


def embedded() -> dict[str, Path]:
    """The studies that come with prudent, by name."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "study_files").glob("*.toml"))}


def _explain(error: ValidationError, written: Callable[[Place], Place]) -> str:
    problems = _once(error.errors(include_url=False), written)
    # an unknown key first: a misspelt one is often the reason for the others
    first = min(problems, key=lambda p: p["type"] != "extra_forbidden")
    place = written(first["loc"])
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        key = str(place[-1])
        known = sorted([*_keys_at(first["loc"][:-1]), *KEYS.get(place[:-1], ())])
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        guess = f"did you mean {near[0]!r}? " if near else ""
        return f"no key {where!r}; {guess}known here: {', '.join(known)}{more}"
    if first["type"] == "missing":
        return f"key {where!r} is missing: {_needed(first['loc'])}{more}"
    if first["type"] == "value_error":
        return f"{where}{': ' if where else ''}{first['ctx']['error']!s}{more}"
    came = first["input"]
    return f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}; got {came!r}{more}"


def _once(problems: list[ErrorDetails], written: Callable[[Place], Place]) -> list[ErrorDetails]:
    """Each problem once: what is wrong in [training] is wrong again in every table that starts from it."""
    found: dict[object, ErrorDetails] = {}
    for problem in problems:
        place = written(problem["loc"])
        starts = [i for i, part in enumerate(place) if part in ("training", "retraining")]
        own = place[starts[0] + 1 :] if starts else place
        found.setdefault((bool(starts), own, problem["type"], repr(problem["input"])), problem)
    return list(found.values())


def _needed(location: Place) -> str:
    """What to write where a key is missing: what it means, or the keys that a table of this name cannot do without."""
    name = str(location[-1])
    own = _table_at(location[:-1]).model_fields[name]
    if not _is_table(own.annotation):
        return f"write {name} = ..., {own.description}"
    keys = " and ".join(f"{key} = ... ({text})" for key, text in _required(_table_in(own.annotation)))
    return f"it is a table that needs {keys}"


def _required(table: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The keys without a default, with those of tables within this one: key, and what it means."""
    for key, own in table.model_fields.items():
        if own.is_required() and _is_table(own.annotation):
            yield from _required(_table_in(own.annotation), f"{prefix}{key}.")
        elif own.is_required():
            yield prefix + key, own.description or ""


def _keys_at(location: Place) -> list[str]:
    """The keys that a table at this place of the file may have."""
    return list(_table_at(location).model_fields)


def _table_at(location: Place) -> type[BaseModel]:
    table: type[BaseModel] = Settings
    for part in location:
        if isinstance(part, str):
            table = _table_in(table.model_fields[part].annotation)
    return table


def _is_table(annotation: Any) -> bool:  # noqa: ANN401 (a type)
    own = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return own or any(_is_table(part) for part in get_args(annotation))


def _table_in(annotation: Any) -> type[BaseModel]:  # noqa: ANN401 (a type)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(t for a in get_args(annotation) for t in [_table_in(a)])
