"""How long a network takes, beside another one, by the clock."""

import statistics
import time
from dataclasses import dataclass

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
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode(), evaluating(network), evaluating(beside):
            for model in (network, beside) * 3:
                model(example)
            pairs = [_both(network, beside, example, swapped=bool(turn % 2)) for turn in range(turns)]
    finally:
        torch.set_num_threads(before)
    own, other = (statistics.median(times) for times in zip(*pairs, strict=True))
    low, _, high = statistics.quantiles((b / a for a, b in pairs), n=4)
    return Latency(milliseconds=1e3 * own, beside=1e3 * other, speedup=other / own, lo=low, hi=high)


def _both(network: nn.Module, beside: nn.Module, example: Tensor, *, swapped: bool) -> tuple[float, float]:
    # who goes first finds the caches as the other one left them, so they take turns at that too
    if swapped:
        other = _time(beside, example)
        return _time(network, example), other
    return _time(network, example), _time(beside, example)


def _time(model: nn.Module, example: Tensor) -> float:
    start = time.perf_counter()
    model(example)
    if example.device.type == "cuda":
        torch.cuda.synchronize(example.device)
    return time.perf_counter() - start
