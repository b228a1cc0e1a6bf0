"""100 dropout samples with dropout before the last layer, beside 100 passes; what the first call takes is told."""

import time

import torch
from torch import Tensor, nn

from benchmarks import Row, alternate
from prudent.batches import Batches
from prudent.building import build
from prudent.prediction import predict


class Branching(nn.Module):
    """A network that is no sequence: its own code adds what two branches say, before dropout and the last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(1, 16, 5, padding=2)
        self.mixed = nn.Conv2d(16, 16, 3, padding=1)
        self.dropout, self.head = nn.Dropout(0.5), nn.Linear(16 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.relu(self.mixed(torch.relu(self.left(x)) + torch.relu(self.right(x))))
        answer: Tensor = self.head(self.dropout(nn.functional.adaptive_avg_pool2d(both, 2).flatten(1)))
        return answer


def run() -> list[Row]:
    small_cnn = build("small_cnn", (1, 28, 28), 10, seed=0, options={})
    return [_row(small_cnn, "layers in a row", 256), _row(Branching(), "own code, traced once", 256)]


def _row(model: nn.Module, kind: str, n: int) -> Row:
    inputs = torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    model.eval()
    batches = Batches(inputs=inputs, size=256, split="test")

    def ours() -> None:
        predict(model, batches, mc_samples=100)

    def passes() -> None:
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.train()
        with torch.inference_mode():
            torch.stack([torch.cat([model(part) for part in inputs.split(256)]) for _ in range(100)]).numpy()
        model.eval()

    start = time.perf_counter()
    ours()
    first = time.perf_counter() - start
    own, other = alternate(ours, passes, turns=3)
    return Row(
        work=f"MC dropout, 100 samples of {n} examples, dropout in the head, {kind}", beside="100 forward passes",
        seconds=own, other=other, promise=">= 20x faster", kept=other / own >= 20,
        note=f"the first call {1000 * first:.0f} ms",
    )  # fmt: skip
