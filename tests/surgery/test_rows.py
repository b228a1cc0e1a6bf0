"""Units that can go only in rows, runs or whole maps: what is kept of them is as even as the operations need it."""

import pytest
import torch
from torch import Tensor, nn

from prudent.surgery.doctoring import diagnose
from tests.surgery.test_rules import cut

pytestmark = pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning")  # copies of graphs, in torch


class Around(nn.Module):
    """first -> function -> last."""

    def __init__(self, function, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.first, self.last, self.function = nn.Linear(*widths[:2]), nn.Linear(*widths[2:]), function

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)))


@pytest.mark.parametrize(
    ("function", "step", "width"),
    [
        (lambda y: y[:, 0::2] * y[:, 1::2], 2, 4),
        (lambda y: torch.stack((y[:, ::2], -y[:, 1::2]), -1).flatten(1).tanh(), 2, 8),
        (lambda y: y[:, 3::4], 4, 2),
    ],
)
def test_every_so_many_go_in_runs(function, step: int, width: int):
    """What is kept are whole runs, at any sparsity that leaves one, also where the first run goes."""
    for sparsity in (0.5,) if step == 4 else (0.25, 0.5, 0.75):
        small = cut(Around(function, (5, 8, width, 3)), torch.randn(4, 5), sparsity=sparsity)
        kept = small.plan.slices["first.weight"].dims[0]
        assert kept.tolist() == [step * run + i for run in sorted({k // step for k in kept}) for i in range(step)]
        assert len(kept) == 8 * (1 - sparsity)


def test_a_graph_takes_the_same_place_of_each_run_when_the_first_goes():
    small = cut(
        Around(lambda y: y.view(-1, 8)[:, 1::2] - 2 * y[:, ::2], (5, 8, 4, 3)), torch.randn(4, 5), sparsity=0.75
    )
    assert small.form == "graph"
    assert 0 not in small.plan.slices["first.weight"].dims[0]


@pytest.mark.parametrize("function", [lambda y: y[:, ::3], lambda y: y[:, 2::2], lambda y: y[:, :6:2]])
def test_runs_that_are_not_whole_stay(function):
    model = Around(function, (5, 8, 3, 3))
    found = {layer.name: layer for layer in diagnose(model, torch.randn(4, 5)).layers}
    assert "every so many are taken" in found["first.weight"].reason


def test_rows_of_a_range_keep_equally_many():
    """Heads of 5 + 5 + 8: what is kept of each part of a head is as much in every head, whatever the scores say."""
    function = lambda y: torch.cat([part.flatten(1) for part in y.view(-1, 4, 18).split([5, 5, 8], 2)], 1)  # noqa: E731
    small = cut(Around(function, (5, 72, 72, 3)), torch.randn(4, 5))
    kept = small.plan.slices["first.weight"].dims[0]
    for start, end in ((0, 5), (5, 10), (10, 18)):
        counts = [sum(head * 18 + start <= k < head * 18 + end for k in kept) for head in range(4)]
        assert len(set(counts)) == 1, counts


def test_outputs_that_become_maps_go_by_whole_channels():
    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.latent, self.out = nn.Linear(5, 72), nn.Conv2d(6, 2, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.latent(x).relu().view(-1, 6, 4, 3))

    kept = cut(Decoder(), torch.randn(4, 5)).plan.slices["latent.weight"].dims[0]
    channels = sorted({k // 12 for k in kept})
    assert len(channels) == 3
    assert kept.tolist() == [12 * channel + i for channel in channels for i in range(12)]
