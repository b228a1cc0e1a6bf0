"""Global threshold and masks over 25 million weights, beside torch's own pruning and beside one copy of the memory."""

import tracemalloc

import numpy as np
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune
from torch.nn.utils import skip_init

from benchmarks import Row, alternate
from prudent.masks import select

LAYERS = [(64, 147)] + [(256, 576)] * 20 + [(512, 2304)] * 10 + [(1024, 2048)] * 3 + [(1000, 2048)]


TURNS = 3

MANY = 8
"""How many times the weights of LAYERS make 2 x 10^8."""


def peak_of(scores: dict[str, torch.Tensor]) -> float:
    """Most memory that NumPy holds while masks are made, as a multiple of the scores' own."""
    tracemalloc.start()
    select(scores, 0.8)
    peak = tracemalloc.get_traced_memory()[1] / sum(4 * score.numel() for score in scores.values())
    tracemalloc.stop()
    return peak


def growth(scores: dict[str, torch.Tensor]) -> Row:
    """Eight times as many weights: time and memory beside eight times those of the fewer."""
    many = {f"{copy}.{name}": score for copy in range(MANY) for name, score in scores.items()}
    large, small = alternate(lambda: select(many, 0.8), lambda: select(scores, 0.8), turns=2)
    peak = peak_of(many)
    total = sum(score.numel() for score in many.values())
    return Row(
        work=f"global threshold and masks, {total / 1e6:.0f} million weights",
        beside=f"{MANY} times those of an eighth of the weights",
        seconds=large, other=MANY * small, promise="linear: >= 0.67x, <= 1.3x the scores' memory",
        kept=MANY * small / large >= 0.67 and peak <= 1.3, note=f"measured {peak:.2f}x",
    )  # fmt: skip


def _layers(weights: list[torch.Tensor]) -> list[nn.Linear]:
    layers = [skip_init(nn.Linear, w.shape[1], w.shape[0], bias=False) for w in weights]
    for layer, weight in zip(layers, weights, strict=True):
        layer.weight.data = weight
    return layers


def run() -> list[Row]:
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(shape, generator=generator) for shape in LAYERS]
    total = sum(w.numel() for w in weights)
    scores = {str(i): w.abs() for i, w in enumerate(weights)}

    def ours() -> None:
        select(scores, 0.8)

    # made beforehand: drawing their first weights is no part of pruning them, and pruning changes them
    fresh = [_layers(weights) for _ in range(TURNS)]

    def theirs() -> None:
        layers = fresh.pop()
        torch_prune.global_unstructured([(layer, "weight") for layer in layers], torch_prune.L1Unstructured, amount=0.8)

    own, other = alternate(ours, theirs, turns=TURNS)
    memory = np.empty(total, np.float32)
    source = np.concatenate([w.numpy().ravel() for w in weights])
    _, floor = alternate(ours, lambda: np.copyto(memory, source), turns=TURNS)
    peak = peak_of(scores)
    millions = f"{total / 1e6:.1f} million weights"
    return [
        Row(
            work=f"global threshold and masks, {millions}", beside="torch.nn.utils.prune.global_unstructured",
            seconds=own, other=other, promise=">= 30x faster", kept=other / own >= 30,
        ),
        Row(
            work=f"global threshold and masks, {millions}", beside="one copy of the scores (the floor)",
            seconds=own, other=floor, promise="<= 1.3x the scores' memory", kept=peak <= 1.3,
            note=f"measured {peak:.2f}x",
        ),
        growth(scores),
    ]  # fmt: skip
