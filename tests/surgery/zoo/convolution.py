"""Plain convolution networks and what stands between convolutions."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.surgery.zoo.case import Case, conv_bn, normal, randomised


class DenseNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 6)
        self.layers = nn.ModuleList(conv_bn(6 + 4 * i, 4) for i in range(3))
        self.transition = conv_bn(18, 9, 1)
        self.head = nn.Linear(9, 5)

    def forward(self, x: Tensor) -> Tensor:
        features = [F.relu(self.stem(x))]
        for layer in self.layers:
            features.append(F.relu(layer(torch.cat(features, 1))))
        x = F.avg_pool2d(F.relu(self.transition(torch.cat(features, 1))), 2)
        return self.head(x.mean((2, 3)))


def densenet() -> nn.Module:
    return randomised(DenseNet)


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.middle = conv_bn(3, 4), conv_bn(4, 8), conv_bn(8, 12)
        self.up2, self.merge2 = nn.ConvTranspose2d(12, 8, 2, 2), conv_bn(16, 8)
        self.up1, self.merge1 = nn.ConvTranspose2d(8, 4, 2, 2), conv_bn(8, 4)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = F.relu(self.down1(x))
        second = F.relu(self.down2(F.max_pool2d(first, 2)))
        deep = F.relu(self.middle(F.max_pool2d(second, 2)))
        deep = F.relu(self.merge2(torch.cat((second, self.up2(deep)), 1)))
        return self.head(F.relu(self.merge1(torch.cat((first, self.up1(deep)), 1))))


def unet() -> nn.Module:
    return randomised(UNet)


class Inception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 6)
        self.one, self.three, self.five, self.pooled = (conv_bn(6, n, k) for n, k in ((4, 1), (5, 3), (3, 5), (2, 1)))
        self.mix = conv_bn(20, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        pool = F.max_pool2d(x, 3, 1, 1)
        branches = (self.one(x), self.three(x), self.five(x), self.pooled(F.avg_pool2d(x, 3, 1, 1)), pool)
        return self.head(F.relu(self.mix(torch.cat(branches, 1))).mean((2, 3)))


def inception() -> nn.Module:
    return randomised(Inception)


def flatten_conv_fc() -> nn.Module:
    return randomised(
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(),
            nn.Linear(96, 10), nn.ReLU(), nn.Linear(10, 4),
        )
    )  # fmt: skip


class HardCodedView(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.hidden, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(128, 10), nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv(x)), 4)
        return self.head(F.relu(self.hidden(x.view(-1, 8 * 16))))


def hard_coded_view() -> nn.Module:
    return randomised(HardCodedView)


def _sequence(*layers: nn.Module) -> nn.Sequential:
    """Layers, then the mean over the picture (of any number of dimensions) and a linear head."""
    sizes = [layer.out_channels for layer in layers if hasattr(layer, "out_channels")]
    return nn.Sequential(*layers, nn.Flatten(2), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(sizes[-1], 4))


def grouped_conv() -> nn.Module:
    return randomised(
        lambda: _sequence(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1, groups=2), nn.BatchNorm2d(12),
            nn.ReLU(), nn.Conv2d(12, 8, 3, groups=4), nn.ReLU(),
        )
    )  # fmt: skip


def dilated_conv() -> nn.Module:
    return randomised(
        lambda: _sequence(
            nn.Conv2d(3, 6, 3, padding=2, dilation=2), nn.ReLU(),
            nn.Conv2d(6, 8, 3, padding="same", dilation=3, padding_mode="reflect"), nn.Tanh(),
            nn.Conv2d(8, 6, (1, 3), padding=(0, 1), padding_mode="circular"), nn.SiLU(),
        )
    )  # fmt: skip


def conv_1d() -> nn.Module:
    return randomised(
        lambda: _sequence(
            nn.Conv1d(3, 6, 5, padding=2), nn.BatchNorm1d(6), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(6, 8, 3), nn.ELU()
        )
    )


def conv_3d() -> nn.Module:
    return randomised(
        lambda: _sequence(
            nn.Conv3d(2, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(), nn.AvgPool3d(2), nn.Conv3d(4, 6, 3), nn.ReLU()
        )
    )


def transposed_grouped() -> nn.Module:
    return randomised(
        lambda: _sequence(
            nn.Conv2d(3, 8, 3), nn.ReLU(),
            nn.ConvTranspose2d(8, 12, 3, 2, padding=1, output_padding=1, groups=2), nn.BatchNorm2d(12), nn.ReLU(),
            nn.ConvTranspose2d(12, 12, 2, groups=12), nn.ReLU(), nn.Conv2d(12, 6, 1), nn.ReLU(),
        )
    )  # fmt: skip


class PixelShuffle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.widen = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 24, 3, padding=1)
        self.after, self.head = nn.Conv2d(6, 5, 3, padding=1), nn.Conv2d(20, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.pixel_shuffle(self.widen(F.relu(self.stem(x))), 2))
        return self.head(F.pixel_unshuffle(F.relu(self.after(x)), 2))


def pixel_shuffle() -> nn.Module:
    return randomised(PixelShuffle)


class SqueezeUnsqueeze(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate, self.head = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x))
        pooled = F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1)
        x = x * torch.sigmoid(self.gate(pooled)).unsqueeze(2)[..., None]
        return self.head(x.mean((2, 3)))


def squeeze_unsqueeze() -> nn.Module:
    return randomised(SqueezeUnsqueeze)


class Interpolate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.small, self.head = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, 2, 1), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        small = F.interpolate(self.small(x), size=x.shape[-2:], mode="bilinear", align_corners=False)
        return self.head(F.interpolate(x + small, scale_factor=0.5, mode="area"))


def interpolate() -> nn.Module:
    return randomised(Interpolate)


def upsample() -> nn.Module:
    return randomised(
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(6, 5, 3, padding=1), nn.ReLU(),
            nn.Upsample(scale_factor=2, mode="bicubic"), nn.ReflectionPad2d(1), nn.Conv2d(5, 2, 3),
        )
    )  # fmt: skip


class DecoderView(nn.Module):
    """A linear layer whose outputs become maps, as in decoders and generators: six channels of 4 x 3."""

    def __init__(self) -> None:
        super().__init__()
        self.latent, self.norm = nn.Linear(5, 72), nn.BatchNorm1d(72)
        self.up, self.out = nn.ConvTranspose2d(6, 8, 4, 2, 1), nn.Conv2d(8, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.norm(self.latent(x)).relu().view(-1, 6, 4, 3)
        return self.out(self.up(maps).relu())


def decoder_unflatten() -> nn.Module:
    """The same in modules, whose normalisation and resizing come first."""
    return randomised(
        lambda: nn.Sequential(
            nn.Linear(5, 72), nn.Unflatten(1, (6, 4, 3)), nn.BatchNorm2d(6), nn.Upsample(scale_factor=2), nn.ReLU(),
            nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1),
        )
    )  # fmt: skip


def depthwise_multiplied() -> nn.Module:
    """Two outputs for each channel, in a residual block's place."""
    return randomised(
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 12, 3, groups=6), nn.ReLU(), nn.Conv2d(12, 6, 1), nn.ReLU(),
            nn.Conv2d(6, 2, 1),
        )
    )  # fmt: skip


