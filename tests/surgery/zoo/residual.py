"""Networks whose layers add to one stream, multiply it, or are run more than once."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.surgery.zoo.case import Case, conv_bn, normal, randomised


class Basic(nn.Module):
    """Two convolutions beside a shortcut: identity, 1x1 convolution ("B"), or strided slice and zero padding ("A")."""

    def __init__(self, inputs: int, outputs: int, stride: int, option: str) -> None:
        super().__init__()
        self.first = conv_bn(inputs, outputs, stride=stride)
        self.second = conv_bn(outputs, outputs)
        self.stride, self.extra = stride, outputs - inputs
        projects = option == "B" and (stride > 1 or inputs != outputs)
        self.shortcut = conv_bn(inputs, outputs, 1, stride=stride) if projects else nn.Identity()
        self.pads = option == "A" and (stride > 1 or inputs != outputs)

    def forward(self, x: Tensor) -> Tensor:
        out = self.second(F.relu(self.first(x)))
        if self.pads:
            half = self.extra // 2
            rest = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, self.extra - half))
        else:
            rest = self.shortcut(x)
        return F.relu(out + rest)


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, middle: int, stride: int = 1) -> None:
        super().__init__()
        self.reduce = conv_bn(inputs, middle, 1)
        self.spatial = conv_bn(middle, middle, stride=stride)
        self.widen = conv_bn(middle, 4 * middle, 1)
        fits = stride == 1 and inputs == 4 * middle
        self.shortcut = nn.Identity() if fits else conv_bn(inputs, 4 * middle, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.widen(F.relu(self.spatial(F.relu(self.reduce(x)))))
        return F.relu(out + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, stem: int, blocks: list[nn.Module], features: int) -> None:
        super().__init__()
        self.stem = conv_bn(3, stem)
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(features, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.stem(x)))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


def _cifar_resnet(blocks: int, option: str) -> nn.Module:
    widths = [4] * blocks + [8] * blocks + [16] * blocks
    before = [4, *widths[:-1]]
    parts: list[nn.Module] = [
        Basic(i, o, 2 if i != o else 1, option) for i, o in zip(before, widths, strict=True)
    ]  # fmt: skip
    return ResNet(4, parts, 16)


def resnet_20() -> nn.Module:
    return randomised(lambda: _cifar_resnet(3, "B"))


def resnet_56() -> nn.Module:
    return randomised(lambda: _cifar_resnet(9, "B"), seed=2)


def option_a() -> nn.Module:
    return randomised(lambda: _cifar_resnet(3, "A"))


def bottleneck() -> nn.Module:
    return randomised(lambda: ResNet(4, [Bottleneck(4, 4), Bottleneck(16, 4), Bottleneck(16, 6, 2)], 24))


class Inverted(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.expand = conv_bn(inputs, 3 * inputs, 1)
        self.depthwise = conv_bn(3 * inputs, 3 * inputs, stride=stride, groups=3 * inputs)
        self.project = conv_bn(3 * inputs, outputs, 1)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out = self.project(F.relu6(self.depthwise(F.relu6(self.expand(x)))))
        return x + out if self.adds else out


def mobilenet_v2() -> nn.Module:
    return randomised(lambda: ResNet(4, [Inverted(4, 4, 1), Inverted(4, 6, 2), Inverted(6, 6, 1)], 6))


class SqueezeExcitation(nn.Module):
    def __init__(self, channels: int, middle: int) -> None:
        super().__init__()
        self.body = conv_bn(channels, channels)
        self.squeeze = nn.Conv2d(channels, middle, 1)
        self.excite = nn.Conv2d(middle, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.body(x))
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(out.mean((2, 3), keepdim=True)))))
        return x + out * gate


def squeeze_excitation() -> nn.Module:
    return randomised(lambda: ResNet(8, [SqueezeExcitation(8, 3), SqueezeExcitation(8, 3)], 8), seed=1)


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, layer normalisation and two linear layers on channels last, layer scale."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, 4 * channels)
        self.narrow = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(torch.rand(channels) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        out = self.gamma * self.narrow(F.gelu(self.widen(out)))
        return x + out.permute(0, 3, 1, 2)


def convnext() -> nn.Module:
    return randomised(lambda: ResNet(6, [ConvNeXtBlock(6), ConvNeXtBlock(6)], 6))


class LayerScale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.up, self.down = nn.Linear(8, 12), nn.Linear(12, 8)
        self.gamma = nn.Parameter(torch.rand(8) + 0.5)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x + self.gamma * self.down(F.relu(self.up(x))))


def layer_scale() -> nn.Module:
    return randomised(LayerScale)


class SharedThrice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.shared = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        for _ in range(3):
            x = F.relu(self.shared(x))
        return self.head(x.mean((2, 3)))


def shared_thrice() -> nn.Module:
    return randomised(SharedThrice)


class InPlace(nn.Module):
    """Activations, sums and products written into the tensors that exist."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = conv_bn(3, 6), conv_bn(6, 6)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        out = self.body(x)
        out += x
        out *= 0.5
        out[:, :, 0] = 0.0  # a row of the picture is written over, for all channels
        out.relu_()
        return self.head(out.mean((2, 3)))


