"""How far a study is, on a terminal or in a log."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from prudent.scheduling import Progress

EVERY = 15.0
"""Seconds between two lines where there is no terminal."""


@runtime_checkable
class Show(Protocol):
    """Something that is told how far a run is."""

    def __call__(self, progress: Progress) -> None:
        """Show it."""


@contextmanager
def showing() -> Iterator[Show]:
    """A live bar on a terminal, a line every 15 seconds elsewhere; always on standard error."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[noun]},"),
        TimeElapsedColumn(),
        TextColumn("elapsed, {task.fields[left]}"),
    )
    task = bar.add_task("prudent", total=None, left="loading", noun="cells")
    with Live(bar, console=Console(stderr=True), refresh_per_second=8, transient=True):

        def show(progress: Progress) -> None:
            bar.update(
                task,
                total=progress.total,
                completed=progress.done,
                description=_short(progress),
                left=left(progress.remaining),
                noun=progress.noun,
            )

        yield show


class _Lines:
    def __init__(self) -> None:
        self.start = time.monotonic()
        self.last = self.start

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self.last < EVERY and progress.done < progress.total:
            return
        self.last = now
        elapsed, to_go = clock(now - self.start), left(progress.remaining)
        count = f"{progress.done} of {progress.total} {progress.noun}"
        print(f"prudent: {count}, {elapsed} elapsed, {to_go}", file=sys.stderr, flush=True)


def left(seconds: float | None) -> str:
    """The time to go, in words: "about 1:25 left"."""
    return "time left unknown" if seconds is None else f"about {clock(seconds)} left"


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _short(progress: Progress) -> str:
    return progress.running[0] if progress.running else "prudent"
