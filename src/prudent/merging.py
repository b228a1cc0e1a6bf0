"""Two tables of a study file that change others: [method_defaults] of all methods, [full] of the whole file."""

from collections.abc import Callable, Mapping
from typing import Any

from prudent.errors import BadInput, UnknownName

TABLES = {
    "[method_defaults]": "Keys of `[[methods]]` for every method that does not give them itself. A method's own value "
    "replaces the default; of `retraining` single keys do.",
    "[full]": "The full size of a study whose file says a smaller one, run by `prudent study FILE --full`: any keys "
    "and tables of the file, `[full.method_defaults]` among them, which replace those of the same name. Tables are "
    "merged key by key, lists are replaced as a whole.",
    "[full.methods.NAME]": "Keys of the method of that name.",
}
"""What each of these tables does, for the reference page."""

Table = Mapping[str, Any]
Place = tuple[int | str, ...]
"""Where a value stands: keys, and positions in lists, from the outermost."""

KEYS: Mapping[Place, tuple[str, ...]] = {(): ("full", "method_defaults"), ("full",): ("method_defaults",)}
"""The keys that these tables add to those of `Settings`, by where they stand."""


def merge(given: Table, *, full: bool) -> dict[str, Any]:
    """The tables of a study file once [method_defaults], and [full] if asked for, are worked into the others.

    Args:
        given: the file as TOML is read. Not changed.
        full: whether to take the full size.

    Returns: tables without these two; values that are wrong elsewhere are left as they are.

    Raises:
        BadInput: `full` of a file that has no [full]; one of these tables is none.
        UnknownName: [full.methods.NAME] for a method that the file does not have.
    """
    if full and "full" not in given:
        raise BadInput("there is no table [full] that says what the full size is: add one, or leave full (--full) out")
    merged = {key: value for key, value in given.items() if key != "full"}
    if full:
        changes = _table("full", given["full"])
        by_name = _table("full.methods", changes.get("methods", {}), "tables [full.methods.NAME]")
        merged = _deeply(merged, {key: value for key, value in changes.items() if key != "methods"})
        merged = _with_methods(merged, lambda methods: _changed(methods, by_name))
    defaults = _table("method_defaults", merged.pop("method_defaults", {}))
    return _with_methods(merged, lambda methods: [_with_defaults(method, defaults) for method in methods])


def origin(given: Table, place: Place, *, full: bool) -> Place:
    """Where in the file the value at a place of the merged tables was written; the place itself if nowhere.

    Args:
        given: the file as TOML is read.
        place: in what `merge` made of it.
        full: as for `merge`.
    """
    candidates = [place]
    if len(place) > 2 and place[0] == "methods":
        rest = place[2:]
        name = _at(given, (*place[:2], "name"))
        changed: list[Place] = [("full", "methods", str(name), *rest)] if full else []
        defaults: list[Place] = [("full", "method_defaults", *rest)] if full else []
        candidates = [*changed, place, *defaults, ("method_defaults", *rest)]
    elif full and place:
        candidates = [("full", *place), place]
    return next((one for one in candidates if _at(given, one) is not None), place)


def _at(given: Any, place: Place) -> Any:  # noqa: ANN401 (raw TOML)
    """The value at a place, None where there is none; TOML has no null."""
    try:
        for part in place:
            given = given[part]
    except (KeyError, IndexError, TypeError):
        return None
    return given


def _table(name: str, value: object, what: str = "a table") -> Table:
    if not isinstance(value, dict):
        raise BadInput(f"{name} must be {what}; got {value!r}")
    return value


def _deeply(base: Table, changes: Table) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _deeply(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _with_methods(given: dict[str, Any], change: Callable[[list[Table]], list[dict[str, Any]]]) -> dict[str, Any]:
    """The tables with other methods, if it has any; whatever else stands there is for the settings to refuse."""
    methods = given.get("methods")
    if not isinstance(methods, list) or not all(isinstance(method, dict) for method in methods):
        return given
    return {**given, "methods": change(methods)}


def _changed(methods: list[Table], by_name: Table) -> list[dict[str, Any]]:
    changes = {name: _table(f"full.methods.{name}", change) for name, change in by_name.items()}
    known = [str(method.get("name", "")) for method in methods]
    for name in changes:
        if name not in known:
            raise UnknownName.of("method", name, known)
    return [_deeply(method, changes.get(name, {})) for name, method in zip(known, methods, strict=True)]


def _with_defaults(method: Table, defaults: Table) -> dict[str, Any]:
    merged = {**defaults, **method}
    again, own = defaults.get("retraining"), method.get("retraining")
    if isinstance(again, dict) and isinstance(own, dict):
        merged["retraining"] = {**again, **own}
    return merged
