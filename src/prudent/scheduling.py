"""Run the cells of a graph that are not finished, as soon as what they need is."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from prudent.errors import CellFailed, DamagedStore, reason
from prudent.executors import Executor, WorkerDied
from prudent.keys import Cell
from prudent.store import Store

EFFORT = {
    "dense": 1.0, "given": 0.1, "pruned": 1.0, "predictions": 0.1, "latency": 0.1, "shifted": 1.0, "strangers": 0.5,
    "attacked": 0.5, "aligned": 0.2,
}  # fmt: skip
"""Seconds of a kind of cell relative to training a network, as a guess until the first of its kind is finished."""

TRIES = 3
"""How often a cell is started again after its process was killed or an input of it turned out damaged."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands.

    Args:
        total: cells of the graph.
        done: finished ones, of earlier runs included.
        running: labels of what is computed now.
        remaining: estimated seconds to go, None while nothing is known.
        noun: what is counted; after the cells a study with a suite counts "networks measured".
    """

    total: int
    done: int
    running: tuple[str, ...]
    remaining: float | None
    noun: str = "cells"


@dataclass
class _Run:
    """What a run knows; changed by `run_cells` alone."""

    cells: Mapping[str, Cell]
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    running: dict[Future[dict[str, Any]], str] = field(default_factory=dict)
    failed: dict[str, Exception] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)

    def ready(self) -> list[Cell]:
        """Cells that could start now, those that others wait for first."""
        busy = {*self.records, *self.running.values(), *self.failed}
        return [c for k, c in self.cells.items() if k not in busy and all(i in self.records for i in c.inputs.values())]

    def remaining(self, workers: int) -> float | None:
        """Seconds to go, from the measured seconds of finished cells of the same kind."""
        measured: dict[str, list[float]] = {}
        for record in self.records.values():
            measured.setdefault(record["kind"], []).append(record["seconds"])
        if not measured:
            return None
        means = {kind: fmean(seconds) for kind, seconds in measured.items()}
        scale = fmean(mean / EFFORT.get(kind, 1.0) for kind, mean in means.items())
        left = (cell for key, cell in self.cells.items() if key not in self.records)
        return sum(
            means.get(cell.kind, scale * EFFORT.get(cell.kind, 1.0)) / (1 if cell.alone else workers) for cell in left
        )


def run_cells(
    cells: Sequence[Cell],
    store: Store,
    executor: Executor,
    *,
    on_progress: Callable[[Progress], None] = lambda _: None,
    poll: float = 0.5,
) -> dict[str, dict[str, Any]]:
    """Compute every cell that has no record yet.

    A cell whose process is killed is started again, up to three times; one that raises is not, what needs it is left
    out, and everything else goes on. Nothing that was finished is ever computed again.

    Args:
        cells: a graph; inputs before what needs them.
        store: where finished cells are.
        executor: computes them.
        on_progress: told about every change, and every `poll` seconds.
        poll: seconds.

    Returns: key -> record, for all cells.

    Raises:
        CellFailed: some cells could not be computed; names the first and counts the rest.
        KeyboardInterrupt: after what was running has been given up.
    """
    run = _Run(cells={cell.key: cell for cell in cells})
    _look(run, store)
    while True:
        _start(run, store, executor)
        on_progress(
            Progress(
                total=len(run.cells),
                done=len(run.records),
                running=tuple(run.cells[key].label for key in run.running.values()),
                remaining=run.remaining(executor.workers),
            )
        )
        if not run.running:
            break
        done, _ = wait(list(run.running), timeout=poll, return_when=FIRST_COMPLETED)
        for future in done:
            _finish(run, store, future)
    if run.failed:
        _refuse(run)
    return run.records


def _look(run: _Run, store: Store) -> None:
    """Ask the store which cells are finished."""
    for key in run.cells:
        record = store.record(key)
        if record is not None:
            run.records[key] = record
        else:
            run.records.pop(key, None)


def _start(run: _Run, store: Store, executor: Executor) -> None:
    for cell in run.ready():
        if len(run.running) >= executor.workers or _alone(run):
            return
        if cell.alone and run.running:
            continue
        run.running[executor.submit(store.location, cell)] = cell.key
        if cell.alone:
            return


def _alone(run: _Run) -> bool:
    return any(run.cells[key].alone for key in run.running.values())


def _finish(run: _Run, store: Store, future: Future[dict[str, Any]]) -> None:
    key = run.running.pop(future)
    error = future.exception()
    if error is None:
        run.records[key] = future.result()
        return
    run.tries[key] = run.tries.get(key, 0) + 1
    if isinstance(error, (WorkerDied, DamagedStore)) and run.tries[key] < TRIES:
        if isinstance(error, DamagedStore):
            _look(run, store)  # the record of what was damaged is gone, so it is computed again
        return
    run.failed[key] = error if isinstance(error, Exception) else RuntimeError(str(error))


def _refuse(run: _Run) -> None:
    key, error = next(iter(run.failed.items()))
    blocked = len(run.cells) - len(run.records) - len(run.failed)
    others = f", {len(run.failed) - 1} more failed" if len(run.failed) > 1 else ""
    waiting = f", {blocked} could not start without them" if blocked else ""
    raise CellFailed(
        f"{run.cells[key].label!r} failed: {reason(error)}{others}{waiting}; "
        f"{len(run.records)} of {len(run.cells)} cells are finished and kept: mend the cause and run again"
    ) from error
