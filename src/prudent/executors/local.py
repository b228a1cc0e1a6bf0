"""Cells in processes of this machine."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from types import ModuleType
from typing import Any

from pebble import ProcessExpired, ProcessPool

from prudent.executors import WorkerDied
from prudent.keys import Cell

PRELOADED = ("prudent.execution", "prudent.cells.dense", "prudent.cells.pruned", "prudent.cells.predictions")

# one clean server process imports torch once and forks workers in milliseconds
_FAMILY: Any = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
_starting = threading.Lock()


class _Process(_FAMILY.Process):  # type: ignore[misc]
    """A process that does not run the caller's script again.

    Python's own would import the main module first, so that a script which calls `prudent.study` outside of
    `if __name__ == "__main__"` would start a study in every worker, and one from standard input none at all. Cells are
    named by the modules that they come from; nothing of them is in the main one.
    """

    def start(self) -> None:
        with _starting, _no_main_module():
            super().start()


class _Context(type(_FAMILY)):  # type: ignore[misc]
    Process = _Process


class _Local:
    """A pool of processes in which a dead worker costs its own cell only."""

    def __init__(self, workers: int, threads: int) -> None:
        self.workers = workers
        # a spinning OpenMP thread would steal the core of the neighbouring process
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        self._pool = ProcessPool(
            max_workers=workers, initializer=_start_worker, initargs=(threads,), context=_context()
        )

    def submit(self, location: str, cell: Cell) -> "Future[dict[str, Any]]":
        inner = self._pool.schedule(_execute, args=(location, cell))
        outer: Future[dict[str, Any]] = Future()

        def hand_over(done: "Future[dict[str, Any]]") -> None:
            error = done.exception()
            if isinstance(error, ProcessExpired):
                outer.set_exception(WorkerDied(f"the process that computed {cell.label!r} was killed ({error})"))
            elif error is not None:
                outer.set_exception(error)
            else:
                outer.set_result(done.result())

        inner.add_done_callback(hand_over)
        return outer

    def stop(self) -> None:
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()


def local(workers: int, threads: int = 1) -> _Local:
    """Compute cells in `workers` processes, each with `threads` threads.

    Workers ignore Ctrl-C, which is the runner's business, and end by themselves when the runner is gone, however it
    went.

    Args:
        workers: processes at the same time.
        threads: threads of torch in each. Results depend on this number in the last digits.
    """
    return _Local(workers, threads)


def _context() -> Any:  # noqa: ANN401 (the contexts have no common public type)
    context = _Context()
    if sys.platform != "win32":
        context.set_forkserver_preload(list(PRELOADED))
    return context


@contextlib.contextmanager
def _no_main_module() -> Iterator[None]:
    """An empty main module, for the moment in which multiprocessing notes what a child shall import."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _execute(location: str, cell: Cell) -> dict[str, Any]:
    from prudent.execution import execute

    return execute(location, cell)


def _start_worker(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    import torch

    torch.set_num_threads(threads)
    with contextlib.suppress(RuntimeError):
        torch.set_num_interop_threads(1)


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
