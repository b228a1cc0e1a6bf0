"""Small networks that several tests of surgery cut."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.surgery.zoo.case import randomised


class Residual(nn.Module):
    """A stem, a residual block with batch normalisations, a head: cut as the user's own class."""

    def __init__(self) -> None:
        super().__init__()
        # no shift before a normalisation: its gradient would be nothing but rounding
        self.stem, self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Conv2d(8, 6, 3, padding=1, bias=False)
        self.second = nn.Conv2d(6, 8, 3, padding=1)
        self.norm, self.inner = nn.BatchNorm2d(8), nn.BatchNorm2d(6)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = x + self.second(F.relu(self.inner(self.first(x))))
        return self.head(F.relu(x).mean((2, 3)))


class Written(nn.Module):
    """A convolution, a module between, and a view with its size written out: cut as a graph."""

    def __init__(self, between: nn.Module | None = None) -> None:
        super().__init__()
        self.conv, self.between = nn.Conv2d(3, 8, 3, padding=1), between or nn.Identity()
        self.hidden, self.head = nn.Linear(128, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.silu(self.hidden(self.between(self.conv(x)).view(-1, 128))))


class Grouped(nn.Module):
    """A grouped convolution between two others: equally many channels must remain in each of three groups."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 12, 1), nn.Conv2d(12, 12, 3, padding=1, groups=3)
        self.c, self.head = nn.Conv2d(12, 9, 1), nn.Linear(9, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.c(F.relu(self.b(F.relu(self.a(x)))))).mean((2, 3)))


class Tied(nn.Module):
    """Tokens, an embedding whose table is the decoder's weight too, and hidden units between."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.down, self.up = nn.Embedding(11, 8), nn.Linear(8, 6), nn.Linear(6, 8)
        self.decode = nn.Linear(8, 11, bias=False)
        self.decode.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(F.gelu(self.up(F.gelu(self.down(self.embed(x))))))


def residual() -> nn.Module:
    return randomised(Residual)


def written(between: nn.Module | None = None) -> nn.Module:
    return randomised(lambda: Written(between))


def grouped() -> nn.Module:
    return randomised(Grouped)


def tied() -> nn.Module:
    return randomised(Tied)


def pictures(n: int = 4, *, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(seed))


def words(n: int = 4) -> Tensor:
    return torch.randint(0, 11, (n, 5), generator=torch.Generator().manual_seed(0))
