"""The store: whole or absent, written once, damage found and mended."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from prudent.errors import BadInput, DamagedStore, PrudentError
from prudent.files import read_file, write_whole
from prudent.store import Store, _seal

KEY = "ab" + "0" * 62
RECORD = {"kind": "k", "values": {"sparsity": 0.5}, "seconds": 0.5, "environment": {}}


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


def commit(store, key=KEY, content=b"bytes", **record):
    return store.commit(key, RECORD | record, {"out": content})


def object_of(store, key=KEY, name="out"):
    digest = store.record(key)["outputs"][name]["sha256"]
    return os.path.join(store.location, "objects", digest[:2], digest)


def record_file(store, key=KEY):
    return os.path.join(store.location, "cells", key[:2], f"{key}.json")


def test_what_is_committed_is_there(store):
    assert store.record(KEY) is None
    assert commit(store, seconds=1.5)
    record = store.record(KEY)
    assert record["seconds"] == 1.5
    assert record["outputs"]["out"]["bytes"] == 5
    assert store.read(KEY, "out") == b"bytes"


def test_the_first_commit_stays(store):
    assert commit(store, content=b"first")
    assert not commit(store, content=b"second")
    assert store.read(KEY, "out") == b"first"


def test_of_many_racing_commits_one_wins(store):
    commit(store, key="cd" + "0" * 62)  # the store exists
    wins = []
    barrier = threading.Barrier(8)

    def race(i):
        barrier.wait()
        wins.append(commit(store, content=f"by {i}".encode()))

    threads = [threading.Thread(target=race, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(wins) == 1


def test_equal_outputs_are_kept_once(store):
    commit(store)
    commit(store, key="cd" + "0" * 62)
    assert object_of(store) == object_of(store, "cd" + "0" * 62)


@pytest.mark.parametrize("damage", ["truncate", "empty", "delete"])
def test_a_cell_with_an_object_of_the_wrong_size_is_not_finished(store, damage):
    commit(store)
    path = object_of(store)
    if damage == "delete":
        os.remove(path)
    else:
        with open(path, "wb") as file:
            file.write(b"byt" if damage == "truncate" else b"")
    assert store.record(KEY) is None
    assert not os.path.exists(record_file(store)), "the record must go, or the cell could never be committed again"
    assert commit(store)
    assert store.read(KEY, "out") == b"bytes"


def test_a_flipped_bit_is_found_when_read_and_mended_by_computing_again(store):
    commit(store)
    with open(object_of(store), "r+b") as file:
        file.write(b"B")
    with pytest.raises(DamagedStore, match="was damaged"):
        store.read(KEY, "out")
    assert store.record(KEY) is None
    assert commit(store)
    assert store.read(KEY, "out") == b"bytes"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"outputs": 3}', '{"kind": "k"}'])
def test_a_damaged_record_is_dropped(store, text):
    commit(store)
    with open(record_file(store), "w") as file:
        file.write(text)
    assert store.record(KEY) is None
    assert commit(store)


def edit(store, key=KEY, *, seal=False, **change):
    with open(record_file(store, key)) as file:
        record = json.load(file) | change
    for name in [name for name, value in change.items() if value is None]:
        del record[name]
    if seal:
        record["sha256"] = _seal(record)
    with open(record_file(store, key), "w") as file:
        json.dump(record, file)


@pytest.mark.parametrize(
    "change",
    [{"values": {"sparsity": 0.99}}, {"outputs": {}}, {"seconds": 0.0}, {"sha256": "0" * 64}, {"sha256": None}],
)
def test_an_edited_record_is_dropped(store, change):
    commit(store)
    edit(store, **change)
    assert store.record(KEY) is None
    assert commit(store)
    assert store.record(KEY)["values"] == {"sparsity": 0.5}


@pytest.mark.parametrize("field", ["values", "seconds", "environment", "kind", "outputs"])
def test_a_record_without_what_is_needed_is_none(store, field):
    commit(store)
    edit(store, seal=True, **{field: None})
    assert store.record(KEY) is None
    with pytest.raises(BadInput, match="needs kind, values, seconds, environment; it has no 'values'"):
        store.commit(KEY, {"kind": "k", "seconds": 1.0, "environment": {}}, {})


def test_the_record_of_another_cell_is_none(store):
    other = "cd" + "0" * 62
    commit(store)
    commit(store, key=other, values={"sparsity": 0.9})
    os.replace(record_file(store, other), record_file(store))
    assert store.record(KEY) is None


def test_numbers_that_are_none_and_keys_that_are_numbers_are_sealed_alike(store):
    commit(store, values={"loss": float("nan"), "sizes": {10: 1, 9: (2,)}})
    assert store.record(KEY)["values"]["sizes"] == {"9": [2], "10": 1}


@pytest.mark.parametrize("damage", ["delete", "flip", "truncate"])
def test_with_a_record_at_hand_nothing_else_is_asked_for_and_damage_is_found(store, damage):
    store.commit(KEY, RECORD, {"out": b"bytes", "other": b"more"})
    record = store.record(KEY)
    paths = {name: Path(object_of(store, name=name)) for name in ("out", "other")}
    paths["other"].unlink()
    assert store.read(KEY, "out", record=record) == b"bytes", "what is not asked for may be lost"
    if damage == "delete":
        paths["out"].unlink()
    else:
        paths["out"].write_bytes(b"Bytes" if damage == "flip" else b"byt")
    with pytest.raises(DamagedStore, match="output 'out' of cell .* was damaged"):
        store.read(KEY, "out", record=record)
    assert store.record(KEY) is None


def test_a_missing_output_is_told_and_made_again(store):
    commit(store)
    with pytest.raises(DamagedStore, match="no whole output 'other'"):
        store.read(KEY, "other")
    assert store.record(KEY) is None, "or the same call would fail for ever"


@pytest.mark.parametrize("text", ["[]", "{}", "nonsense", "3"])
def test_a_format_that_is_none_is_refused(store, text):
    commit(store)
    with open(os.path.join(store.location, "FORMAT"), "w") as file:
        file.write(text)
    with pytest.raises(BadInput, match="the FORMAT file of the store .* is none that prudent wrote"):
        Store(store.location).record(KEY)


def test_a_newer_format_is_refused(store):
    commit(store)
    with open(os.path.join(store.location, "FORMAT"), "w") as file:
        json.dump({"schema": 99}, file)
    with pytest.raises(BadInput, match="format 99"):
        Store(store.location).record(KEY)


def test_a_place_that_cannot_be_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(PrudentError, match="cannot be used"):
        Store(str(tmp_path / "file")).record(KEY)


def test_killed_in_the_middle_of_writing(tmp_path):
    """Kill -9 a process that commits without pause: whatever is visible afterwards is whole."""
    code = f"""
