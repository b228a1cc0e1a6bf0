"""Networks that divide, join, reorder or reduce the channel dimension itself."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.surgery.zoo.case import Case, conv_bn, normal, randomised


class C2f(nn.Module):
    """As in YOLOv8: half of the channels passes, the other half goes on through small residual blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.enter = conv_bn(3, 6), conv_bn(6, 8, 1)
        self.inner = nn.ModuleList(nn.Sequential(conv_bn(4, 4), nn.ReLU(), conv_bn(4, 4)) for _ in range(2))
        self.leave, self.head = conv_bn(16, 6, 1), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(F.relu(self.enter(F.relu(self.stem(x)))).chunk(2, 1))
        for block in self.inner:
            parts.append(parts[-1] + block(parts[-1]))
        return self.head(F.relu(self.leave(torch.cat(parts, 1))).mean((2, 3)))


def chunk_c2f() -> nn.Module:
    return randomised(C2f)


class Through(nn.Module):
    """stem -> an operation on the channel dimension -> body -> head."""

    def __init__(self, made: int, read: int) -> None:
        super().__init__()
        self.stem, self.body, self.head = conv_bn(3, made), nn.Conv2d(read, 6, 3), nn.Linear(6, 4)

    def between(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.body(self.between(self.stem(x)))).mean((2, 3)))


class Glu(Through):
    def between(self, x: Tensor) -> Tensor:
        return F.glu(x, dim=1)


class Roll(Through):
    def between(self, x: Tensor) -> Tensor:
        return torch.roll(F.relu(x), 3, dims=1)


class Flip(Through):
    def between(self, x: Tensor) -> Tensor:
        return F.relu(x).flip(1)


class IndexSelect(Through):
    def __init__(self) -> None:
        super().__init__(8, 8)
        self.register_buffer("order", torch.tensor([5, 0, 0, 3, 2, 1, 7, 6]))

    def between(self, x: Tensor) -> Tensor:
        return F.relu(x).index_select(1, self.order)


class CatConstants(Through):
    """Two constant maps of coordinates before the channels (CoordConv)."""

    def between(self, x: Tensor) -> Tensor:
        rows = torch.linspace(-1, 1, x.shape[2]).view(1, 1, -1, 1).expand(x.shape[0], 1, -1, x.shape[3])
        return torch.cat((rows, F.relu(x), torch.full_like(rows, 0.7)), 1)