def in_place() -> nn.Module:
    return randomised(InPlace)


IMAGE = normal((2, 3, 16, 16))

CASES = (
    Case(
        name="resnet_20", build=resnet_20, args=IMAGE, expect="exact", exact=("stem.0", "blocks.*.0"),
        why="channels inside a block are free; a stage's stream (stem or 1x1 shortcut, each `second`) goes together",
    ),
    Case(
        name="resnet_56", build=resnet_56, args=IMAGE, expect="exact", exact=("stem.0", "blocks.*.0"),
        why="as resnet_20, with streams of ten layers",
    ),
    Case(
        name="bottleneck", build=bottleneck, args=IMAGE, expect="exact", exact=("stem.0", "blocks.*.0"),
        why="reduce and spatial are free; widen goes with its stage's stream, whose first member is the 1x1 shortcut",
    ),
    Case(
        name="option_a", build=option_a, args=IMAGE, expect="exact", exact=("stem.0", "blocks.*.0"),
        why="the wider stage's channel c is the narrower one's c - half where that exists, so they go together, and "
        "the padding's two amounts shrink; a channel that lies in the padding belongs to the wider stage alone",
    ),
    Case(
        name="mobilenet_v2", build=mobilenet_v2, args=IMAGE, expect="exact", exact=("stem.0", "blocks.*.0"),
        why="expand and depthwise go together (groups = channels shrinks with them); project with its stream",
    ),
    Case(
        name="squeeze_excitation", build=squeeze_excitation, args=IMAGE, expect="exact",
        exact=("stem.0", "blocks.*.body.0", "blocks.*.squeeze", "blocks.*.excite"),
        why="a gate multiplies: excite's output goes with the stream's channel, and 0 x sigmoid is 0; squeeze is free",
    ),
    Case(
        name="convnext", build=convnext, args=IMAGE, expect="changing",
        exact=("blocks.*.widen",),
        changing=("stem.0", "blocks.*.depthwise", "blocks.*.narrow", "blocks.*.gamma"),
        why="widen's units are exact; the stream, depthwise, narrow and gamma go together, and the layer normalisation "
        "over them changes",
    ),
    Case(
        name="layer_scale", build=layer_scale, args=normal((2, 6)), expect="exact",
        exact=("stem", "up", "down", "gamma"),
        why="gamma is a raw parameter of the stream: stem, down and gamma go together; up is free",
    ),
    Case(
        name="shared_thrice", build=shared_thrice, args=IMAGE, expect="exact", exact=("stem", "shared"),
        why="the shared layer reads what it makes: stem's outputs, its inputs and outputs, head's inputs are one set",
    ),
    Case(
        name="in_place", build=in_place, args=IMAGE, expect="exact", exact=("stem.0", "body.0"),
        why="as a residual block; relu_, +=, *= and a write into a row keep channels apart and zero at zero",
    ),
)  # fmt: skip
