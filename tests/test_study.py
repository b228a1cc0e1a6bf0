"""A whole small study on real data: what it finds, that it agrees with the library by hand, and that it survives."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import prudent
from prudent.archive import predictions_from_bytes
from prudent.building import build
from prudent.certificates import verify
from prudent.identity import identity
from prudent.masks import select
from prudent.network import fingerprint, macs
from prudent.networks import load
from prudent.parsing import read
from prudent.scores.random import random
from prudent.sources import load_data
from prudent.studies import study

SMALL = Path(__file__).parent / "small.toml"
CELLS = 2 * (1 + 9) * 3


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return study(SMALL, out=tmp_path_factory.mktemp("runs"), executor="inline")


@pytest.fixture(scope="module")
def results(run):
    return json.loads((run / "results.json").read_text())


def network(results, method, sparsity, seed=0):
    return next(n for n in results["networks"] if (n["method"], n["requested"], n["seed"]) == (method, sparsity, seed))


def test_everything_is_there(run, results):
    assert run.name == read(SMALL).id
    assert (run / "report.html").stat().st_size > 0
    assert len(results["networks"]) == 20
    assert len(results["certificates"]) == 3 * 2 * 2
    assert json.loads((run / "study.json").read_text()) == results["study"]
    assert results["data"]["splits"] == {"train": 1507, "validation": 40, "certification": 150, "test": 100}
    assert results["data"]["ood"]["n"] == 60
    assert not list(run.rglob(".*")), "no temporary files are left"
    n = results["data"]["splits"]["certification"]
    nothing = dict.fromkeys(("train", "validation", "test", "within", "spoiled"), 0)
    assert results["data"]["leaks"] == {"n": n, **nothing}


def test_every_certificate_verifies_and_follows_from_its_networks(run, results):
    data = load_data("digits", results["study"]["data"]["options"])
    for one in results["certificates"]:
        certificate = verify(run / one["file"])
        assert certificate.sentence() == one["claim"]
        assert certificate.data == data.certification.fingerprint
        folders = [
            network(results, one["method"], s, one["seed"])["folder"]
            for s in next(m for m in results["study"]["methods"] if m["name"] == one["method"])["sparsities"]
        ]
        assert list(certificate.models) == [identity(load(run / f).model) for f in folders]


def test_the_same_certificate_by_hand(run, results):
    data = load_data("digits", results["study"]["data"]["options"])
    held = data.certification.batches()
    networks = [load(run / network(results, "magnitude", s, 1)["folder"]) for s in (0.5, 0.8, 0.95)]
    dense = prudent.predict(load(run / network(results, "", 0.0, 1)["folder"]), held)
    table = prudent.losses(
        [prudent.predict(n.model, held) for n in networks], dense=dense, loss="disagreement",
        sparsities=[n.sparsity for n in networks],
    )  # fmt: skip
    certificate = prudent.certify(table, alpha=0.4, delta=0.1)
    written = verify(run / "certificates/magnitude-disagreement-seed1.json")
    assert certificate.counts == written.counts
    assert certificate.selected == written.selected


def test_metrics_by_hand(run, results):
    data = load_data("digits", results["study"]["data"]["options"])
    entry = network(results, "channels", 0.5)
    model = load(run / entry["folder"]).model
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(data.test.inputs)).numpy()
    assert entry["metrics"]["error"]["value"] == pytest.approx((logits.argmax(1) != data.test.labels).mean())
    assert sum(entry["reliability"]["counts"]) == 100
    assert sum(entry["ood_decisions"]) == 60
    assert entry["macs"] == macs(model, torch.from_numpy(data.test.inputs[:1]))
    assert entry["parameters"] == sum(p.numel() for p in model.parameters())
    assert entry["bytes"] == sum(p.stat().st_size for p in (run / entry["folder"]).iterdir())


def test_the_methods_do_what_they_say(run, results):
    data = load_data("digits", results["study"]["data"]["options"])
    masks = {s: load(run / network(results, "magnitude", s)["folder"]).mask for s in (0.5, 0.8, 0.95)}
    controls = {s: load(run / network(results, "random", s)["folder"]).mask for s in (0.5, 0.8, 0.95)}
    model = build("small_cnn", data.shape, 10, seed=0, options=results["study"]["model"]["options"])
    for s in (0.5, 0.8, 0.95):
        assert masks[s].sparsity == pytest.approx(s, abs=0.001)
        assert controls[s].removed_by_layer == masks[s].removed_by_layer
        expected = select(random(model, seed=0), s, like=masks[s])
        assert all(torch.equal(expected.kept[n], k) for n, k in controls[s].kept.items())
        for name, kept in controls[s].kept.items():
            # a control that keeps the largest initial weights would be none
            weight, n = model.get_parameter(name).detach(), kept.numel()
            chance = torch.corrcoef(torch.stack([weight.flatten(), kept.float().flatten()]))[0, 1]
            assert abs(chance) < 4 / n**0.5, (name, s)
    for loose, tight in ((0.5, 0.8), (0.8, 0.95)):
        for name, kept in masks[tight].kept.items():
            assert not (kept & ~masks[loose].kept[name]).any(), "iterative pruning never brings a weight back"
    channels = [load(run / network(results, "channels", s)["folder"]) for s in (0.25, 0.5, 0.75)]
    assert [n.params for n in channels] == sorted((n.params for n in channels), reverse=True)
    assert [n.sparsity for n in channels] == pytest.approx([0.25, 0.5, 0.75], abs=0.02)
    assert all(n.proof.difference <= 1e-9 for n in channels)
    for earlier, later in zip(channels, channels[1:], strict=False):
        for name, own in later.plan.slices.items():
            assert set(own.places().flat) <= set(earlier.plan.slices[name].places().flat)


def test_rewinding_starts_from_the_initial_weights(run, results):
    """One magnitude network again, by hand: mask of the trained dense network on its initial weights, trained."""
    data = load_data("digits", results["study"]["data"]["options"])
    recipe = results["study"]["methods"][0]["retraining"]
    initial = build("small_cnn", data.shape, 10, seed=1, options=results["study"]["model"]["options"])
    dense = load(run / network(results, "", 0.0, 1)["folder"])
    mask = prudent.prune(dense, sparsity=0.5).mask
    torch.set_num_threads(1)
    again = prudent.train(
        initial, data.train.batches(recipe["batch_size"]), epochs=recipe["epochs"], lr=recipe["lr"], mask=mask,
        schedule=recipe["schedule"], seed=1,
    )  # fmt: skip
    assert fingerprint(again) == network(results, "magnitude", 0.5, 1)["fingerprint"]


def test_splits_are_predicted_once_and_kept(run, results):
    from prudent.graph import Fingerprints, build_graph
    from prudent.store import Store

    settings = read(SMALL)
    data = load_data("digits", settings.data.options)
    ood = load_data("photo_patches", settings.data.ood_options)
    graph = build_graph(settings, Fingerprints(task=data.fingerprint, ood=ood.fingerprint))
    assert len(graph.cells) == CELLS
    store = Store(str(run.parent / "store"))
    cell = graph.networks[0, "magnitude", 0.8].predictions
    outputs = {n: predictions_from_bytes(store.read(cell.key, n)) for n in store.record(cell.key)["outputs"]}
    assert {n: (p.split, p.n, p.members) for n, p in outputs.items()} == {
        "validation": ("validation", 40, None), "certification": ("certification", 150, None),
        "test": ("test", 100, None),
        "ood": ("ood", 60, None), "test_mc": ("test", 100, 5), "ood_mc": ("ood", 60, 5),
    }  # fmt: skip


def stable(folder: Path) -> dict:
    """Everything that must not depend on when and how often a study was interrupted."""
    found = json.loads((folder / "results.json").read_text())
    for name in ("seconds", "finished", "environments", "sha256"):
        found.pop(name)
    for entry in found["networks"]:
        entry.pop("timing")
    files = {
        str(p.relative_to(folder)): p.read_bytes()
        for d in ("networks", "certificates")
        for p in (folder / d).rglob("*")
        if p.is_file()
    }
    return {"results": found, "files": files}


def test_processes_give_the_same_numbers(run, tmp_path):
    again = study(SMALL, out=tmp_path, executor="local", workers=2)
    assert stable(again) == stable(run)


def test_a_second_run_computes_nothing(run):
    before = mtimes(run.parent / "store")
    assert study(SMALL, out=run.parent, executor="inline") == run
    assert mtimes(run.parent / "store") == before


def mtimes(store: Path) -> dict[str, float]:
    return {p.name: p.stat().st_mtime_ns for p in (store / "cells").rglob("*.json")}


def command(out: Path, file: Path = SMALL) -> list[str]:
    return [sys.executable, "-m", "prudent.cli", "study", str(file), "--out", str(out), "--workers", "2"]


@pytest.mark.parametrize(
    "kills",
    [
        (signal.SIGKILL, signal.SIGINT),
        pytest.param((signal.SIGKILL, signal.SIGINT, signal.SIGKILL), marks=pytest.mark.slow),
    ],
    ids=len,
)
def test_killed_at_any_moment_it_goes_on_and_ends_the_same(run, tmp_path, kills):
    cells = tmp_path / "store" / "cells"

    def finished() -> set[str]:
        return {p.name for p in cells.rglob("*.json")}

    kept: dict[str, int] = {}
    for kill in kills:
        target = len(finished()) + 12
        process = subprocess.Popen(
            command(tmp_path),
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=heed_interrupts,  # noqa: PLW1509 (nothing here has threads)
        )
        while len(finished()) < target and process.poll() is None:
            time.sleep(0.02)
        assert process.poll() is None, f"the study ended before it could be killed: {process.stderr.read()}"
        process.send_signal(kill)
        _, said = process.communicate(timeout=60)
        if kill == signal.SIGINT:
            assert process.returncode == 130
            assert b"interrupted; everything finished is kept" in said
        assert_no_process_left(process.pid)
        now = mtimes(tmp_path / "store")
        assert kept.items() <= now.items(), "a finished cell was computed again or lost"
        kept = now
        assert not (tmp_path / run.name / "results.json").exists()
    study(SMALL, out=tmp_path, executor="inline")
    final = mtimes(tmp_path / "store")
    assert kept.items() <= final.items()
    assert len(final) == CELLS
    assert stable(tmp_path / run.name) == stable(run)


def heed_interrupts() -> None:
    """A shell lets what it starts in the background ignore Ctrl-C, and so would the study that is to be interrupted."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def assert_no_process_left(group: int) -> None:
    """Workers end with their runner, however it went."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        if not living(group):
            return
        time.sleep(0.1)
    raise AssertionError(f"processes of group {group} are still there")


def living(group: int) -> list[str]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[2] == str(group) and fields[0] != "Z":
            found.append(stat.parent.name)
    return found


def test_a_killed_worker_costs_its_own_cell_only(tmp_path):
    half = tmp_path / "half.toml"
    half.write_text(SMALL.read_text().replace("seeds = [0, 1]", "seeds = [1]"))
    process = subprocess.Popen(command(tmp_path, half), stderr=subprocess.PIPE, start_new_session=True)
    killed = 0
    cells = tmp_path / "store" / "cells"
    while process.poll() is None and killed < 2:
        if len(list(cells.rglob("*.json"))) > 6 * killed + 3:
            workers = [pid for pid in living(process.pid) if is_worker(pid)]
            if workers:
                os.kill(int(workers[0]), signal.SIGKILL)
                killed += 1
        time.sleep(0.05)
    _, said = process.communicate(timeout=240)
    assert killed == 2
    assert process.returncode in (0, 3), said
    assert len(mtimes(tmp_path / "store")) == CELLS // 2


def is_worker(pid: str) -> bool:
    """Forked from the fork server, which is itself a child of the runner."""
    try:
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        return b"forkserver" in Path(f"/proc/{parent}/cmdline").read_bytes()
    except OSError:
        return False


def test_damage_in_the_store_is_mended(run, tmp_path):
    import shutil

    shutil.copytree(run.parent / "store", tmp_path / "store")
    objects = sorted((tmp_path / "store" / "objects").rglob("*"), key=lambda p: p.stat().st_size)
    for path in [p for p in objects if p.is_file()][::25]:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    # somebody notes a network as sparser than it is
    records = (tmp_path / "store" / "cells").rglob("*.json")
    path = next(p for p in sorted(records) if json.loads(p.read_text())["kind"] == "pruned")
    record = json.loads(path.read_text())
    record["values"]["sparsity"] = 0.999
    path.write_text(json.dumps(record))
    again = study(SMALL, out=tmp_path, executor="inline")
    assert stable(again) == stable(run)


def test_nothing_is_shared_between_seeds_and_methods_that_should_not_be(results):
    prints = [n["fingerprint"] for n in results["networks"]]
    assert len(set(prints)) == len(prints)
    errors = [n["metrics"]["error"]["value"] for n in results["networks"] if n["method"] == ""]
    assert np.mean(errors) < 0.5, "the dense networks learned something"


TINY = """
name = "tiny"
seeds = [0]
[data]
name = "moons"
options = { train = 80, validation = 20, certification = 40, test = 40 }
[model]
name = "mlp"
[training]
epochs = 1
[evaluation]
latency_turns = 3
[[methods]]
name = "magnitude"
sparsities = [0.5, 0.50000001]
[certification]
declared = { method = "magnitude" }
"""


@pytest.mark.parametrize("how", ["script", pytest.param("standard input", marks=pytest.mark.slow)])
def test_a_plain_script_needs_no_guard(tmp_path, how):
    (tmp_path / "tiny.toml").write_text(TINY)
    text = 'import prudent\nprint("top", flush=True)\nprint(prudent.study("tiny.toml", out="runs", workers=2))\n'
    (tmp_path / "script.py").write_text(text)
    with (tmp_path / "script.py").open() as source:
        done = subprocess.run(
            [sys.executable, *(["script.py"] if how == "script" else [])],
            cwd=tmp_path, stdin=source if how != "script" else None, capture_output=True, text=True, timeout=200,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    top, folder = done.stdout.split()
    assert top == "top", "the script ran once"
    assert (tmp_path / folder / "report.html").exists()
    certificate = next((tmp_path / folder / "certificates").glob("*.json")).read_text()
    assert '"magnitude 0.50000001"' in certificate, "candidates that differ have different names"


def test_a_worker_needs_a_thread(tmp_path):
    with pytest.raises(prudent.PrudentError, match="at least one thread; got threads=0"):
        study(SMALL, out=tmp_path / "runs", threads=0)
    assert not (tmp_path / "runs").exists()
