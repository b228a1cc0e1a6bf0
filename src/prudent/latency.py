"""How long a network takes, beside another one, by the clock."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from prudent.errors import BadInput
from prudent.network import evaluating


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Measured time of a network and of the one it is compared with, taking turns.

    Args:
        milliseconds: median time of one forward pass over the batch.
        beside: the same for the other network.
        speedup: beside / milliseconds; above 1 = faster.
        lo, hi: quartiles of the speed-up over single turns.
    """

    milliseconds: float
    beside: float
    speedup: float
    lo: float
    hi: float


def measure(network: nn.Module, beside: nn.Module, example: Tensor, *, turns: int = 30, threads: int = 1) -> Latency:
    """Time two networks turn by turn on the same inputs, so that a busy moment hits both.

    Args:
        network, beside: in evaluation mode during the measurement; not changed.
        example: inputs (batch, ...).
        turns: timed passes of each; 3 untimed ones go before.
        threads: threads that torch may use meanwhile.

    Raises:
        BadInput: turns < 3.
    """
    if turns < 3:
        raise BadInput(f"a median and quartiles need at least 3 turns; got {turns}")
    with threads_of_torch(threads), torch.inference_mode(), evaluating(network), evaluating(beside):
        passes = [partial(one_pass, model, example) for model in (network, beside)]
        owns, others = take_turns(passes[0], passes[1], turns=turns, warm_up=3)
    own, other = statistics.median(owns), statistics.median(others)
    low, _, high = statistics.quantiles((b / a for a, b in zip(owns, others, strict=True)), n=4)
    return Latency(milliseconds=1e3 * own, beside=1e3 * other, speedup=other / own, lo=low, hi=high)


def take_turns(
    first: Callable[[], object],
    second: Callable[[], object],
    *,
    turns: int,
    warm_up: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[list[float], list[float]]:
    """Time two pieces of work turn by turn.

    Args:
        first, second: the work; each returns when it is done.
        turns: timed runs of each.
        warm_up: untimed runs of each before them.
        clock: seconds.

    Returns: the seconds of each turn, of the first and of the second.
    """
    for work in (first, second) * warm_up:
        work()
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns):
        # who goes first finds the caches as the other one left them, so they take turns at that too
        for which in (0, 1) if turn % 2 == 0 else (1, 0):
            start = clock()
            (first, second)[which]()
            times[which].append(clock() - start)
    return times


@contextmanager
def threads_of_torch(threads: int) -> Iterator[None]:
    """So many threads for torch's operators inside, as many as before outside."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def one_pass(model: Callable[[Tensor], object], example: Tensor) -> None:
    """Run a network once and wait until its device is done."""
    model(example)
    if example.device.type == "cuda":
        torch.cuda.synchronize(example.device)
