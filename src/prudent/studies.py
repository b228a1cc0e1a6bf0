"""The main job: a study file in, a folder with networks, certificates, numbers and a page out."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prudent.errors import BadInput, DamagedStore
from prudent.executors import EXECUTORS
from prudent.files import write_whole
from prudent.graph import Graph, build_graph
from prudent.leakage import leaks
from prudent.parsing import embedded, read
from prudent.planning import needed
from prudent.preflight import Ready, preflight
from prudent.results import Finished, network_results, resplit_results, write_certificates
from prudent.run_folder import REPORT, SCHEMA, STUDY, SUITE, TABLE, certificate_file, network_folder, write_results
from prudent.scheduling import Progress, run_cells
from prudent.settings import Settings
from prudent.store import Store
from prudent.tables import csv_table, suite_table
from prudent.team_results import team_results
from prudent.types import Certificate


def study(
    file: str | Path = "digits",
    *,
    full: bool = False,
    out: str | Path = "runs",
    workers: int | None = None,
    threads: int = 1,
    executor: str = "local",
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Path:
    """Run a study, or what is left of it, and write everything that it found.

    What is finished stays finished in `out`/store: after an interruption of any kind the same call goes on where it
    was, and a study that shares networks with an earlier one does not train them again.

    Args:
        file: a study file (TOML), or the name of one that comes with prudent.
        full: run the full size, which a table [full] in the file says.
        out: folder for runs; made if absent.
        workers: processes at the same time; by default one for each core.
        threads: threads in each. The last digits of results depend on it.
        executor: "local" (processes), "inline" (this process).
        on_progress: told how far it is.

    Returns: the run's folder: report.html, results.json, table.csv, certificates/, networks/, study.json.

    Raises:
        BadInput: anything wrong with the file, the data or the network, before any work.
        CellFailed: part of the work failed; the rest is done and kept.
    """
    settings = read(locate(file), full=full)
    return run_settings(
        settings, file=file, full=full, out=out, workers=workers, threads=threads, executor=executor,
        on_progress=on_progress,
    )  # fmt: skip


def run_settings(
    settings: Settings,
    *,
    file: str | Path,
    full: bool = False,
    out: str | Path = "runs",
    workers: int | None = None,
    threads: int = 1,
    executor: str = "local",
    train: bool = True,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Path:
    """`study` of settings that are read already; `file` and `full` say where they came from.

    Raises:
        BadInput: without `train`, a network that is not in the store; and as `study`.
    """
    started = time.monotonic()
    if workers is not None and workers < 1:
        raise BadInput(f"at least one worker is needed; got workers={workers}")
    if threads < 1:
        raise BadInput(f"each worker needs at least one thread; got threads={threads}")
    pool = EXECUTORS[executor](workers or os.cpu_count() or 1, threads)
    try:
        ready = preflight(settings)
        graph = build_graph(settings, ready.fingerprints)
        store = Store(str(Path(out) / "store"))
        if not train:
            _check_trained(graph, store)
        others = store.declare(ready.data.certification.fingerprint, _claim(settings))
        finished = Finished(settings, graph, store, run_cells(graph.cells, store, pool, on_progress=on_progress))
        folder = Path(out) / settings.id
        about = _Told(file=file, full=full, others=others, started=started)
        try:
            return _write(finished, ready, folder, about, on_progress)
        except DamagedStore:
            # the disk lost something that was finished: find all of it, make it again, and write once more
            store.drop_damaged(finished.records)
            finished = replace(finished, records=run_cells(graph.cells, store, pool, on_progress=on_progress))
            return _write(finished, ready, folder, about, on_progress)
    finally:
        pool.stop()


def _check_trained(graph: Graph, store: Store) -> None:
    """Refuse to train what is thought to be there."""
    networks = {trio.network.key for trio in graph.networks.values()}
    absent = sum(store.record(key) is None for key in networks)
    if absent:
        raise BadInput(
            f"all networks are needed in {store.location!r}, made by this version's code; {absent} of {len(networks)} "
            "are not there: run `prudent study` again, with the suite in its file"
        )


def locate(file: str | Path) -> Path:
    """The study file that is meant: a path, or the name of an embedded one.

    Raises:
        BadInput: neither exists.
    """
    path = Path(file)
    if path.is_file():
        return path
    known = embedded()
    if str(file) in known:
        return known[str(file)]
    raise BadInput(f"no study file {str(file)!r}; give a TOML file, or one of: {', '.join(known)}")


def _claim(settings: Settings) -> dict[str, Any]:
    """All that makes the declared claim another one than that of another study."""
    own = settings.certification
    method = settings.method(own.declared.method)
    return {
        **{key: getattr(own, key) for key in ("alpha", "delta", "bound")},
        "declared": own.declared.model_dump(include={"risk", "seed"}),
        "method": method.model_dump(mode="json", exclude={"name", "title"}),
        "model": settings.model.model_dump(mode="json"),
        "training": settings.training.model_dump(mode="json"),
    }


@dataclass(frozen=True, kw_only=True)
class _Told:
    """What a run's results repeat of how it was started."""

    file: str | Path
    full: bool
    others: int
    started: float


