"""A folder as a registry: file `taylor.py` in it defines function `taylor`, and that is all it takes to add one."""

import ast
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from prudent.errors import BadInput, PrudentError, UnknownName, reason


@dataclass(frozen=True)
class Catalogue:
    """The methods in one folder of the package, by name.

    Listing them imports nothing; taking one imports its file only.
    `package` is the folder ("prudent.scores"), `noun` what one of its files is called in messages ("score").
    `refuse` sees every name that the folder does not have first, and raises where it knows why that is so.
    """

    package: str
    noun: str
    refuse: Callable[[str], None] | None = None

    @property
    def folder(self) -> Path:
        """The folder on disk."""
        spec = importlib.util.find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise BadInput(f"{self.package} is not a folder of methods")
        return Path(spec.submodule_search_locations[0])

    def names(self) -> list[str]:
        """The names of all methods, sorted. Files that start with "_" are none."""
        return sorted(path.stem for path in self.folder.glob("*.py") if not path.stem.startswith("_"))

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        """Whether a method of this name exists."""
        return name in self.names()

    def module(self, name: str) -> ModuleType:
        """The module that defines `name`. Raises UnknownName."""
        loaded = sys.modules.get(f"{self.package}.{name}")
        if loaded is not None and name.isidentifier() and not name.startswith("_"):
            return loaded  # the folder need not be listed again: bounds are taken thousands of times
        if name not in self:
            if self.refuse is not None:
                self.refuse(name)
            raise UnknownName.of(self.noun, name, self)
        return importlib.import_module(f"{self.package}.{name}")

    def __getitem__(self, name: str) -> Callable[..., Any]:
        """The function `name` in file `name.py`. Raises UnknownName."""
        function: Callable[..., Any] = getattr(self.module(name), name)
        return function

    def find(self, name: str) -> Callable[..., Any]:
        """The function that a study file or a command line means: a name in the folder, or "package.module:callable".

        Raises:
            UnknownName: a plain name that the folder does not have.
            BadInput: "module:callable" that cannot be imported, whatever its module raises, or is not callable.
        """
        if ":" not in name:
            return self[name]
        module_name, _, attribute = name.partition(":")
        try:
            function = getattr(importlib.import_module(module_name), attribute)
        except (Exception, SystemExit) as error:
            raise BadInput(
                f"{self.noun} {name!r} could not be imported ({reason(error)}); write package.module:callable"
            ) from error
        if not callable(function):
            raise BadInput(f"{self.noun} {name!r} must be callable; it is a {type(function).__name__}")
        return function  # type: ignore[no-any-return]

    def call(self, name: str, *arguments: object, **options: object) -> Any:  # noqa: ANN401 (what the method returns)
        """Call a method by name; what it raises, or ends the program with, becomes one line that says whose it is.

        Raises:
            PrudentError: as `find`, what the method refuses itself, and BadInput if it fails: most often because of
                options that are of the wrong kind.
        """
        function = self.find(name)
        try:
            return function(*arguments, **options)
        except PrudentError:
            raise
        except (Exception, SystemExit) as error:
            kinds = (str, int, float, list, tuple, dict)
            plain = {key: value for key, value in options.items() if isinstance(value, kinds)}
            given = f" with options {plain}" if plain else ""
            raise BadInput(f"{self.noun} {name!r}{given} failed: {reason(error)}") from error

    def constant(self, name: str, constant: str) -> Any:  # noqa: ANN401 (what the file says)
        """A constant at the top of a method's file, such as NEEDS, read without importing it; None if it has none."""
        for node in ast.parse((self.folder / f"{name}.py").read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and [t.id for t in node.targets if isinstance(t, ast.Name)] == [constant]:
                return ast.literal_eval(node.value)
        return None

    def summary(self, name: str) -> tuple[str, str]:
        """First sentence and source line of a method's docstring, read without importing it: ("...", "Author year")."""
        tree = ast.parse((self.folder / f"{name}.py").read_text(encoding="utf-8"))
        function = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name)
        text = ast.get_docstring(function) or ""
        source = text.partition("Source:")[2].strip().split("\n\n")[0]
        return text.split("\n")[0], " ".join(source.split())


def check_options(
    function: Callable[..., Any], options: dict[str, object], *, noun: str, given: tuple[str, ...] = ()
) -> None:
    """Refuse options that `function` does not take, before any work.

    Args:
        function: a method; its keyword parameters are its options.
        options: what the study file or the command line gives.
        noun: how messages call the method ("model 'mlp'").
        given: parameters that prudent itself fills in, and that are therefore no options.

    Raises:
        UnknownName: an option that the method does not have.
        BadInput: a callable that does not say which parameters it has.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError) as error:
        raise BadInput(f"{noun} does not say which parameters it has ({error}): wrap it in a function") from error
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    known = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD) and p.name not in given]
    for name in options:
        if name not in known:
            raise UnknownName.of(f"option of {noun}", name, known)
