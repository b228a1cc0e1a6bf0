"""Channels out of ResNet-50: the first cut beside torch-pruning's, the next one, and a deep graph.

torch-pruning proves nothing, so that rows of cuts without a proof are the fair ones; those with it stand beside them.
"""

import copy
import statistics
import time
from collections.abc import Callable

import torch
from tests.surgery.zoo import CASES
from torch import nn

from benchmarks import Row, median_ratio
from benchmarks.architectures import resnet_50
from benchmarks.zoo_models import available
from prudent.network import Scores
from prudent.recutting import cut, importances
from prudent.surgery.exporting import export
from prudent.surgery.tracing import trace

TURNS = 5
CLOCK = time.process_time
"""Seconds of the processor: all runs here have one thread, and other programs of the machine count for nothing."""


def theirs(model: nn.Module, inputs: torch.Tensor) -> None:
    """torch-pruning: the dependency graph and one step, half of each layer, in place."""
    import torch_pruning

    head = next(layer for layer in model.modules() if isinstance(layer, nn.Linear))
    torch_pruning.pruner.MagnitudePruner(
        model, inputs, importance=torch_pruning.importance.MagnitudeImportance(p=1), pruning_ratio=0.5,
        ignored_layers=[head], global_pruning=False,
    ).step()  # fmt: skip


def run() -> list[Row]:
    """All rows; those beside torch-pruning if it is installed."""
    model, inputs = resnet_50(), torch.rand(1, 3, 224, 224)
    cut(copy.deepcopy(model), sparsity=0.5, scope="layer", example=inputs, proof=False)  # what torch loads once
    rows = [deep(), again_beside_first(model, inputs)]
    if available("torch_pruning/"):
        rows += [*first_cuts(model, inputs), *cuts_again(model, inputs)]
    return rows


def first_cuts(model: nn.Module, inputs: torch.Tensor) -> list[Row]:
    """A network that was never seen: traced and cut, without and with the proof, which torch-pruning does not have."""

    def other() -> None:
        theirs(copy.deepcopy(model), inputs)

    def first(*, proof: bool) -> None:
        cut(copy.deepcopy(model), sparsity=0.5, scope="layer", example=inputs, proof=proof)

    other()
    bare, peer, ratio = median_ratio(lambda: first(proof=False), other, turns=TURNS, clock=CLOCK)
    floor = _median(lambda: export(model, inputs), turns=3)
    whole, again, slower = median_ratio(lambda: first(proof=True), other, turns=3, clock=CLOCK)
    work, beside = "trace and first cut of ResNet-50", "torch-pruning: dependencies and step"
    return [
        Row(
            work=f"{work}, not proved", beside=beside, seconds=bare, other=peer, promise="not slower", kept=ratio <= 1,
            note=f"torch.export alone: {1e3 * floor:.0f} ms",
        ),
        Row(
            work=f"{work}, proved", beside=f"{beside}, without one", seconds=whole, other=again,
            promise="no promise", kept=True, note=f"{slower:.2g}x their time",
        ),
    ]  # fmt: skip


def cuts_again(model: nn.Module, inputs: torch.Tensor) -> list[Row]:
    """Another sparsity of a network that was traced before, beside what torch-pruning does anew each time."""
    scores = importances(model, scope="layer", example=inputs)

    def other() -> None:
        theirs(copy.deepcopy(model), inputs)

    def again(score: str | Scores, *, proof: bool) -> None:
        cut(model, sparsity=0.3, score=score, scope="layer", example=inputs, proof=proof)

    known, peer, ratio = median_ratio(lambda: again(scores, proof=False), other, turns=2 * TURNS, clock=CLOCK)
    anew, beside_anew, slower = median_ratio(lambda: again("magnitude", proof=False), other, turns=TURNS, clock=CLOCK)
    proved, beside_proof, slowest = median_ratio(lambda: again("magnitude", proof=True), other, turns=3, clock=CLOCK)
    work, beside = "ResNet-50 cut again at another sparsity", "torch-pruning: dependencies and step"
    return [
        Row(
            work=f"{work}, scores known, not proved", beside=beside, seconds=known, other=peer,
            promise=">= 10x faster", kept=1 / ratio >= 10, note=f"{1 / ratio:.3g}x turn by turn",
        ),
        Row(
            work=f"{work}, scores anew, not proved", beside=beside, seconds=anew, other=beside_anew,
            promise="no promise", kept=True, note=f"{1 / slower:.3g}x turn by turn",
        ),
        Row(
            work=f"{work}, scores anew, proved", beside=f"{beside}, without proof", seconds=proved, other=beside_proof,
            promise="no promise", kept=True, note=f"{1 / slowest:.2g}x turn by turn",
        ),
    ]  # fmt: skip


def again_beside_first(model: nn.Module, inputs: torch.Tensor) -> Row:
    """Another sparsity of a network that was traced before, beside the first, both with their scores, not proved."""

    def once(model: nn.Module) -> None:
        cut(model, sparsity=0.3, scope="layer", example=inputs, proof=False)

    def anew() -> None:
        once(copy.deepcopy(model))

    whole, first, ratio = median_ratio(lambda: once(model), anew, turns=TURNS, clock=CLOCK)
    return Row(
        work="ResNet-50 cut again at another sparsity, not proved", beside="trace and first cut", seconds=whole,
        other=first, promise="no promise", kept=True, note=f"{1 / ratio:.3g}x turn by turn",
    )  # fmt: skip


def deep() -> Row:
    """A graph of 400 layers."""
    case = next(case for case in CASES if case.name == "deep_mlp")
    taken = _median(lambda: trace(case.build(), case.args()), turns=3)
    return Row(
        work="a graph of 400 layers traced", beside="10 s", seconds=taken, other=10.0, promise="< 10 s",
        kept=taken < 10,
    )  # fmt: skip


def _median(run: Callable[[], object], *, turns: int) -> float:
    times = []
    for _ in range(turns):
        start = CLOCK()
        run()
        times.append(CLOCK() - start)
    return statistics.median(times)
