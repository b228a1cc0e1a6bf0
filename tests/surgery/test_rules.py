"""Rules for operations that real networks use: a tiny network for each, cut, and compared with the masked one."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import prudent
from prudent.surgery.doctoring import diagnose
from prudent.surgery.shrinking import Shrunk

torch.set_num_threads(1)


def cut(model: nn.Module, inputs: Tensor, *, granularity: str = "channel", sparsity: float = 0.5) -> Shrunk:
    """Half of it gone, all numbers drawn so that nothing is silent, and compared here once more."""
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(value.numel())))
    model.eval()
    pruned = prudent.prune(model, sparsity=sparsity, granularity=granularity, scope="layer", example=inputs)
    small = prudent.shrink(pruned, inputs)
    assert not small.kept
    with torch.no_grad():
        expected, got = pruned.model(inputs), small.model(inputs)
    assert torch.allclose(expected, got, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0
    assert small.params < sum(p.numel() for p in model.parameters())
    return small


def units(model: nn.Module, inputs: Tensor) -> dict[str, int]:
    return {layer.name: layer.exact for layer in diagnose(model.eval(), inputs).layers}


class Between(nn.Module):
    """Two layers with something between them."""

    def __init__(self, what, width: int = 8, read: int | None = None) -> None:
        super().__init__()
        self.first, self.what = nn.Linear(3, width), what
        self.second = nn.Linear(read or width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.what(self.first(x)))


ELEMENTWISE = {
    "hardswish": F.hardswish,
    "relu6": F.relu6,
    "relu6 in place": lambda x: torch.ops.aten.relu6_(x.clone()),
    "log_sigmoid": F.logsigmoid,
    "masked_fill": lambda x: x.masked_fill(x > 0.5, 0.25),
    "where": lambda x: torch.where(x > 0, x, 0.1 * x),
    "arctan": torch.arctan,
    "negative": torch.negative,
    "absolute": torch.absolute,
    "multiply": lambda x: torch.multiply(x, x),
    "divide": lambda x: torch.divide(x, 3.0),
    "subtract": lambda x: torch.subtract(x, 2 * torch.sigmoid(x)),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_an_operation_on_each_element_by_itself_lets_every_unit_go(name: str):
    model, inputs = Between(ELEMENTWISE[name]), torch.randn(5, 3)
    assert units(model, inputs)["first.weight"] == 8
    assert cut(model, inputs).model.first.out_features == 4


class Shuffled(nn.Module):
    """Blocks as ShuffleNet's: one half goes by, and both halves are mixed; widths 8, so 16 in all."""

    def __init__(self, blocks: int, width: int) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, width, 1), nn.Conv2d(3, width, 1)
        self.blocks = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(blocks))
        self.head = nn.Conv2d(2 * width, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = shuffled(torch.cat([self.left(x), self.right(x)], 1))
        for block in self.blocks:
            by, through = x.chunk(2, dim=1)
            x = shuffled(torch.cat([by, F.relu(block(through))], 1))
        return self.head(x).mean((2, 3))


def shuffled(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


@pytest.mark.parametrize(("blocks", "width"), [(1, 8), (2, 8), (2, 16), (1, 4)])
def test_halves_that_overlap_from_block_to_block_keep_equally_many(blocks: int, width: int):
    model, inputs = Shuffled(blocks, width), torch.randn(2, 3, 4, 4)
    assert units(model, inputs)["blocks.0.weight"] == width
    small = cut(model, inputs)
    assert small.model.head.in_channels == width
    assert {block.in_channels for block in small.model.blocks} == {width // 2}


def test_halves_that_no_row_fits_stay():
    inputs = torch.randn(2, 3, 4, 4)
    found = {layer.name: layer for layer in diagnose(Shuffled(2, 6).eval(), inputs).layers}
    assert found["blocks.0.weight"].exact == 0
    assert "groups that overlap" in found["blocks.0.weight"].reason


class SilentKeys(nn.Module):
    """Part of the bias is zeroed in place, as in Swin v2."""

    def __init__(self) -> None:
        super().__init__()
        self.both, self.out = nn.Linear(3, 16), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        bias = self.both.bias.clone()
        bias[bias.numel() // 2 :].zero_()
        a, b = F.linear(x, self.both.weight, bias).chunk(2, dim=-1)
        return self.out(a * torch.sigmoid(b))


def test_zeroing_in_place_changes_no_label():
    small = cut(SilentKeys(), torch.randn(5, 3))
    assert small.model.both.weight.shape == (8, 3)


class NoBiasForKeys(nn.Module):
    """A bias put together with a buffer of zeros, as in BEiT."""

    def __init__(self, keys: float) -> None:
        super().__init__()
        self.both, self.out = nn.Linear(3, 16, bias=False), nn.Linear(8, 2)
        self.queries = nn.Parameter(torch.ones(8))
        self.register_buffer("keys", torch.full((8,), keys), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        a, b = F.linear(x, self.both.weight, torch.cat([self.queries, self.keys])).chunk(2, dim=-1)
        return self.out(a) * self.out(b)


def test_a_buffer_is_silent_only_if_it_is_zero():
    inputs = torch.randn(5, 3)
    assert cut(NoBiasForKeys(0.0), inputs).model.keys.shape == (4,)
    found = units(NoBiasForKeys(1.0), inputs)
    assert found["both.weight"] in (0, 16)
    if found["both.weight"]:
        assert cut(NoBiasForKeys(1.0), inputs).proof.difference < 1e-9


class FilledPart(nn.Module):
    """Part of what is computed is overwritten with ones, which are heard."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x).clone()
        y[:, :4].fill_(1.0)
        return self.out(y)


def test_filling_in_place_with_something_else_keeps_what_is_filled():
    assert units(FilledPart(), torch.randn(5, 3))["first.weight"] == 4
    assert cut(FilledPart(), torch.randn(5, 3)).model.first.out_features == 6


class CosineHeads(nn.Module):
    """Attention of normalised queries and keys: the norm is spread over the width again."""

    def __init__(self, heads: int = 4, width: int = 6) -> None:
        super().__init__()
        self.num_heads, self.width = heads, width
        self.qkv, self.proj = nn.Linear(5, 3 * heads * width), nn.Linear(heads * width, 2)

    def forward(self, x: Tensor) -> Tensor:
        n, t, _ = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, -1))


def test_a_norm_that_is_spread_over_the_width_lets_heads_and_widths_go():
    inputs = torch.randn(2, 7, 5)
    assert units(CosineHeads(), inputs)["qkv.weight"] == 3 * 4 * 6
    assert cut(CosineHeads(), inputs).params < 300
    small = cut(CosineHeads(), inputs, granularity="head")
    assert small.model.qkv.out_features == 3 * 2 * 6


class SpreadOnes(nn.Module):
    """What is spread over channels is not zero where one of them goes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return (y * 0 + torch.ones(len(x), 1).expand(-1, 8)).sum(-1, keepdim=True)


def test_a_sum_over_what_was_spread_keeps_its_length():
    assert units(SpreadOnes(), torch.randn(5, 3))["first.weight"] == 0


class Added(nn.Module):
    """Something is added in place to a part of a tensor; the whole is read again, or not."""

    def __init__(self, *, again: bool) -> None:
        super().__init__()
        self.first, self.other, self.again = nn.Linear(3, 8), nn.Linear(3, 4), again
        self.out, self.rest = nn.Linear(4, 2), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        whole = torch.tanh(self.first(x))
        part = whole[:, :4]
        part += self.other(x)
        return self.out(part) + (self.rest(whole) if self.again else 0)


def test_a_part_that_nobody_reads_in_another_way_can_be_written_to():
    inputs = torch.randn(5, 3)
    assert units(Added(again=False), inputs)["other.weight"] == 4
    cut(Added(again=False), inputs)
    assert units(Added(again=True), inputs)["other.weight"] == 0


class NormAndMore(nn.BatchNorm1d):
    """A normalisation of the user's own, which also activates, as timm's."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(super().forward(x)) - 0.5 * x


class SizesInCode(nn.Module):
    """Its code says a size, so it becomes a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.out = nn.Linear(3, 8), NormAndMore(8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.norm(self.first(x)).reshape(-1, 2, 4).flatten(1))


def test_a_normalisation_that_does_more_does_it_once_in_a_graph():
    small = cut(SizesInCode(), torch.randn(6, 3))
    assert small.form == "graph"
    assert {type(m) for m in small.model.modules() if isinstance(m, nn.BatchNorm1d)} == {nn.BatchNorm1d}
