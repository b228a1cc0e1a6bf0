"""Every setting of a study with its value, what it means, and whether it is the default."""

import json
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from prudent.settings import Settings


def tables(study: dict[str, Any]) -> list[dict[str, Any]]:
    """The settings as the tables of a study file: [{"head": "[data]", "rows": [{key, value, meaning, default}]}]."""
    found = [{"head": "the study", "rows": [_row(k, v, Settings) for k, v in study.items() if not _nested(v)]}]
    for key, value in study.items():
        if isinstance(value, dict):
            found += _tables(f"[{key}]", value, _table_in(Settings, key))
        elif _nested(value):
            for k, one in enumerate(value):
                found += _tables(f"[[{key}]] {k + 1}", one, _table_in(Settings, key))
    return found


def _tables(head: str, given: dict[str, Any], table: type[BaseModel] | None) -> list[dict[str, Any]]:
    rows = [_row(key, value, table) for key, value in _flat(given, table)]
    return [{"head": head, "rows": rows}] if rows else []


def _flat(given: dict[str, Any], table: type[BaseModel] | None) -> Iterator[tuple[str, Any]]:
    """Keys with values; a table within the table becomes dotted keys, free options stay one value."""
    for key, value in given.items():
        inner = _table_in(table, key)
        if isinstance(value, dict) and inner is not None:
            yield from ((f"{key}.{k}", v) for k, v in _flat(value, inner))
        else:
            yield key, value


def _row(key: str, value: object, table: type[BaseModel] | None) -> dict[str, Any]:
    field = _field(table, key.split("."))
    default = None if field is None or field.is_required() else field.get_default()
    return {
        "key": key,
        "value": "not set" if value is None else value if isinstance(value, str) else json.dumps(value),
        "meaning": "" if field is None else field.description or "",
        "default": field is not None and not field.is_required() and value == default,
    }


def _field(table: type[BaseModel] | None, path: list[str]) -> FieldInfo | None:
    for part in path[:-1]:
        table = _table_in(table, part)
    return None if table is None else table.model_fields.get(path[-1])


def _table_in(table: type[BaseModel] | None, key: str) -> type[BaseModel] | None:
    field = None if table is None else table.model_fields.get(key)
    return None if field is None else _first_table(field.annotation)


def _first_table(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((t for a in get_args(annotation) for t in [_first_table(a)] if t is not None), None)


def _nested(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))
