"""Training with a mask beside the same loop without one, and the loop beside a plain one."""

import copy
import time

import torch
from torch.nn.functional import cross_entropy

from benchmarks import Row, median_ratio
from prudent.batches import Batches
from prudent.building import build
from prudent.pruning import prune
from prudent.training import train


def run() -> list[Row]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(1024, 1, 16, 16, generator=generator)
    labels = torch.randint(0, 10, (1024,), generator=generator)
    batches = Batches(inputs=inputs, labels=labels, size=128, split="train")
    model = build("small_cnn", (1, 16, 16), 10, seed=0, options={"widths": [32, 64, 64], "hidden": 256})
    pruned = prune(model, sparsity=0.9)

    def masked() -> None:
        train(pruned.model, batches, epochs=1, lr=0.001, mask=pruned.mask)

    def dense() -> None:
        train(pruned.model, batches, epochs=1, lr=0.001)

    def plain() -> None:
        own = copy.deepcopy(model).train()
        method = torch.optim.AdamW(own.parameters(), lr=0.001, weight_decay=0.0, fused=True)
        for epoch in range(1):
            for x, y in batches.shuffled(seed=0, epoch=epoch):
                method.zero_grad()
                cross_entropy(own(x), y).backward()
                method.step()

    # the difference is smaller than a busy machine's moods: many turns, in processor time of the one thread
    a, b, slower = median_ratio(masked, dense, turns=25, clock=time.process_time)
    c, d, loop = median_ratio(dense, plain, turns=25, clock=time.process_time)
    return [
        Row(
            work="training with a 90 % mask", beside="the same loop without a mask", seconds=a, other=b,
            promise="<= 3 % slower", kept=slower <= 1.03, note=f"measured {100 * (slower - 1):+.1f} %",
        ),
        Row(
            work="the training loop", beside="a loop without any of our bookkeeping", seconds=c, other=d,
            promise="<= 5 % slower", kept=loop <= 1.05, note=f"measured {100 * (loop - 1):+.1f} %",
        ),
    ]  # fmt: skip
