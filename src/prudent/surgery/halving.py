"""Which parts of a change go well together, in few attempts: without those that are suspected, and else by halving."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from prudent.errors import CannotPrune

Attempt = Callable[[list[str]], None]
"""Tries some parts together, in the order of all parts. Raises CannotPrune if they do not go well."""
Suspects = Callable[[list[str]], Mapping[str, str]]
"""Of parts that do not go well together, those that may be why -> a word on it. It may name none, all or wrong ones."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Search:
    parts: Sequence[str]
    attempt: Attempt
    suspects: Suspects
    limit: int
    tried: list[int] = field(default_factory=list)
    fine: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)

    def together(self, these: Sequence[str]) -> list[str]:
        """These parts and the fine ones, in the order of all parts."""
        return [one for one in self.parts if one in self.fine or one in these]


class _Undecided(CannotPrune):
    """There is no attempt left."""


def parts_to_refuse(
    parts: Sequence[str], error: CannotPrune, attempt: Attempt, *, suspects: Suspects, limit: int
) -> dict[str, str]:
    """Which parts must be left out, so that all others go well together.

    What goes well stays in, and each attempt adds to it, so that the last one that went well was of all that is not
    refused. Parts that nothing is said against are tried first, or the first half. If they go well, it is known that
    the others do not. So k wrong ones among n parts take at most about 2 k log2(2 n / k) attempts, and 2 k if just they
    are suspected.

    Args:
        parts: names; at least one.
        error: of an attempt with all of them, which was made before and is not counted.
        attempt: says whether parts go well together. What goes well does so without some of it, too.
        suspects: says where to look first.
        limit: of attempts; what is undecided then is refused.

    Returns: part -> why it is refused. Where that is all parts, no attempt went well.

    Source: Hwang 1972, "A Method for Detecting All Defective Members in a Population by Group Testing" (arXiv: none);
    the groups differ: halves, or those suspected, and what is fine is in each later test.
    """
    search = _Search(parts=parts, attempt=attempt, suspects=suspects, limit=limit)
    _divide(search, list(parts), error)
    return {one: search.refused[one] for one in parts if one in search.refused}


def _divide(search: _Search, these: list[str], error: CannotPrune) -> None:
    """Decide about parts that do not go well with the fine ones, in place."""
    if len(these) == 1 or isinstance(error, _Undecided):
        for one in these:
            word = search.words.get(one)
            search.refused[one] = f"{error} ({word})" if word else str(error)
        return
    known = len(search.tried) == search.limit or all(one in search.words for one in these)
    said = {} if known else search.suspects(search.together(these))
    search.words.update(said)
    first = [one for one in these if one not in said]
    if len(first) in (0, len(these)):
        first = these[: len(these) // 2]
    second = [one for one in these if one not in first]
    wrong = _wrong(search, first)
    if wrong is not None:
        _divide(search, first, wrong)
    wrong = error if wrong is None else _wrong(search, second)
    if wrong is not None:
        _divide(search, second, wrong)


def _wrong(search: _Search, these: list[str]) -> CannotPrune | None:
    """Why these parts do not go well with the fine ones; None, and they are fine, if they do."""
    if len(search.tried) == search.limit:
        return _Undecided(f"not proved within {search.limit} attempts to find out which layers cannot be cut")
    together = search.together(these)
    search.tried.append(len(together))
    try:
        search.attempt(together)
    except CannotPrune as error:
        return error
    search.fine[:] = together
    return None