def prelu() -> nn.Module:
    def make() -> nn.Module:
        model = _sequence(nn.Conv2d(3, 6, 3), nn.PReLU(6), nn.Conv2d(6, 8, 3), nn.PReLU())
        nn.init.uniform_(model[1].weight, 0.1, 0.9)
        return model

    return randomised(make)


def dropout_2d() -> nn.Module:
    return randomised(
        lambda: _sequence(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Dropout2d(0.5), nn.Conv2d(6, 8, 3), nn.ReLU())
    )


def sigmoid_conv() -> nn.Module:
    return randomised(lambda: _sequence(nn.Conv2d(3, 6, 3), nn.Sigmoid(), nn.Conv2d(6, 8, 3), nn.ReLU()))


def sigmoid_padded_conv() -> nn.Module:
    return randomised(lambda: _sequence(nn.Conv2d(3, 6, 3), nn.Sigmoid(), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU()))


IMAGE = normal((2, 3, 16, 16))

CASES = (
    Case(
        name="densenet", build=densenet, args=IMAGE, expect="exact", exact=("stem.0", "layers.*.0", "transition.0"),
        why="each channel is read at one offset by every later layer; nothing else goes with it",
    ),
    Case(
        name="unet", build=unet, args=IMAGE, expect="exact",
        exact=("down*.0", "middle.0", "up*", "merge*.0"),
        why="transposed weights hold outputs in dimension 1; skips are offsets in the concatenations",
    ),
    Case(
        name="inception", build=inception, args=IMAGE, expect="exact",
        exact=("stem.0", "one.0", "three.0", "five.0", "pooled.0", "mix.0"),
        why="five offsets in one concatenation, of which the last passes the stem's own channels through a pooling",
    ),
    Case(
        name="flatten_conv_fc", build=flatten_conv_fc, args=IMAGE, expect="exact", exact=("0", "5"),
        why="a channel is 16 neighbouring inputs of the linear layer",
    ),
    Case(
        name="hard_coded_view", build=hard_coded_view, args=IMAGE, expect="exact", exact=("conv", "hidden"),
        why="as flatten_conv_fc, but view(-1, 128) is written in the code: the batch would change silently; needs the "
        "exported graph with the number rewritten (a tool that keeps the user's code refuses conv, with the line)",
    ),
    Case(
        name="grouped_conv", build=grouped_conv, args=IMAGE, expect="exact", exact=("0", "2", "5"),
        why="equal counts per group: of 0's channels in each of 2 groups; of 2's channels in each (2 made) x (4 read) "
        "cell; of 5's in each of 4",
    ),
    Case(
        name="dilated_conv", build=dilated_conv, args=IMAGE, expect="exact", exact=("0", "2", "4"),
        why="dilation, strides and padding modes do not touch channels",
    ),
    Case(name="conv_1d", build=conv_1d, args=normal((2, 3, 20)), expect="exact", exact=("0", "4"), why="a chain"),
    Case(name="conv_3d", build=conv_3d, args=normal((2, 2, 8, 8, 8)), expect="exact", exact=("0", "4"), why="a chain"),
    Case(
        name="transposed_grouped", build=transposed_grouped, args=IMAGE, expect="exact", exact=("0", "2", "5", "7"),
        why="transposed, grouped: weight (inputs, outputs / groups); 0 keeps equal counts per group; 2 keeps equal "
        "counts per group it makes, and goes with the depthwise 5",
    ),
    Case(
        name="pixel_shuffle", build=pixel_shuffle, args=IMAGE, expect="exact", exact=("stem", "widen", "after"),
        why="four neighbouring channels of widen are one channel after the shuffle and go together; one channel of "
        "`after` is four neighbouring inputs of head",
    ),
    Case(
        name="squeeze_unsqueeze", build=squeeze_unsqueeze, args=IMAGE, expect="exact", exact=("conv", "gate"),
        why="conv's and gate's channels are one set, which gate also reads",
    ),
    Case(
        name="interpolate", build=interpolate, args=IMAGE, expect="exact", exact=("stem", "small"),
        why="resizing keeps channels apart; the sum couples stem and small",
    ),
    Case(name="upsample", build=upsample, args=IMAGE, expect="exact", exact=("0", "3"), why="a chain with resizing"),
    Case(
        name="decoder_view", build=lambda: randomised(DecoderView), args=normal((2, 5)), expect="exact",
        exact=("latent", "up"), why="twelve outputs of `latent` are one channel of `up`: needs the graph for its 6",
    ),
    Case(
        name="decoder_unflatten", build=decoder_unflatten, args=normal((2, 5)), expect="exact",
        exact=("0", "5"), why="as decoder_view; the module that unflattens says the sizes",
    ),
    Case(
        name="depthwise_multiplied", build=depthwise_multiplied, args=IMAGE, expect="exact", exact=("0", "2", "4"),
        why="each channel goes with the two that are made of it",
    ),
    Case(
        name="prelu", build=prelu, args=IMAGE, expect="exact", exact=("0", "2"),
        why="the first PReLU's slopes are cut with the channels; the second's single slope stays",
    ),
    Case(name="dropout_2d", build=dropout_2d, args=IMAGE, expect="exact", exact=("0", "3"), why="a chain"),
    Case(
        name="sigmoid_conv", build=sigmoid_conv, args=IMAGE, expect="exact", exact=("0", "2"),
        why="sigmoid(0) = 1/2: a silenced channel is constant, and 1/2 x the sum of its kernel goes into 2's bias",
    ),
    Case(
        name="sigmoid_padded_conv", build=sigmoid_padded_conv, args=IMAGE, expect="partly", exact=("2",), frozen=("0",),
        why="the constant 1/2 meets zero padding, so it does not reach the border as a bias would: 0 must stay, unless "
        "the mask is applied after the sigmoid",
    ),
)  # fmt: skip
