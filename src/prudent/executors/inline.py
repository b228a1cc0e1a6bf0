"""Cells one after the other, in this process."""

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from prudent.execution import execute
from prudent.keys import Cell


@dataclass
class _Inline:
    workers: int
    threads: int

    def submit(self, location: str, cell: Cell) -> "Future[dict[str, Any]]":
        import torch

        future: Future[dict[str, Any]] = Future()
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            future.set_result(execute(location, cell))
        except Exception as error:  # noqa: BLE001 (a future carries whatever the cell raised)
            future.set_exception(error)
        finally:
            torch.set_num_threads(before)
        return future

    def stop(self) -> None:
        pass


def inline(workers: int = 1, threads: int = 1) -> _Inline:  # noqa: ARG001 (one process is one worker)
    """Compute each cell in this process as it is submitted: for debuggers and tests.

    Args:
        workers: not used, there is one.
        threads: threads of torch while a cell is computed.
    """
    return _Inline(1, threads)