class SliceChannels(Through):
    """The first channels are squared, the others are kept; written with slices."""

    def between(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        return torch.cat((x[:, 3:], x[:, :3] ** 2), 1)


class SplitUnequal(Through):
    def between(self, x: Tensor) -> Tensor:
        small, large = torch.split(F.relu(x), [3, 5], dim=1)
        return torch.cat((large, 2 * small), 1)


class SoftmaxChannels(Through):
    def between(self, x: Tensor) -> Tensor:
        return x.softmax(1)


class PerChannelBuffer(Through):
    def __init__(self) -> None:
        super().__init__(8, 8)
        self.register_buffer("scale", torch.rand(1, 8, 1, 1) + 0.5)

    def between(self, x: Tensor) -> Tensor:
        return F.relu(x) * self.scale


class PerChannelShift(Through):
    def __init__(self) -> None:
        super().__init__(8, 8)
        self.register_buffer("mean", torch.randn(8))

    def between(self, x: Tensor) -> Tensor:
        return F.relu(x) - self.mean[:, None, None]


class Reduced(Through):
    """The reduction over channels is left as a single map."""

    def __init__(self) -> None:
        super().__init__(8, 1)


class SumChannels(Reduced):
    def between(self, x: Tensor) -> Tensor:
        return F.relu(x).sum(1).unsqueeze(1)


class MeanChannels(Reduced):
    def between(self, x: Tensor) -> Tensor:
        return F.relu(x).mean(1, keepdim=True)


class MaxChannels(Reduced):
    def between(self, x: Tensor) -> Tensor:
        return torch.max(x, dim=1, keepdim=True).values


class SpatialAttention(nn.Module):
    """Mean and maximum over channels make a gate for every place (CBAM)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gate, self.body = conv_bn(3, 8), nn.Conv2d(2, 1, 3, padding=1), nn.Conv2d(8, 6, 3)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x * torch.sigmoid(self.gate(torch.cat((x.mean(1, keepdim=True), x.amax(1, keepdim=True)), 1)))
        return self.head(F.relu(self.body(x)).mean((2, 3)))


class Stack(nn.Module):
    """Two layers' channels interleaved: a0 b0 a1 b1 ..."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.body, self.head = conv_bn(3, 5), conv_bn(3, 5), nn.Conv2d(10, 6, 3), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.stack((F.relu(self.a(x)), F.relu(self.b(x))), 2).flatten(1, 2)
        return self.head(F.relu(self.body(x)).mean((2, 3)))


class ChannelShuffle(nn.Module):
    """A ShuffleNet unit: grouped 1x1, shuffle, depthwise, grouped 1x1."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.enter = conv_bn(3, 8), conv_bn(8, 16, 1, groups=2)
        self.depthwise, self.leave = conv_bn(16, 16, groups=16), conv_bn(16, 8, 1, groups=2)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        out = F.relu(self.enter(x))
        batch, channels, height, width = out.shape
        out = out.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(batch, channels, height, width)
        return self.head(F.relu(x + self.leave(self.depthwise(out))).mean((2, 3)))


IMAGE = normal((2, 3, 12, 12))
BOTH = ("stem.0", "body")

CASES = (
    Case(
        name="chunk_c2f", build=chunk_c2f, args=IMAGE, expect="exact",
        exact=("stem.0", "enter.0", "inner.*.*.0", "leave.0"),
        why="enter's first half is free, its second half goes with the third layer of every inner block; chunk(2) "
        "halves, so equal counts of both go (or the exported graph's split sizes are rewritten)",
    ),
    Case(
        name="glu", build=lambda: randomised(lambda: Glu(12, 6)), args=IMAGE, expect="exact", exact=BOTH,
        why="channel i and channel i + 6 of stem go together: 0 x sigmoid is 0, and the gate alone is no use",
    ),
    Case(
        name="roll", build=lambda: randomised(lambda: Roll(8, 8)), args=IMAGE, expect="exact", exact=BOTH,
        why="channel i is body's input (i + 3) mod 8; the shift becomes the number kept among the last three, which is "
        "written in the code: needs the exported graph, or frozen",
    ),
    Case(
        name="flip", build=lambda: randomised(lambda: Flip(8, 8)), args=IMAGE, expect="exact", exact=BOTH,
        why="channel i is body's input 7 - i; the code needs no change",
    ),
    Case(
        name="index_select", build=lambda: randomised(IndexSelect), args=IMAGE, expect="exact", exact=BOTH,
        why="channel 0 is read twice, 4 never; the buffer `order` is cut at the positions and renumbered, or frozen",
    ),
    Case(
        name="cat_constants", build=lambda: randomised(lambda: CatConstants(8, 10)), args=IMAGE, expect="exact",
        exact=BOTH, why="body's inputs 0 and 9 are constants and stay; channel i is input i + 1",
    ),
    Case(
        name="slice_channels", build=lambda: randomised(lambda: SliceChannels(8, 8)), args=IMAGE, expect="exact",
        exact=BOTH, why="the slice's border 3 becomes the number kept below it: written in the code, so exported graph",
    ),
    Case(
        name="split_unequal", build=lambda: randomised(lambda: SplitUnequal(8, 8)), args=IMAGE, expect="exact",
        exact=BOTH, why="as slice_channels: [3, 5] becomes what is kept of each",
    ),
    Case(
        name="softmax_channels", build=lambda: randomised(lambda: SoftmaxChannels(8, 8)), args=IMAGE,
        expect="changing", exact=("body",), changing=("stem.0",),
        why="a silenced channel still takes exp(0) of the sum, and is not zero after the softmax",
    ),
    Case(
        name="per_channel_buffer", build=lambda: randomised(PerChannelBuffer), args=IMAGE, expect="exact", exact=BOTH,
        why="the buffer (1, 8, 1, 1) is cut with the channels",
    ),
    Case(
        name="per_channel_shift", build=lambda: randomised(PerChannelShift), args=IMAGE, expect="exact", exact=BOTH,
        why="a silenced channel is -mean[i], a constant: it goes into the bias of body, which has no padding",
    ),
    Case(
        name="sum_channels", build=lambda: randomised(SumChannels), args=IMAGE, expect="exact", exact=BOTH,
        why="a silenced channel adds nothing to the sum",
    ),
    Case(
        name="mean_channels", build=lambda: randomised(MeanChannels), args=IMAGE, expect="changing", exact=("body",),
        changing=("stem.0",), why="the mean divides by the number of channels: exact only with the scale corrected",
    ),
    Case(
        name="max_channels", build=lambda: randomised(MaxChannels), args=IMAGE, expect="partly", exact=("body",),
        frozen=("stem.0",), why="values can be negative, so a silenced channel wins where all others are below zero",
    ),
    Case(
        name="spatial_attention", build=lambda: randomised(SpatialAttention), args=IMAGE, expect="partly",
        exact=("body",), frozen=("stem.0",), why="stem's channels meet a maximum over channels of either sign",
    ),
    Case(
        name="stack", build=lambda: randomised(Stack), args=IMAGE, expect="exact", exact=("a.0", "b.0", "body"),
        why="a's and b's channel i go together, as body's inputs 2i and 2i + 1",
    ),
    Case(
        name="channel_shuffle", build=lambda: randomised(ChannelShuffle), args=IMAGE, expect="exact",
        exact=("stem.0", "enter.0", "depthwise.0", "leave.0"),
        why="channel (g, k) of enter becomes 2k + g, and leave reads k < 4 in its first group: equal counts in each of "
        "the 2 x 2 cells (made by group, read by group), with the depthwise layer; stem and leave (residual) are one "
        "stream with equal counts in both groups",
    ),
)  # fmt: skip
