"""Everything that prudent refuses to do, as one small tree.

    PrudentError                  what a caller catches; its text is one line: what is required, what came, what to do
      +-- BadInput                a value, shape or file that the called function cannot honestly work with
      |     +-- UnknownName       a name that a catalogue or a study file does not know; names the nearest
      |     +-- SplitMisuse       examples of one split used for another split's purpose
      +-- CannotPrune             the network or the mask does not allow what was asked; nothing was changed
      +-- BrokenCertificate       a certificate that its own losses do not support, or that was edited
      +-- DamagedStore            bytes in the store that are not what their name says; the record was dropped
      +-- CellFailed              part of a study could not be computed; everything finished is kept

"Nothing could be certified" is a result, not an error: `Certificate.selected` is None.
"""

import difflib
from collections.abc import Iterable


def reason(error: BaseException) -> str:
    """What somebody else's exception says, on one line: its class and the first line of its text."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


class PrudentError(Exception):
    """Base of every deliberate refusal. The command line prints its text and exits with 2."""


class BadInput(PrudentError, ValueError):
    """A value that the called function cannot honestly work with."""


class UnknownName(BadInput):
    """A name that is not in the list of known ones."""

    @classmethod
    def of(cls, noun: str, name: str, known: Iterable[str]) -> "UnknownName":
        """Say which `noun` (for example "score") has no `name`, with the nearest known name and the whole list."""
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        guess = f"Did you mean {near[0]!r}? " if near else ""
        return cls(f"no {noun} named {name!r}. {guess}Known: {', '.join(names)}")


class SplitMisuse(BadInput):
    """Examples of one split used for what another split is there for."""


class CannotPrune(PrudentError):
    """The network or the mask does not allow what was asked. Nothing was changed."""


class BrokenCertificate(PrudentError):
    """A certificate that was edited, or that the losses stored with it do not support."""


class DamagedStore(PrudentError):
    """Stored bytes that do not have the hash they are filed under. The record that named them was dropped."""


class CellFailed(PrudentError):
    """Part of a study could not be computed. Everything that was finished is kept."""
