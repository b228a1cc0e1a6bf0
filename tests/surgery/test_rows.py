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


def parts(*shape: int):
    return lambda y: y.view(-1, *shape)


@pytest.mark.parametrize(
    ("function", "shape", "dims"),
    [
        (lambda y: parts(4, 3)(y).sum(1), (4, 3), (0,)),
        (lambda y: parts(4, 3)(y).mean(1), (4, 3), (0,)),
        (lambda y: parts(2, 3, 2)(y).sum(1).flatten(1), (2, 3, 2), (0,)),
        (lambda y: parts(2, 3, 2)(y).sum(2).flatten(1), (2, 3, 2), (1,)),
        (lambda y: parts(2, 2, 3)(y).amax(3).transpose(1, 2).sum(2), (2, 2, 3), (0, 2)),
        (lambda y: parts(2, 2, 3)(y).amax((1, 3)), (2, 2, 3), (0, 2)),
    ],
)
def test_what_is_summed_over_rows_goes_in_all_of_them(function, shape: tuple[int, ...], dims: tuple[int, ...]):
    """Units at one place of each row become one sum, which the next layer reads: they go together, with its input."""
    width = function(torch.zeros(1, 12)).shape[1]
    small = cut(Around(function, (5, 12, width, 3)), torch.randn(4, 5), sparsity=0.4)
    kept = torch.zeros(12, dtype=torch.bool)
    kept[small.plan.slices["first.weight"].dims[0].tolist()] = True
    for d in dims:
        assert (kept.view(shape) == kept.view(shape).select(d, 0).unsqueeze(d)).all()
    assert small.plan.slices["last.weight"].left[1] < width


def test_what_is_summed_within_a_row_stays_as_much_in_each():
    """Nothing goes together then: what a row loses is zero in its sum."""
    small = cut(Around(lambda y: parts(4, 3)(y).sum(2), (5, 12, 4, 3)), torch.randn(4, 5), sparsity=0.3)
    kept = small.plan.slices["first.weight"].dims[0]
    assert [sum(k // 3 == row for k in kept) for row in range(4)] == [2] * 4
    assert "last.weight" not in small.plan.slices
    assert len({int(k) % 3 for k in kept}) == 3


@pytest.mark.parametrize("form", ["module", "graph"])
@pytest.mark.parametrize(("outputs", "groups", "left"), [(8, 8, 4), (16, 8, 4), (24, 8, 4), (16, 4, 4), (4, 4, 4)])
def test_groups_of_transposed_convolutions(outputs: int, groups: int, left: int, form: str):
    """With a group for each input, groups go with their inputs, whatever they make of them; else all groups stay."""
    view = nn.Identity() if form == "module" else Again(outputs)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, outputs, 3, groups=groups), view, nn.ReLU(),
        nn.Conv2d(outputs, 2, 1),
    )  # fmt: skip
    small = cut(model, torch.randn(2, 3, 7, 7))
    assert small.form == (form if outputs > 4 else "module")  # one output for each group stays
    assert small.plan.slices["0.weight"].left[0] == 4
    if small.form == "module":
        assert (small.model[2].groups, small.model[2].in_channels) == (left, 4)


class Again(nn.Module):
    """A view that says the number of channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return x.view(-1, self.channels, *x.shape[2:])


@pytest.mark.parametrize(
    ("function", "run"),
    [
        (lambda y: nn.functional.instance_norm(parts(6, 2, 2)(y)), 4),
        (lambda y: nn.functional.max_pool2d(parts(6, 2, 2)(y), 2), 4),
        (lambda y: nn.functional.pixel_shuffle(parts(4, 3, 2)(y), 2), 24),
        (lambda y: nn.functional.pixel_shuffle(parts(12, 2, 1)(y), 2), 8),
    ],
)
def test_maps_of_a_linear_layer_go_as_wholes(function, run: int):
    width = function(torch.ones(2, 24)).flatten(1).shape[1]
    model = Around(lambda y: function(y).flatten(1), (5, 24, width, 3))
    if run == 24:  # one map is all there is
        assert {layer.name: layer.exact for layer in diagnose(model, torch.randn(4, 5)).layers}["first.weight"] == 0
        return
    kept = cut(model, torch.randn(4, 5), sparsity=0.4).plan.slices["first.weight"].dims[0].tolist()
    assert kept == [run * k + i for k in sorted({one // run for one in kept}) for i in range(run)]
    assert len(kept) < 24


def test_a_group_for_each_channel_goes_with_it():
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.GroupNorm(6, 6), nn.ReLU(), nn.Conv2d(6, 2, 1))
    small = cut(model, torch.randn(2, 3, 7, 7))
    assert (small.model[1].num_groups, small.model[1].num_channels) == (3, 3)
