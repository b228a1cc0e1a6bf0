"""What a result depends on, as one hash: settings, inputs, data, and the code that computes it."""

import ast
import hashlib
import importlib.util
import io
import json
import sys
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from prudent.errors import BadInput, reason

SCHEMA = 1
LIBRARIES = {"torch": "torch", "numpy": "numpy", "scipy": "scipy", "sklearn": "scikit-learn", "PIL": "pillow"}
"""Libraries whose public version is part of the code, by the name they are imported under."""

OUTSIDE = frozenset({"prudent", "prudent.errors", "prudent.catalogue", "prudent.wording"})
"""Modules that cannot change a number: the package's list of names, messages, look-up, wording."""


def canonical(value: object) -> bytes:
    """The one JSON text of a value: sorted keys, no spaces, no NaN; equal values have equal text.

    Raises:
        BadInput: NaN, infinity, or something that JSON does not have.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInput(f"settings must be plain numbers, words, lists and tables ({error})") from error
    return text.encode()


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """One unit of work of a study: small, repeatable, and filed under the hash of all that it depends on.

    Args:
        kind: file in prudent.cells that computes it.
        options: the settings that this kind reads, defaults written in.
        inputs: name -> key of the cell that makes the input; so all keys are known before anything runs.
        data: fingerprints of the examples that it reads.
        code: hash of the code that computes it, see `code_version`.
        label: for people; not part of the key.
        alone: whether it must not share the machine with other cells (timings); not part of the key.
    """

    kind: str
    options: Mapping[str, object]
    inputs: Mapping[str, str]
    data: tuple[str, ...]
    code: str
    label: str
    alone: bool = False

    @cached_property
    def key(self) -> str:
        """sha256 as 64 hex digits."""
        parts = [SCHEMA, self.kind, dict(self.options), dict(self.inputs), list(self.data), self.code]
        return hashlib.sha256(canonical(parts)).hexdigest()


def code_version(modules: Iterable[str]) -> str:
    """Hash of the source of `modules` and of everything of their own packages that they import, directly or not.

    Blind to comments, docstrings, spacing and Python's version; modules that cannot change a number are left out. The
    public versions of the numerical libraries that the code imports are part of it.

    Args:
        modules: names such as "prudent.cells.dense", or "my_package.my_module" for private methods.

    Raises:
        BadInput: a module without Python source, or with one that is not Python.
    """
    try:
        return _code_version(tuple(sorted(set(modules))))
    except (SyntaxError, UnicodeDecodeError) as error:
        where = getattr(error, "filename", None) or ", ".join(modules)
        raise BadInput(f"the code that results are filed under cannot be read, in {where}: {reason(error)}") from error


@lru_cache(maxsize=512)
def _code_version(modules: tuple[str, ...]) -> str:
    sources = closure(modules)
    used = {top for path in sources.values() for top in _imports(path, "").libraries}
    libraries = {name: _public_version(LIBRARIES[name]) for name in sorted(used)}
    tokens = {name: _tokens(path) for name, path in sorted(sources.items())}
    return hashlib.sha256(canonical([tokens, libraries])).hexdigest()


def closure(modules: Iterable[str]) -> dict[str, Path]:
    """Module name -> source file, for `modules` and all that they import statically within their packages."""
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found or name in OUTSIDE:
            continue
        path = _source(name)
        if path is None:
            raise BadInput(f"module {name!r} has no Python source, so results cannot be filed under its code")
        found[name] = path
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        waiting += [other for other in _imports(path, package).modules if _same_package(other, name) and _source(other)]
        # importing a.b.c runs a and a.b too
        waiting += [parent for parent in _parents(name) if _source(parent)]
    return found


@dataclass(frozen=True)
class _Imports:
    modules: tuple[str, ...]
    libraries: frozenset[str]


@lru_cache(maxsize=4096)
def _imports(path: Path, package: str) -> _Imports:
    modules: list[str] = []
    for node in _running(ast.parse(path.read_bytes(), filename=str(path))):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            modules += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return _Imports(tuple(modules), frozenset(m.partition(".")[0] for m in modules) & frozenset(LIBRARIES))


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING`, which never run."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for other in node.orelse:
                yield from (other, *_running(other))
            continue
        yield node
        yield from _running(node)


def _same_package(a: str, b: str) -> bool:
    return a.partition(".")[0] == b.partition(".")[0] or a.partition(".")[0] == "prudent"


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


@lru_cache(maxsize=4096)
def _source(name: str) -> Path | None:
    top, *below = name.split(".")
    try:
        # only the top package is asked for: find_spec("a.b.c") would import a.b
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin)
    if not below:
        return origin if origin.suffix == ".py" else None
    stem = Path(*(spec.submodule_search_locations or [""])[:1], *below)
    candidates = (stem.with_name(stem.name + ".py"), stem / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


@lru_cache(maxsize=4096)
def _tokens(path: Path) -> str:
    """Hash of a file's tokens without comments, docstrings and layout."""
    text = path.read_text(encoding="utf-8")
    documented = _docstrings(ast.parse(text))
    digest = hashlib.sha256()
    for token in _tokenized(text):
        layout = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENCODING, tokenize.ENDMARKER)
        if token.type in layout or (token.type == tokenize.STRING and token.start[0] in documented):
            continue
        # an indent is a block's start, however many spaces it has
        word = "" if token.type in (tokenize.INDENT, tokenize.DEDENT) else token.string
        digest.update(f"{tokenize.tok_name[token.type]}\0{word}\0".encode())
    return digest.hexdigest()


def _docstrings(tree: ast.AST) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.body:
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                lines |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return lines


def _tokenized(text: str) -> Iterator[tokenize.TokenInfo]:
    """Tokens with each f-string as one, as Python up to 3.11 has them; later versions take f-strings apart."""
    start, end = getattr(tokenize, "FSTRING_START", None), getattr(tokenize, "FSTRING_END", None)
    lines, depth, first = text.splitlines(keepends=True), 0, (0, 0)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if start is not None and token.type == start:
            first = first if depth else token.start
            depth += 1
        elif end is not None and token.type == end:
            depth -= 1
            if depth == 0:
                yield token._replace(type=tokenize.STRING, string=_slice(lines, first, token.end), start=first)
        elif depth == 0:
            yield token


def _slice(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    rows = lines[start[0] - 1 : end[0]]
    rows[-1] = rows[-1][: end[1]]
    rows[0] = rows[0][start[1] :]
    return "".join(rows)


def _public_version(distribution: str) -> str:
    try:
        return version(distribution).partition("+")[0]
    except PackageNotFoundError:
        return ""


def python_version() -> str:
    """For records: results may differ between Python versions only through libraries, so it is not part of keys."""
    return ".".join(str(part) for part in sys.version_info[:3])
