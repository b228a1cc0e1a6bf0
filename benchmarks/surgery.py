"""Channels out of ResNet-50: the first cut beside torch-pruning's, the next one, and a deep graph."""

import copy
import statistics
import time
from collections.abc import Callable

import torch
from tests.surgery.zoo import CASES
from torch import nn

import prudent
from benchmarks import Row, alternate, median_ratio
from benchmarks.architectures import resnet_50
from benchmarks.zoo_models import available
from prudent.surgery.cutting import plan_of
from prudent.surgery.plans import apply_plan
from prudent.surgery.proving import prove
from prudent.surgery.tracing import export, trace

TURNS = 5


def cut(model: nn.Module, inputs: torch.Tensor, sparsity: float) -> tuple[nn.Module, nn.Module]:
    """Masked and smaller network, not proved."""
    pruned = prudent.prune(model, sparsity=sparsity, granularity="channel", scope="layer", example=inputs)
    return pruned.model, apply_plan(pruned.model, plan_of(pruned.model, pruned.mask))


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
    cut(copy.deepcopy(model), inputs, 0.5)  # what torch loads once
    rows = [deep(), *recut(model, inputs)]
    return [*rows, *first_cuts(model, inputs)] if available("torch_pruning/") else rows


def first_cuts(model: nn.Module, inputs: torch.Tensor) -> list[Row]:
    """A network that was never seen: traced and cut, without and with the proof."""

    def other() -> None:
        theirs(copy.deepcopy(model), inputs)

    def proved() -> None:
        prove(*cut(copy.deepcopy(model), inputs, 0.5), inputs)

    other()
    bare, peer, ratio = median_ratio(lambda: cut(copy.deepcopy(model), inputs, 0.5), other, turns=TURNS)
    floor = _median(lambda: export(model, inputs), turns=3)
    whole, again, slower = median_ratio(proved, other, turns=3)
    work, beside = "trace and first cut of ResNet-50", "torch-pruning: dependencies and step"
    return [
        Row(
            work=work, beside=beside, seconds=bare, other=peer, promise="not slower", kept=ratio <= 1,
            note=f"torch.export alone: {1e3 * floor:.0f} ms",
        ),
        Row(
            work=f"{work}, with the proof", beside=f"{beside}, without one", seconds=whole, other=again,
            promise="no promise", kept=True, note=f"{slower:.2g}x their time",
        ),
    ]  # fmt: skip


def recut(model: nn.Module, inputs: torch.Tensor) -> list[Row]:
    """Another sparsity of a network that was traced before: in all, and without choosing the channels."""
    pruned = prudent.prune(model, sparsity=0.3, granularity="channel", scope="layer", example=inputs)

    def anew() -> None:
        cut(copy.deepcopy(model), inputs, 0.3)

    def planned() -> None:
        apply_plan(pruned.model, plan_of(pruned.model, pruned.mask))

    whole, first = alternate(lambda: cut(model, inputs, 0.3), anew, turns=TURNS)
    copied, part = alternate(lambda: copy.deepcopy(model), planned, turns=TURNS)
    return [
        Row(
            work="ResNet-50 cut again at another sparsity", beside="trace and first cut", seconds=whole, other=first,
            promise=">= 10x faster", kept=first / whole >= 10,
            note=f"one copy of the network: {1e3 * copied:.0f} ms, and the cut needs two",
        ),
        Row(
            work="ResNet-50: the plan and the cut alone, of a mask", beside="trace and first cut", seconds=part,
            other=first, promise=">= 10x faster", kept=first / part >= 10,
        ),
    ]  # fmt: skip


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
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
