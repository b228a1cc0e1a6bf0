"""Where cells are computed. One file is one: file `x.py` defines `x(workers, threads) -> Executor`."""

from concurrent.futures import Future
from typing import Any, Protocol, runtime_checkable

from prudent.catalogue import Catalogue
from prudent.keys import Cell

EXECUTORS = Catalogue("prudent.executors", "executor")


@runtime_checkable
class Executor(Protocol):
    """Takes cells and computes them somewhere; knows nothing of graphs."""

    workers: int

    def submit(self, location: str, cell: Cell) -> Future[dict[str, Any]]:
        """Compute a cell and commit it to the store at `location`; the future holds its record.

        It fails with WorkerDied if the process that computed it was killed.
        """

    def stop(self) -> None:
        """Give up what is running and free everything."""


class WorkerDied(Exception):
    """The process that computed a cell is gone; the cell itself may be innocent."""