import itertools, os
from prudent.store import Store
store = Store({str(tmp_path / "store")!r})
print("go", flush=True)
for i in itertools.count():
    store.commit(f"{{i:064x}}", {RECORD}, {{"out": os.urandom(200_000)}})
"""
    for delay in (0.05, 0.1, 0.15):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        process.stdout.readline()
        threading.Event().wait(delay)
        process.kill()
        process.wait()
        process.stdout.close()
    store = Store(str(tmp_path / "store"))
    records = [
        name.removesuffix(".json")
        for _, _, names in os.walk(tmp_path / "store" / "cells")
        for name in names
        if name.endswith(".json")
    ]
    assert records
    for key in records:
        assert len(store.read(key, "out")) == 200_000


def test_files_appear_whole_or_not_at_all(tmp_path, monkeypatch):
    path = write_whole(tmp_path / "a" / "b.txt", "one")
    assert read_file(path) == b"one"
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(PrudentError, match="No space left"):
        write_whole(path, "two")
    assert path.read_text() == "one"
    assert [p.name for p in path.parent.iterdir()] == ["b.txt"], "nothing is left behind"
    with pytest.raises(PrudentError, match="cannot read"):
        read_file(tmp_path / "absent")


def test_other_claims_on_the_same_examples_are_counted(tmp_path):
    store = Store(str(tmp_path))
    assert store.declare("e" * 64, {"alpha": 0.05}) == 0
    assert store.declare("e" * 64, {"alpha": 0.05}) == 0, "the same claim again is no other one"
    assert store.declare("e" * 64, {"alpha": 0.03}) == 1
    assert Store(str(tmp_path)).declare("e" * 64, {"alpha": 0.05}) == 1, "later ones count, too"
    assert store.declare("f" * 64, {"alpha": 0.01}) == 0
