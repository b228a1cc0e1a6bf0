"""Which widths a machine likes: layers of several widths timed in turn, and remembered."""

import hashlib
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from prudent.errors import BadInput, reason
from prudent.files import read_file, write_whole
from prudent.latency import threads_of_torch
from prudent.onnx_graph import check_onnx
from prudent.probed_layers import Layer, eager_pass, onnx_pass
from prudent.scopes import check_choice

Runtime = Literal["eager", "onnxruntime"]
SCHEMA = 1
FEWEST = 3
"""Rounds that are always made, whatever the budget."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Time of the probed piece at one width, in milliseconds.

    Args:
        width: channels.
        fastest: shortest turn; whatever else the machine does only adds to it.
        median: of the turns.
        turns: timed passes.
    """

    width: int
    fastest: float
    median: float
    turns: int


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a machine needs for each candidate width of a layer.

    Args:
        layer: what was probed.
        runtime, threads: how.
        machine: processor and versions that the times are for.
        timings: by ascending width.
    """

    layer: Layer
    runtime: Runtime
    threads: int
    machine: str
    timings: tuple[Timing, ...]


def probe(
    layer: Layer,
    widths: Sequence[int],
    *,
    runtime: Runtime = "onnxruntime",
    threads: int = 1,
    budget: float = 20.0,
    turns: int = 40,
    cache: str | Path | None = None,
    clock: Callable[[], float] | None = None,
) -> Probe:
    """Time a layer at several widths in turn.

    Args:
        layer: what is probed.
        widths: candidates, at least 1 each; repeated ones count once.
        runtime: "eager" is PyTorch as it is, "onnxruntime" ONNX Runtime on the CPU.
        threads: threads that the runtime may use.
        budget: seconds after which no new round over the widths begins; 3 rounds are always made.
        turns: rounds at most.
        cache: a JSON file of earlier probes, made if absent. One of the same machine, versions, runtime, threads and
            layer that has all the widths is returned as it is; otherwise all are timed again, together, and kept.
        clock: seconds; None for the processor time of one thread, which does not run while others have the processor,
            and for the wall clock with more threads.

    Raises:
        BadInput: no widths or one below 1, groups that do not divide one, a budget that is not above 0, fewer than 3
            turns, or a cache that is no file of probes.
        PrudentError: ONNX Runtime is not installed, or the cache cannot be read or written.
        UnknownName: no such runtime.
    """
    check_choice("runtime", runtime, Runtime)
    candidates = sorted(set(widths))
    layer.check_widths(candidates)
    if not budget > 0 or turns < FEWEST or threads < 1:
        raise BadInput(
            f"a probe needs seconds above 0, {FEWEST} turns and 1 thread or more; got {budget:g}, {turns} and {threads}"
        )
    if runtime == "onnxruntime":
        check_onnx()
    about = {"layer": asdict(layer), "runtime": runtime, "threads": threads, "machine": machine_of(runtime)}
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    stored = {} if cache is None else _stored(Path(cache))
    known = _timings(stored.get(key))
    if not set(candidates) <= set(known):
        ordered = sorted({*candidates, *known})
        make = onnx_pass if runtime == "onnxruntime" else eager_pass
        with threads_of_torch(threads), torch.inference_mode():
            works = [make(layer, width, threads=threads) for width in ordered]
            timer = clock or (time.thread_time if threads == 1 else time.perf_counter)
            times = in_rounds(works, turns=turns, budget=budget, clock=timer)
        known = {width: _timing(width, own) for width, own in zip(ordered, times, strict=True)}
        if cache is not None:
            entry = about | {"timings": [asdict(timing) for timing in known.values()]}
            text = json.dumps({"schema": SCHEMA, "probes": stored | {key: entry}}, indent=1, sort_keys=True)
            write_whole(Path(cache), text + "\n")
    timings = tuple(known[width] for width in candidates)
    return Probe(layer=layer, runtime=runtime, threads=threads, machine=str(about["machine"]), timings=timings)


def good_widths(probed: Probe, wanted: Sequence[int], *, least: float = 0.75) -> dict[int, int]:
    """For each wanted width, the probed width up to it that costs the least time for each channel it keeps.

        choose w in [least * wanted, wanted] with the smallest fastest(w) / w;  the wider of two equals

    Args:
        probed: from `probe`.
        wanted: widths that a plan asks for.
        least: smallest fraction of a wanted width that may be chosen, in (0, 1].

    Returns: wanted width -> width to use, never wider than wanted. Where no candidate lies in that range, the widest
    one below it. What is just above may still be no slower: in ONNX Runtime 12 channels can cost what 16 do.

    Raises:
        BadInput: `least` outside (0, 1], or a wanted width below every candidate.
    """
    if not 0 < least <= 1:
        raise BadInput(f"least is a fraction in (0, 1]; got {least:g}")
    cost = {timing.width: timing.fastest / timing.width for timing in probed.timings}
    chosen = {}
    for width in wanted:
        below = [candidate for candidate in cost if candidate <= width]
        if not below:
            raise BadInput(f"no probed width is at most {width}; the smallest is {min(cost)}: probe smaller ones too")
        near = [candidate for candidate in below if candidate >= least * width] or [max(below)]
        chosen[width] = min(near, key=lambda candidate: (cost[candidate], -candidate))
    return chosen


def in_rounds(
    works: Sequence[Callable[[], object]],
    *,
    turns: int,
    budget: float,
    clock: Callable[[], float] = time.perf_counter,
    wall: Callable[[], float] = time.monotonic,
) -> list[list[float]]:
    """Time several pieces of work in rounds, each round beginning with another one.

    Args:
        works: each returns when it is done; two untimed runs of each go before.
        turns: rounds at most.
        budget: seconds after which no new round begins; FEWEST rounds are always made.
        clock: seconds, of the work.
        wall: seconds, of the budget.

    Returns: for each work the seconds of its turns; all have equally many.
    """
    start = wall()
    for work in works:
        work()
        work()
    times: list[list[float]] = [[] for _ in works]
    for turn in range(turns):
        for i in range(len(works)):
            which = (turn + i) % len(works)
            before = clock()
            works[which]()
            times[which].append(clock() - before)
        if turn + 1 >= FEWEST and wall() - start > budget:
            break
    return times


def machine_of(runtime: Runtime) -> str:
    """Processor, cores, system and the runtime's version, on which a time depends, as one line."""
    package = "torch" if runtime == "eager" else "onnxruntime"
    return f"{_processor()}, {os.cpu_count()} cores, {platform.system()}, {package} {version(package)}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _timing(width: int, seconds: Sequence[float]) -> Timing:
    milliseconds = [1e3 * value for value in seconds]
    return Timing(
        width=width, fastest=min(milliseconds), median=statistics.median(milliseconds), turns=len(milliseconds)
    )


def _stored(path: Path) -> dict[str, Any]:
    """The probes in a cache; none if there is no such file yet."""
    if not path.exists():
        return {}
    try:
        content = json.loads(read_file(path))
        probes = dict(content["probes"])
        schema = content["schema"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(f"{str(path)!r} is no file of probes ({reason(error)}): name another, or remove it") from error
    if schema != SCHEMA:
        raise BadInput(f"{str(path)!r} has format {schema}; this version of prudent reads {SCHEMA}: name another")
    return probes


def _timings(entry: Mapping[str, Any] | None) -> dict[int, Timing]:
    if entry is None:
        return {}
    try:
        return {int(timing["width"]): Timing(**timing) for timing in entry["timings"]}
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"the cache holds a probe that cannot be read ({reason(error)}): remove the file") from error
