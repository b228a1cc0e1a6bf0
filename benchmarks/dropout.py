"""100 dropout samples with dropout before the last layer, beside 100 passes."""

import torch
from torch import nn

from benchmarks import Row, alternate
from prudent.batches import Batches
from prudent.building import build
from prudent.prediction import predict


def run() -> list[Row]:
    inputs = torch.rand(256, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    model = build("small_cnn", (1, 28, 28), 10, seed=0, options={}).eval()
    batches = Batches(inputs=inputs, size=256, split="test")

    def ours() -> None:
        predict(model, batches, mc_samples=100)

    def passes() -> None:
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.train()
        with torch.inference_mode():
            torch.stack([model(inputs) for _ in range(100)]).numpy()
        model.eval()

    own, other = alternate(ours, passes, turns=3)
    return [
        Row(
            work="MC dropout, 100 samples, dropout in the head", beside="100 forward passes", seconds=own, other=other,
            promise=">= 20x faster", kept=other / own >= 20,
        )
    ]  # fmt: skip
