"""Prune to a time by the clock: widths are planned from measured layers, and the real network is measured."""

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from prudent.batches import Batch
from prudent.errors import BadInput
from prudent.granularities import layout_for
from prudent.intervals import median_interval
from prudent.latency import threads_of_torch
from prudent.layer_times import Ask, Known, Site, layers_alone, sites_of, widths_left
from prudent.network import Scores, check_runs
from prudent.pacing import STEPS, Candidate, Found, Terms, tightened
from prudent.probing import in_rounds, probe
from prudent.pruning import Pruned, prune, units_known
from prudent.rounding import rounded_widths
from prudent.runtimes import Runtime, starter
from prudent.scopes import Scope, check_choice
from prudent.scoring import ask_score
from prudent.speed import Race, Speeds, bench, doubts
from prudent.surgery.cutting import plan_of
from prudent.surgery.plans import Plan
from prudent.surgery.shrinking import Shrunk, shrink
from prudent.wording import fixed, percent

PROBE_SECONDS, PROBE_TURNS = 0.05, 15
"""For each layer at each width: seconds, and turns at most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Paced:
    """A network that was cut to a time.

    Args:
        pruned: the masked network, whose mask has the planned widths.
        shrunk: the smaller network, which was measured.
        budget: milliseconds that were allowed for a pass.
        dense: median milliseconds of the dense network, measured before anything else.
        predicted: milliseconds that the sum over layers promised.
        race: the smaller network measured beside the dense one.
        macs_ratio: multiply-accumulates of the dense network / of the smaller one.
        rounded: layer -> channels that the scores alone would have kept, and those that are kept instead.
        attempts: networks that were cut and measured.
        warnings: one sentence for each reason to doubt that it pays.
    """

    pruned: Pruned
    shrunk: Shrunk
    budget: float
    dense: float
    predicted: float
    race: Race
    macs_ratio: float
    rounded: Mapping[str, tuple[int, int]]
    attempts: int
    warnings: tuple[str, ...]


def prune_to_latency(
    model: nn.Module,
    example: Tensor,
    *,
    milliseconds: float,
    runtime: Runtime = "onnxruntime",
    batch: int = 1,
    threads: int = 1,
    granularity: Literal["channel", "head"] = "channel",
    score: str | Callable[..., Scores] | Mapping[str, Tensor] = "magnitude",
    options: Mapping[str, Any] | None = None,
    scope: Scope = "global",
    minimum: int = 1,
    changing: bool = False,
    batches: Iterable[Batch] | None = None,
    seed: int = 0,
    seconds: float = 60.0,
    attempts: int = 6,
    turns: int = 30,
    clock: Callable[[], float] = time.perf_counter,
    wall: Callable[[], float] = time.monotonic,
) -> Paced:
    """The densest network found that runs within a time, measured on this machine.

        predicted = correction * (rest + factor * sum over layers of the time of the layer alone at its width)

    with factor = min(1, dense / sum over the dense network's layers), and rest what its layers leave of its time, both
    by the fastest passes. The least sparsity whose prediction fits is cut and measured; its time corrects the
    predictions, and the search goes on until a time is within 90 % of the budget or the attempts are spent. Units go in
    the order of their scores; the width of a layer is then rounded down to one that is cheaper for each channel
    (prudent.rounding).

    Args:
        model: the dense network. Not changed.
        example: inputs (n, ...), n >= 2, to trace the network with; repeated to fill the measured batch.
        milliseconds: the budget for the median of a pass, > 0 and less than the dense network takes.
        runtime: what runs it: "onnxruntime", "eager" or "compile". Layers alone are timed in ONNX Runtime for the
            first, in eager mode for the others.
        batch: inputs in a measured pass.
        threads: threads that the runtime may use.
        granularity: "channel" or "head".
        score, options, scope, minimum, changing, batches, seed: as for `prune`; at least 1 unit of a layer stays.
        seconds: after which the search for a sparsity is content with what it has; about so long all layers are timed.
        attempts: networks that may be cut and measured.
        turns: timed passes for each measurement, at least 6.
        clock: seconds, of passes.
        wall: seconds, of the search.

    Raises:
        BadInput: numbers outside their ranges, a budget that the dense network meets, or one that cannot be met: says
            how far one can go.
        UnknownName: no such runtime, granularity, score or scope.
        CannotPrune: no channels or heads to remove.
        PrudentError: the runtime is not installed.
    """
    _check_numbers(milliseconds, batch, threads, seconds, attempts)
    check_choice("runtime", runtime, Runtime)
    check_choice("granularity of a latency budget", granularity, Literal["channel", "head"])
    median_interval([0.0] * turns)
    check_runs(model, example)
    inputs = example[torch.arange(batch) % len(example)]
    dense, fastest = _dense_times(model, inputs, runtime, threads, turns, clock)
    if dense <= milliseconds:
        raise BadInput(
            f"a latency budget is less than the dense network takes, {_ms(dense)} in {runtime}; got "
            f"{_ms(milliseconds)}: keep the network as it is, or ask for less"
        )
    layout = layout_for(model, granularity, example, changing=changing)
    known = {"seed": seed, "example": example, **units_known(granularity, layout)}
    scores = ask_score(model, score, batches, options or {}, known)
    probe_runtime: Literal["eager", "onnxruntime"] = "onnxruntime" if runtime == "onnxruntime" else "eager"
    ask = partial(probe, runtime=probe_runtime, threads=threads, budget=PROBE_SECONDS, turns=PROBE_TURNS)
    cut = partial(
        prune, model, score=scores, granularity=granularity, scope=scope, minimum=max(minimum, 1), changing=changing,
        example=example, seed=seed,
    )  # fmt: skip
    timed: Known = {}
    sites = sites_of(model, inputs)
    if not sites:
        raise BadInput("a latency is planned by linear layers and convolutions with odd square kernels; there are none")
    whole = layers_alone(sites, widths_left(Plan(slices={}), sites), timed, ask)
    # as layers are: what a busy machine adds to a pass is no part of the network
    rest, factor = max(0.0, fastest - whole), min(1.0, fastest / whole)
    terms = Terms(budget=milliseconds, dense=dense, rest=rest, factor=factor)
    found = tightened(
        cache(partial(_candidate, cut, sites, timed, ask)),
        partial(_measured, model, inputs, example, runtime=runtime, threads=threads, turns=turns, clock=clock),
        terms,
        attempts=attempts,
        late=partial(_late, wall, wall() + seconds),
    )
    return _paced(found, terms)


def _candidate(
    cut: Callable[..., Pruned], sites: tuple[Site, ...], timed: Known, ask: Ask, step: int
) -> Candidate | None:
    """What a sparsity comes to; None if a layer would be empty."""
    try:
        wanted = cut(sparsity=step / STEPS)
        widths = widths_left(plan_of(wanted.model, wanted.mask), sites)
    except BadInput:
        return None
    kept = rounded_widths(wanted.mask, sites, widths, timed, ask)
    before = {name: int(one.sum()) for name, one in wanted.mask.kept.items()}
    if kept != before:
        sizes = {name: one.numel() for name, one in wanted.mask.kept.items()}
        fractions = {name: (sizes[name] - width) / sizes[name] for name, width in kept.items()}
        wanted = cut(fractions=fractions)
        widths = widths_left(plan_of(wanted.model, wanted.mask), sites)
    rounded = {name: (before[name], width) for name, width in kept.items() if width != before[name]}
    return Candidate(pruned=wanted, rounded=rounded, layers=layers_alone(sites, widths, timed, ask))


def _measured(
    model: nn.Module, inputs: Tensor, example: Tensor, candidate: Candidate, *, runtime: Runtime, threads: int,
    turns: int, clock: Callable[[], float],
) -> tuple[Shrunk, Speeds]:  # fmt: skip
    small = shrink(candidate.pruned, example)
    return small, bench(
        small, model, inputs, runtimes=[runtime], batches=[len(inputs)], threads=[threads], turns=turns, clock=clock
    )


def _dense_times(
    model: nn.Module, inputs: Tensor, runtime: Runtime, threads: int, turns: int, clock: Callable[[], float]
) -> tuple[float, float]:
    """Median and fastest pass, in milliseconds."""
    start = starter(model, inputs, runtime)
    with threads_of_torch(threads), torch.inference_mode():
        times = in_rounds([start(inputs, threads)], turns=turns, budget=math.inf, clock=clock)
    return 1e3 * statistics.median(times[0]), 1e3 * min(times[0])


def _paced(found: Found, terms: Terms) -> Paced:
    """The network that was found, with what speaks against it; refuses if there is none."""
    if found.best is None or found.small is None or found.speeds is None:
        raise BadInput(_how_far(terms, found.closest))
    speeds = found.speeds
    race = speeds.races[0]
    warnings = [*speeds.warnings, *doubts(speeds)]
    if race.hi > terms.budget:
        warnings.append(
            f"The median is within the budget of {_ms(terms.budget)}, but its interval reaches {_ms(race.hi)}."
        )
    return Paced(
        pruned=found.best.pruned, shrunk=found.small, budget=terms.budget, dense=terms.dense,
        predicted=found.predicted, race=race, macs_ratio=speeds.macs_ratio, rounded=found.best.rounded,
        attempts=found.attempts, warnings=tuple(warnings),
    )  # fmt: skip


def _how_far(terms: Terms, closest: tuple[float, float]) -> str:
    said = f"a latency of {_ms(terms.budget)} cannot be met: the dense network takes {_ms(terms.dense)}, and "
    if math.isinf(closest[0]):
        return said + "no network could be cut from it; ask for more time, or another granularity or scope"
    return said + (
        f"the fastest that was cut and measured, at {percent(closest[1])} sparsity, {_ms(closest[0])}: ask for that, "
        "or for another granularity, scope, runtime or batch"
    )


def _late(wall: Callable[[], float], until: float) -> bool:
    return wall() > until


def _ms(milliseconds: float) -> str:
    return f"{fixed(milliseconds, 3 if milliseconds < 1 else 2)} ms"


def _check_numbers(milliseconds: float, batch: int, threads: int, seconds: float, attempts: int) -> None:
    if not 0 < milliseconds < math.inf:
        raise BadInput(f"a latency budget is in milliseconds, above 0; got {milliseconds:g}")
    if min(batch, threads, attempts) < 1 or not seconds > 0:
        raise BadInput(
            f"a search needs a batch, threads and attempts of at least 1, and seconds above 0; got {batch}, {threads}, "
            f"{attempts} and {seconds:g}"
        )
