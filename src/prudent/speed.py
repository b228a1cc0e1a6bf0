"""Whether a pruned network is faster than the dense one: both timed turn by turn, in the runtimes that people use."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn

from prudent.errors import BadInput, PrudentError
from prudent.intervals import median_interval
from prudent.latency import take_turns, threads_of_torch
from prudent.low_rank.factorisation import Factorised
from prudent.network import check_runs, macs, parameters
from prudent.pruning import Pruned
from prudent.runtimes import Runtime, starter
from prudent.scopes import check_choice
from prudent.surgery.shrinking import Shrunk
from prudent.wording import fixed, percent, plural

BLOCK = 8
"""Runtimes compute convolutions in blocks of so many channels; a width in between pays for the whole block."""

PAYS = 0.8
"""A speed-up below this share of the ratio of multiply-accumulates is worth a warning."""

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True, kw_only=True)
class Race:
    """Two networks timed turn by turn in one setting. Times are medians over turns, in milliseconds for a batch.

    Args:
        runtime: "eager", "compile" or "onnxruntime".
        batch: inputs in a pass.
        threads: threads that the runtime may use.
        turns: timed passes of each network.
        level: of the intervals, which are of the median and free of assumptions on the distribution.
        milliseconds, lo, hi: of the network, with interval.
        beside, beside_lo, beside_hi: of the dense network.
        speedup, speedup_lo, speedup_hi: median of beside / own over turns, with interval; above 1 = faster.
    """

    runtime: Runtime
    batch: int
    threads: int
    turns: int
    level: float
    milliseconds: float
    lo: float
    hi: float
    beside: float
    beside_lo: float
    beside_hi: float
    speedup: float
    speedup_lo: float
    speedup_hi: float


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """What a pruned network gains over the dense one, beside what its arithmetic would promise.

    Args:
        races: one for each runtime, number of threads and batch size that could be measured.
        unmeasured: runtime -> why it could not be measured.
        macs_ratio: multiply-accumulates of the dense network / of the pruned one as it runs; zeros count as work.
        parameters_ratio: the same of parameters as they are stored in a dense layout.
        odd_widths: convolution -> its number of channels, where pruning left no multiple of 8.
        warnings: one sentence for each reason to doubt the gain.
    """

    races: tuple[Race, ...]
    unmeasured: Mapping[str, str]
    macs_ratio: float
    parameters_ratio: float
    odd_widths: Mapping[str, int]
    warnings: tuple[str, ...]


def bench(
    network: nn.Module | Pruned | Shrunk | Factorised,
    beside: nn.Module,
    example: Tensor,
    *,
    runtimes: Sequence[Runtime] = ("eager", "compile", "onnxruntime"),
    batches: Sequence[int] = (1, 32),
    threads: Sequence[int] = (1,),
    turns: int = 50,
    warm_up: int = 5,
    level: float = 0.95,
    clock: Callable[[], float] = time.perf_counter,
) -> Speeds:
    """Time a pruned network beside the dense one, turn by turn, in several runtimes.

        speedup = median over turns of (time of the dense pass / time of the pruned pass next to it)

    Neighbouring passes share whatever else the machine does at the moment, so their ratio is steadier than the times.

    Args:
        network: the pruned one. Not changed; a copy in evaluation mode runs.
        beside: the dense one. Not changed.
        example: inputs (n, ...), n >= 1, on the device to be timed; repeated to fill larger batches.
        runtimes: which to measure; those that cannot be had here are told in `unmeasured`.
        batches: inputs in a pass.
        threads: threads that the runtime may use.
        turns: timed passes of each network in each setting, at least 6 for intervals of 95 %.
        warm_up: untimed passes of each before.
        level: of the intervals.
        clock: seconds.

    Raises:
        BadInput: nothing to measure, sizes below 1, too few turns for an interval, networks that do not run; or none
            of the runtimes works here.
        UnknownName: no such runtime.
    """
    for what, values in (("batches", batches), ("threads", threads)):
        if not values or min(values) < 1:
            raise BadInput(f"{what} are numbers of at least 1; got {tuple(values)}")
    for runtime in runtimes:
        check_choice("runtime", runtime, Runtime)
    if not runtimes or len(example) == 0:
        raise BadInput("a measurement needs at least one runtime and one input")
    median_interval([0.0] * turns, level=level)
    module = network if isinstance(network, nn.Module) else network.model
    for model in (module, beside):
        check_runs(model, example[:1])
    counts = [(macs(model, example[:1]), parameters(model)) for model in (beside, module)]
    races: list[Race] = []
    unmeasured: dict[str, str] = {}
    for runtime in runtimes:
        try:
            starters = (starter(module, example, runtime), starter(beside, example, runtime))
            for count, batch in product(threads, batches):
                inputs = example[torch.arange(batch) % len(example)]
                with threads_of_torch(count), torch.inference_mode():
                    torch.compiler.reset()  # or it would silently stop compiling after a few networks
                    own, other = (start(inputs, count) for start in starters)
                    times = take_turns(own, other, turns=turns, warm_up=warm_up, clock=clock)
                races.append(_race(times, runtime=runtime, batch=batch, threads=count, level=level))
        except PrudentError as error:
            unmeasured[runtime] = str(error)
    if not races:
        raise BadInput(f"none of the runtimes works here: {'; '.join(unmeasured.values())}")
    odd = odd_widths(module, beside)
    ratio = counts[0][0] / max(1, counts[1][0])
    return Speeds(
        races=tuple(races),
        unmeasured=unmeasured,
        macs_ratio=ratio,
        parameters_ratio=counts[0][1] / max(1, counts[1][1]),
        odd_widths=odd,
        warnings=(*_masked(network), *(_slow(race, ratio) for race in races if race.speedup_lo <= 1), *_odd(odd)),
    )


def doubts(speeds: Speeds) -> tuple[str, ...]:
    """A sentence for each setting where the speed-up stays below what the multiply-accumulates suggest, by a fifth."""
    return tuple(
        f"{fixed(speeds.macs_ratio, 2)} times fewer multiply-accumulates give {fixed(race.speedup, 2)} times the speed "
        f"in {race.runtime}, batch {race.batch}: what is removed pays less here than its share of the arithmetic."
        for race in speeds.races
        if race.speedup < PAYS * speeds.macs_ratio
    )


def odd_widths(network: nn.Module, beside: nn.Module) -> dict[str, int]:
    """Convolutions whose number of output channels pruning changed to no multiple of 8: name -> channels.

    Layers are matched by name; one that the dense network does not have counts as changed. Linear layers are left out:
    their matrix products do not run in blocks of channels.
    """
    dense = {name: layer.out_channels for name, layer in beside.named_modules() if isinstance(layer, CONVOLUTIONS)}
    return {
        name: layer.out_channels
        for name, layer in network.named_modules()
        if isinstance(layer, CONVOLUTIONS) and layer.out_channels % BLOCK and dense.get(name) != layer.out_channels
    }


def _race(times: tuple[list[float], list[float]], *, runtime: Runtime, batch: int, threads: int, level: float) -> Race:
    own, other = ([1e3 * seconds for seconds in one] for one in times)
    ratios = [b / max(a, 1e-9) for a, b in zip(own, other, strict=True)]
    (lo, hi), (beside_lo, beside_hi), (low, high) = (
        median_interval(values, level=level) for values in (own, other, ratios)
    )
    return Race(
        runtime=runtime, batch=batch, threads=threads, turns=len(own), level=level,
        milliseconds=statistics.median(own), lo=lo, hi=hi,
        beside=statistics.median(other), beside_lo=beside_lo, beside_hi=beside_hi,
        speedup=statistics.median(ratios), speedup_lo=low, speedup_hi=high,
    )  # fmt: skip


def _slow(race: Race, ratio: float) -> str:
    what = "is slower than" if race.speedup_hi < 1 else "is not shown to be faster than"
    where = f"{race.runtime}, batch {race.batch}, {plural(race.threads, 'thread')}"
    return (
        f"The pruned network {what} the dense one in {where}: {fixed(race.speedup, 2)} times its speed "
        f"({fixed(race.speedup_lo, 2)} to {fixed(race.speedup_hi, 2)}), for {fixed(ratio, 2)} times fewer "
        "multiply-accumulates."
    )


def _odd(odd: Mapping[str, int]) -> list[str]:
    if not odd:
        return []
    named = ", ".join(f"{name} ({width})" for name, width in list(odd.items())[:3])
    more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
    note = (
        f"{plural(len(odd), 'convolution')} of a width that is no multiple of {BLOCK}: {named}{more}. ONNX Runtime "
        "computes channels in blocks: the next multiple may be as fast, and odd widths slower than the dense network."
    )
    return [note]


def _masked(network: nn.Module | Pruned | Shrunk | Factorised) -> list[str]:
    if not isinstance(network, Pruned):
        return []
    note = (
        f"The network is masked ({percent(network.sparsity, 1)} of its {network.mask.granularity} units are zero) and "
        "not smaller: a dense runtime gains no speed from zeros."
    )
    return [note]
