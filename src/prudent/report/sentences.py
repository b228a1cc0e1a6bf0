"""Sentences with values from a run in them, which are escaped by `Markup.format`."""

from collections.abc import Sequence

from markupsafe import Markup


def say(sentence: str, *values: object) -> Markup:
    """A sentence of prudent with values from a run in it, which are escaped."""
    return Markup(sentence).format(*values)  # noqa: S704 (only sentences of prudent come in)


def join(parts: Sequence[Markup], between: str = " ") -> Markup:
    """Parts, which are escaped already, as one text."""
    return Markup(between).join(parts)  # noqa: S704 (as above)
