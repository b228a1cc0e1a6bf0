"""What no tool can take apart, or only in part: it must be refused or frozen with a reason, and nothing may crash."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.surgery.zoo.case import Case, conv_bn, normal, randomised


class Branching(nn.Module):
    """Which branch runs depends on the data."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b, self.head = nn.Linear(6, 8), nn.Linear(8, 7), nn.Linear(8, 7), nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        return self.head(F.relu(self.a(x) if x.sum() > 3 else self.b(x)))


class Selected(nn.Module):
    """As many rows as the data has positive sums: a size that depends on the data."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(6, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        return self.head(x[x.sum(1) > -1]).sum(0)


class Middle(nn.Module):
    """stem -> something -> body -> relu -> head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body, self.head = conv_bn(3, 8), nn.Conv2d(8, 6, 3), nn.Linear(6, 4)

    def between(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.body(self.between(self.stem(x)))).mean((2, 3)))


class Fourier(Middle):
    """A Fourier transform over the channels."""

    def between(self, x: Tensor) -> Tensor:
        return torch.fft.fft(x, dim=1).real


class Sorted(Middle):
    def between(self, x: Tensor) -> Tensor:
        return x.sort(dim=1).values


class Cumulative(Middle):
    def between(self, x: Tensor) -> Tensor:
        return x.cumsum(1)


class Doubled(torch.autograd.Function):
    """Twice the input, with a gradient of its own."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, grad):
        return 3 * grad


class OwnFunction(Middle):
    def between(self, x: Tensor) -> Tensor:
        return Doubled.apply(x)


class Counting(Middle):
    """Counts its runs in a Python number."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = 0

    def between(self, x: Tensor) -> Tensor:
        self.runs += 1
        return F.relu(x)


class CountingBuffer(Middle):
    """Counts its runs in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("runs", torch.zeros((), dtype=torch.long))

    def between(self, x: Tensor) -> Tensor:
        self.runs += 1
        return F.relu(x)


class Noisy(Middle):
    """Random numbers in evaluation mode too."""

    def between(self, x: Tensor) -> Tensor:
        return F.relu(x) + torch.randn_like(x)


class ThroughNumpy(Middle):
    """A way through NumPy, which no trace follows."""

    def between(self, x: Tensor) -> Tensor:
        return torch.from_numpy(x.detach().numpy().clip(0, None))


class LocalMeans(Middle):
    """unfold and a matrix product instead of a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 72))

    def between(self, x: Tensor) -> Tensor:
        columns = self.weight @ F.unfold(F.relu(x), 3, padding=1)
        return F.relu(columns.view(x.shape[0], 8, *x.shape[2:]))


class ChannelAttention(Middle):
    """Channels attend to channels: a matrix of channels by channels."""

    def between(self, x: Tensor) -> Tensor:
        flat = F.relu(x).flatten(2)
        return ((flat @ flat.transpose(1, 2) / flat.shape[2]).softmax(-1) @ flat).view_as(x)


class GramMatrix(nn.Module):
    """Bilinear pooling: products of all pairs of channels, flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = conv_bn(3, 6), nn.Linear(36, 4)

    def forward(self, x: Tensor) -> Tensor:
        flat = F.relu(self.stem(x)).flatten(2)
        return self.head((flat @ flat.transpose(1, 2)).flatten(1) / flat.shape[2])


IMAGE, ROWS = normal((2, 3, 8, 8)), normal((2, 6))
BOTH = ("stem.0", "body")


def _case(name: str, kind: type[nn.Module], **answer) -> Case:
    return Case(name=name, build=lambda: randomised(kind), args=IMAGE, **answer)


CASES = (
    Case(
        name="data_dependent_branch", build=lambda: randomised(Branching), args=ROWS, expect="refused",
        frozen=("stem", "a", "b"), exports=False,
        why="a trace would see one branch only; the line of the `if` is the reason",
    ),
    Case(
        name="data_dependent_size", build=lambda: randomised(Selected), args=ROWS, expect="exact", exact=("stem",),
        why="the number of rows depends on the data, the units do not; their sum is compared with a constant",
    ),
    _case("fourier", Fourier, expect="partly", exact=("body",), frozen=("stem.0",), why="each output mixes all"),
    _case("sorted_channels", Sorted, expect="partly", exact=("body",), frozen=("stem.0",), why="a zero moves"),
    _case(
        "cumulative_sum", Cumulative, expect="partly", exact=("body",), frozen=("stem.0",),
        why="each output holds all channels before it: a silenced one repeats its neighbour, it is not zero",
    ),
    _case(
        "own_autograd_function", OwnFunction, expect="exact", exact=BOTH,
        why="only the forward computation matters; where the graph is emitted, the gradient of its own is lost: say so",
    ),
    _case("python_counter", Counting, expect="exact", exact=BOTH, why="tracing must not leave the counter changed"),
    _case(
        "buffer_counter", CountingBuffer, expect="exact", exact=BOTH,
        why="a buffer without units, which each run writes: neither tracing nor the proof may leave it changed",
    ),
    _case(
        "random_numbers", Noisy, expect="partly", exact=("body",), frozen=("stem.0",),
        why="a silenced channel is noise, and with fewer channels other numbers are drawn; body's are proved by "
        "runs under one seed, and the caller's random state stays",
    ),
    _case("through_numpy", ThroughNumpy, expect="refused", frozen=BOTH, exports=False, why="the trace breaks"),
    _case(
        "unfold_matmul", LocalMeans, expect="exact", exact=("stem.0", "weight", "body"),
        why="channel c of stem is columns 9c .. 9c + 8 of weight; its rows are free; 8 is written in the code",
    ),
    _case(
        "channel_attention", ChannelAttention, expect="changing", exact=("body",), changing=("stem.0",),
        why="a softmax over channels: a silenced one takes its share of the sum",
    ),
    Case(
        name="gram_matrix", build=lambda: randomised(GramMatrix), args=IMAGE, expect="exact", exact=("stem.0",),
        why="channel c is row c and column c of the matrix: head's inputs 6c + j and 6j + c, exact",
    ),
)  # fmt: skip
