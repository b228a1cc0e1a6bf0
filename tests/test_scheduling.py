"""The scheduler against an executor that does what it is told."""

from concurrent.futures import Future

import pytest

from prudent.errors import CellFailed, DamagedStore
from prudent.executors import EXECUTORS, Executor, WorkerDied
from prudent.keys import Cell
from prudent.scheduling import run_cells
from prudent.store import Store

RECORD = {"values": {}, "seconds": 1.0, "environment": {}}


def cell(name, *needs, alone=False):
    return Cell(
        kind=name.split("-")[0], options={"name": name}, inputs={n.label: n.key for n in needs}, data=(), code="c",
        label=name, alone=alone,
    )  # fmt: skip


class Scripted:
    """Commits each cell at once; `script` maps a label to the errors that it raises first."""

    def __init__(self, store, workers=2, script=None):
        self.store, self.workers, self.script = store, workers, script or {}
        self.started, self.waiting, self.together = [], [], []

    def submit(self, location, cell):
        future = Future()
        self.started.append(cell.label)
        errors = self.script.get(cell.label, [])
        if errors:
            future.set_exception(errors.pop(0))
            return future
        if any(self.store.record(key) is None for key in cell.inputs.values()):
            future.set_exception(DamagedStore("an input is not finished"))
            return future
        self.store.commit(cell.key, RECORD | {"kind": cell.kind}, {"out": cell.label.encode()})
        future.set_result(self.store.record(cell.key))
        return future

    def stop(self):
        pass


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path))


def diamond():
    a = cell("dense-a")
    b, c = cell("pruned-b", a), cell("pruned-c", a)
    return [a, b, c, cell("pruned-d", b, c)]


def test_inputs_come_first_and_everything_is_computed_once(store):
    cells = diamond()
    executor = Scripted(store)
    records = run_cells(cells, store, executor)
    assert set(records) == {c.key for c in cells}
    assert sorted(executor.started) == sorted(c.label for c in cells)
    assert (executor.started[0], executor.started[-1]) == ("dense-a", "pruned-d")


def test_what_is_finished_is_not_started_again(store):
    cells = diamond()
    run_cells(cells[:2], store, Scripted(store))
    executor = Scripted(store)
    run_cells(cells, store, executor)
    assert executor.started == ["pruned-c", "pruned-d"]
    executor = Scripted(store)
    run_cells(cells, store, executor)
    assert executor.started == []


def test_a_failure_blocks_only_what_needs_it(store):
    a, b, c, d = diamond()
    e = cell("pruned-e", d)
    executor = Scripted(store, script={"pruned-b": [ValueError("no luck\nat all")]})
    with pytest.raises(
        CellFailed, match=r"'pruned-b' failed: ValueError: no luck, 2 could not start without them; 2 of 5"
    ):
        run_cells([a, b, c, d, e], store, executor)
    assert executor.started == ["dense-a", "pruned-b", "pruned-c"]
    assert store.record(c.key) is not None


def test_a_cell_whose_process_dies_is_started_again(store):
    executor = Scripted(store, script={"pruned-b": [WorkerDied("gone"), WorkerDied("gone")]})
    run_cells(diamond(), store, executor)
    assert executor.started.count("pruned-b") == 3


def test_but_not_for_ever(store):
    executor = Scripted(store, script={"pruned-b": [WorkerDied("gone")] * 9})
    with pytest.raises(CellFailed, match="WorkerDied: gone"):
        run_cells(diamond(), store, executor)
    assert executor.started.count("pruned-b") == 3


def test_a_damaged_input_is_made_again(store):
    a, b, c, d = diamond()
    run_cells([a], store, Scripted(store))

    class Spoiling(Scripted):
        def submit(self, location, cell):
            if cell.label == "pruned-b" and "pruned-b" not in self.started:
                store._drop(a.key)  # what Store.read does when it finds damage
                self.script["pruned-b"] = [DamagedStore("a is damaged")]
            return super().submit(location, cell)

    executor = Spoiling(store)
    run_cells([a, b, c, d], store, executor)
    assert executor.started.count("dense-a") == 1, "made again, once"
    assert executor.started.count("pruned-b") == 2


def test_cells_that_must_be_alone_are(store):
    first = [cell(f"dense-{i}") for i in range(4)]
    timings = [cell(f"latency-{i}", f, alone=True) for i, f in enumerate(first)]
    executor = Slow(store, workers=2)
    run_cells([*first, *timings], store, executor, poll=0.01)
    executor.stop()
    assert len(executor.together) == 8
    for group in executor.together:
        assert len(group) == 1 or not any(label.startswith("latency") for label in group)
    assert any(len(group) == 2 for group in executor.together), "the others do run side by side"


class Slow(Scripted):
    """Finishes each cell a little later, on another thread, and notes who ran together."""

    def submit(self, location, cell):
        import threading

        future = Future()
        self.waiting.append(cell.label)
        self.together.append(list(self.waiting))

        def finish():
            self.store.commit(cell.key, RECORD | {"kind": cell.kind}, {})
            self.waiting.remove(cell.label)
            future.set_result(self.store.record(cell.key))

        threading.Timer(0.03, finish).start()
        return future


def test_never_more_than_the_workers(store):
    executor = Slow(store, workers=3)
    run_cells([cell(f"dense-{i}") for i in range(7)], store, executor, poll=0.01)
    assert max(len(group) for group in executor.together) == 3


def test_progress_is_told(store):
    told = []
    run_cells(diamond(), store, Scripted(store, workers=1), on_progress=told.append)
    assert [p.done for p in told] == sorted(p.done for p in told)
    assert (told[0].done, told[-1].done, told[-1].total) == (0, 4, 4)
    assert told[0].remaining is None
    assert told[-1].remaining == 0
    assert "dense-a" in told[0].running


@pytest.mark.parametrize("name", list(EXECUTORS))
def test_every_executor_keeps_the_contract(name):
    executor = EXECUTORS[name](1, 1)
    try:
        assert isinstance(executor, Executor)
        assert executor.workers == 1
    finally:
        executor.stop()