def _write(
    finished: Finished, ready: Ready, folder: Path, told: _Told, on_progress: Callable[[Progress], None]
) -> Path:
    """All files of a run; results.json last but the page, so that it names only what is there."""
    from prudent.report import build_report

    settings = finished.study
    for address in finished.graph.networks:
        for name, content in finished.files(*address).items():
            write_whole(folder / network_folder(*address) / name, content)
    certificates = write_certificates(finished, folder)
    write_whole(folder / STUDY, json.dumps(settings.model_dump(mode="json"), indent=1) + "\n")
    networks = network_results(finished)
    suite = _measure_suite(finished, ready, networks, on_progress) if settings.evaluation.suite is not None else {}
    results = {
        "prudent_results": SCHEMA,
        "id": settings.id,
        "file": Path(told.file).name if Path(told.file).is_absolute() else str(told.file),
        "full": told.full,
        "study": settings.model_dump(mode="json"),
        "data": _about(ready),
        "networks": networks,
        "certificates": [_entry(*address, certificate) for address, certificate in certificates.items()],
        **({"resplits": resampled} if (resampled := resplit_results(finished)) else {}),
        **({"teams": chosen} if (chosen := team_results(finished)) else {}),
        **suite,
        "other_claims": told.others,
        "environments": _environments(finished),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": {
            "this_run": time.monotonic() - told.started,
            "computing": sum(float(record["seconds"]) for record in finished.records.values()),
        },
    }
    write_results(folder, results)
    write_whole(folder / TABLE, csv_table(results))
    if suite:
        write_whole(folder / SUITE, suite_table(results))
    write_whole(folder / REPORT, build_report(folder))
    return folder


@dataclass
class _Count:
    """Says how far something is that takes about as long for each of its parts."""

    total: int
    on_progress: Callable[[Progress], None]
    noun: str
    done: int = -1
    started: float = field(default_factory=time.monotonic)

    def begin(self, label: str) -> None:
        """The next part begins, so that all before it are finished."""
        self.done += 1
        self._say((label,))

    def end(self) -> None:
        """All parts are finished."""
        self.done = self.total
        self._say(())

    def _say(self, running: tuple[str, ...]) -> None:
        each = (time.monotonic() - self.started) / self.done if self.done else None
        left = None if each is None else each * (self.total - self.done)
        self.on_progress(
            Progress(total=self.total, done=self.done, running=running, remaining=left, noun=self.noun)
        )  # fmt: skip


def _measure_suite(
    finished: Finished, ready: Ready, networks: list[dict[str, Any]], on_progress: Callable[[Progress], None]
) -> dict[str, Any]:
    """The suite of the study, after that of each network has been added to its entry."""
    from prudent.suite_answers import Answers
    from prudent.suite_results import network_suite
    from prudent.suite_summary import study_suite

    answers, methods = Answers(finished), finished.study.methods
    addresses = [(entry["seed"], entry["method"], entry["requested"]) for entry in networks]
    count = _Count(total=len(networks), on_progress=on_progress, noun="networks measured")
    for entry, address in zip(networks, addresses, strict=True):
        count.begin(finished.graph.networks[address].network.label)
        entry["suite"] = network_suite(answers, address)
    count.end()
    compared = _Count(
        total=sum(len(m.sparsities) for m in methods), on_progress=on_progress, noun="candidates compared"
    )
    found = study_suite(answers, ready, networks, on_look=compared.begin)
    compared.end()
    return {"suite": found}


def _entry(method: str, risk: str, seed: int, certificate: Certificate) -> dict[str, Any]:
    return {
        "method": method,
        "risk": risk,
        "seed": seed,
        "file": certificate_file(method, risk, seed),
        "claim": certificate.sentence(),
        "needed": needed(certificate),
        **asdict(certificate),
    }


def _environments(finished: Finished) -> list[dict[str, str]]:
    """The different environments that networks were trained in; more than one means that last digits may differ."""
    found: list[dict[str, str]] = []
    for cell in finished.graph.cells:
        own = finished.records[cell.key]["environment"]
        if cell.kind in ("dense", "given", "pruned") and own not in found:
            found.append(own)
    return found


def _about(ready: Ready) -> dict[str, Any]:
    data, ood = ready.data, ready.ood
    about: dict[str, Any] = {
        "name": data.name,
        "about": data.about,
        "shape": list(data.shape),
        "classes": list(data.classes),
        "fingerprint": data.fingerprint,
        "splits": {split: len(examples) for split, examples in data.splits.items()},
        "repeated": data.repeated,
        "leaks": asdict(leaks(data)),
    }
    if ood is not None:
        about["ood"] = {
            "name": ood.name, "about": ood.about, "n": len(ood.splits["ood"]), "fingerprint": ood.fingerprint
        }  # fmt: skip
    return about
