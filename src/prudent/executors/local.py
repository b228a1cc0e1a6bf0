"""Cells in processes of this machine."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from concurrent.futures import Future
from typing import Any

from pebble import ProcessExpired, ProcessPool

from prudent.executors import WorkerDied
from prudent.keys import Cell

PRELOADED = ("prudent.execution", "prudent.cells.dense", "prudent.cells.pruned", "prudent.cells.predictions")


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
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    # one clean server process imports torch once and forks workers in milliseconds
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


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
