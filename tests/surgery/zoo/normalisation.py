"""Normalisations, of which some look at one channel and some across channels."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from tests.surgery.zoo.case import Case, normal, randomised


def _between(middle: nn.Module) -> nn.Sequential:
    """Two convolutions without padding and a linear layer; `middle` stands after the first."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), middle, nn.ReLU(), nn.Conv2d(8, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 4),
    )  # fmt: skip


def group_norm() -> nn.Module:
    return randomised(lambda: _between(nn.GroupNorm(4, 8)))


def batch_norm_plain() -> nn.Module:
    return randomised(lambda: _between(nn.BatchNorm2d(8, affine=False)))


def batch_norm_of_batch() -> nn.Module:
    return randomised(lambda: _between(nn.BatchNorm2d(8, track_running_stats=False)))


def instance_norm() -> nn.Module:
    return randomised(lambda: _between(nn.InstanceNorm2d(8, affine=True)))


def local_response_norm() -> nn.Module:
    return randomised(lambda: _between(nn.LocalResponseNorm(3, alpha=0.5)))


def layer_norm_mlp() -> nn.Module:
    return randomised(
        lambda: nn.Sequential(
            nn.Linear(6, 10), nn.LayerNorm(10), nn.GELU(), nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 4)
        )
    )


def rms_norm_mlp() -> nn.Module:
    return randomised(
        lambda: nn.Sequential(nn.Linear(6, 10), nn.RMSNorm(10), nn.SiLU(), nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 4))
    )


class HandWrittenRms(nn.Module):
    """As in language models: the mean of squares, written out."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.hidden, self.head = nn.Linear(6, 10), nn.Linear(10, 8), nn.Linear(8, 4)
        self.scale = nn.Parameter(torch.rand(10) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        x = self.scale * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))
        return self.head(F.relu(self.hidden(x)))


def hand_written_rms() -> nn.Module:
    return randomised(HandWrittenRms)


class CosineHead(nn.Module):
    """Logits are cosines between features and class directions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.features = nn.Linear(6, 10), nn.Linear(10, 8)
        self.directions = nn.Parameter(torch.randn(4, 8))

    def forward(self, x: Tensor) -> Tensor:
        features = self.features(F.relu(self.first(x)))
        return 10 * F.normalize(features, dim=1) @ F.normalize(self.directions, dim=1).T


def cosine_head() -> nn.Module:
    return randomised(CosineHead)


def weight_norm() -> nn.Module:
    def make() -> nn.Module:
        layers = (parametrizations.weight_norm(layer) for layer in (nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 3)))
        first, second = layers
        for layer in (first, second):
            nn.init.uniform_(layer.parametrizations.weight.original0, 0.5, 2.0)
        return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(384, 4))

    return randomised(make)


def spectral_norm() -> nn.Module:
    def make() -> nn.Module:
        hidden = parametrizations.spectral_norm(nn.Linear(10, 8))
        return nn.Sequential(nn.Linear(6, 10), nn.ReLU(), hidden, nn.ReLU(), nn.Linear(8, 4))

    return randomised(make)


IMAGE, ROWS = normal((2, 3, 12, 12)), normal((2, 6))

CASES = (
    Case(
        name="group_norm", build=group_norm, args=IMAGE, expect="changing", exact=("3",), changing=("0",),
        why="statistics over two channels each: equal counts per group, and they change; a whole group of two "
        "channels with `num_groups` lowered is exact",
    ),
    Case(
        name="batch_norm_plain", build=batch_norm_plain, args=IMAGE, expect="exact", exact=("0", "3"),
        why="no scale or shift to silence: the channel becomes -mean / sd, a constant that goes into the bias of 3 "
        "(no padding), or the mask also zeroes the running mean",
    ),
    Case(
        name="batch_norm_of_batch", build=batch_norm_of_batch, args=IMAGE, expect="exact", exact=("0", "3"),
        why="statistics of the batch, of each channel by itself; a silenced channel is its shift, silenced too",
    ),
    Case(
        name="instance_norm", build=instance_norm, args=IMAGE, expect="exact", exact=("0", "3"),
        why="statistics of each picture's channel by itself",
    ),
    Case(
        name="local_response_norm", build=local_response_norm, args=IMAGE, expect="changing", exact=("3",),
        changing=("0",), why="a window over neighbouring channels: with one gone, others become neighbours",
    ),
    Case(
        name="layer_norm_mlp", build=layer_norm_mlp, args=ROWS, expect="changing", exact=("3",), changing=("0",),
        why="mean and variance over the units change",
    ),
    Case(
        name="rms_norm_mlp", build=rms_norm_mlp, args=ROWS, expect="changing", exact=("3",), changing=("0",),
        why="the mean of squares divides by the number of units; it is exact when weight and eps are rescaled: "
        "weight x sqrt(old / new), eps x old / new",
    ),
    Case(
        name="hand_written_rms", build=hand_written_rms, args=ROWS, expect="changing", exact=("hidden",),
        changing=("embed", "scale"), why="as rms_norm_mlp, from single operations; embed and scale go together",
    ),
    Case(
        name="cosine_head", build=cosine_head, args=ROWS, expect="changing", exact=("first",), changing=("features",),
        why="the features' own norm does not notice a zero, but the directions lose a coordinate and with it length",
    ),
    Case(
        name="weight_norm", build=weight_norm, args=IMAGE, expect="exact", exact=("0", "2"),
        why="outputs: rows of both originals, silenced by the magnitude g (a direction of zeros is 0 / 0); "
        "inputs: the direction v loses a column, so its length changes: the "
        "magnitude is corrected to g x |v'| / |v|, or the parametrisation is removed before",
    ),
    Case(
        name="spectral_norm", build=spectral_norm, args=ROWS, expect="exact", exact=("0", "2"),
        why="the largest singular value of what is left is another: the weight has to be made plain before the cut "
        "(or the tool refuses 0 and 2 and says so)",
    ),
)  # fmt: skip
