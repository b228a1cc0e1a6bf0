"""Linear layers, embeddings, raw matrices and tied weights."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.surgery.zoo.case import Case, normal, randomised, tokens


class SwiGlu(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gate, self.up = nn.Linear(6, 8), nn.Linear(8, 12), nn.Linear(8, 12)
        self.down, self.head = nn.Linear(12, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x + self.down(F.silu(self.gate(x)) * self.up(x)))


class MatMul(nn.Module):
    """Products with raw parameters, in three ways."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.randn(6, 10)), nn.Parameter(torch.randn(10, 8))
        self.shift, self.last = nn.Parameter(torch.randn(8)), nn.Parameter(torch.randn(4, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x @ self.first)
        x = F.relu(torch.addmm(self.shift, x, self.second))
        return x.matmul(self.last.t())


class EinsumConvolution(nn.Module):
    """1x1 convolutions written as einsum."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.randn(8, 3)), nn.Parameter(torch.randn(6, 8))
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(torch.einsum("bchw,dc->bdhw", x, self.first))
        return self.head(F.relu(torch.einsum("bchw,dc->bdhw", x, self.second)).mean((2, 3)))


class TiedDecoder(nn.Module):
    """Embedding and decoder share one tensor, and nothing else links their features."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.up, self.down = nn.Embedding(11, 8), nn.Linear(8, 12), nn.Linear(12, 8)
        self.decoder = nn.Linear(8, 11)
        self.decoder.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.down(F.relu(self.up(self.embed(x)))))


class TiedAutoencoder(nn.Module):
    """The decoder uses the encoder's weights, transposed at each run."""

    def __init__(self) -> None:
        super().__init__()
        self.outer, self.inner = nn.Linear(12, 8), nn.Linear(8, 5)
        self.shift = nn.Parameter(torch.randn(8))

    def forward(self, x: Tensor) -> Tensor:
        code = torch.tanh(self.inner(torch.tanh(self.outer(x))))
        back = torch.tanh(F.linear(code, self.inner.weight.T, self.shift))
        return F.linear(back, self.outer.weight.T)


def tied_storage() -> nn.Module:
    """Two parameters, one storage: the decoder's weight is a transposed view of the encoder's."""

    def make() -> nn.Module:
        encoder, decoder = nn.Linear(12, 5), nn.Linear(5, 12)
        decoder.weight = nn.Parameter(encoder.weight.detach().T)
        return nn.Sequential(encoder, nn.Tanh(), decoder)

    return randomised(make)


class TwinLinear(nn.Module):
    """One layer under two names, run on the two halves of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(6, 8)
        self.right = self.left
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat((F.relu(self.left(x[:, :6])), F.relu(self.right(x[:, 6:]))), 1))


class EmbeddingMean(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.hidden, self.head = nn.Embedding(11, 8, padding_idx=0), nn.Linear(8, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.hidden(self.embed(x).mean(1))))


def embedding_bag() -> nn.Module:
    return randomised(
        lambda: nn.Sequential(nn.EmbeddingBag(11, 8, mode="mean"), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4))
    )


class Bilinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.pair = nn.Linear(6, 7), nn.Linear(5, 8), nn.Bilinear(7, 8, 6)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.head(F.elu(self.pair(torch.tanh(self.left(x)), F.elu(self.right(y)))))


def sigmoid_linear() -> nn.Module:
    return randomised(
        lambda: nn.Sequential(
            nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 7), nn.Softplus(), nn.Linear(7, 4, bias=False)
        )
    )


def batch_norm_mlp() -> nn.Module:
    return randomised(
        lambda: nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.LeakyReLU(), nn.Linear(8, 8), nn.ReLU(), nn.BatchNorm1d(8),
            nn.Dropout(), nn.Linear(8, 4),
        )
    )  # fmt: skip


def dead_units() -> nn.Module:
    """Units that a mask has emptied, or whose activation never leaves zero, or that nobody reads."""

    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6), nn.Sigmoid(), nn.Linear(6, 4))

    model = randomised(make)
    with torch.no_grad():
        model[0].weight[2] = 0.0  # constant relu(bias)
        model[0].bias[2] = 0.8
        model[0].weight[5], model[0].bias[5] = 0.0, -0.5  # always zero
        model[2].weight[:, 3] = 0.0  # unit 3 of the first layer is read by nobody
        model[2].weight[1] = 0.0  # constant sigmoid(bias)
    return model


def deep_mlp() -> nn.Module:
    return randomised(lambda: _deep([layer for _ in range(400) for layer in (nn.Linear(8, 8), nn.LeakyReLU(0.98))]))


def deep_convolutions() -> nn.Module:
    return randomised(
        lambda: _deep([layer for _ in range(400) for layer in (nn.Conv2d(4, 4, 3, padding=1), nn.LeakyReLU(0.98))])
    )


def _deep(layers: list[nn.Module]) -> nn.Module:
    """Layers that neither shrink nor blow up what they get, so that the first is still heard behind the last."""
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.orthogonal_(layer.weight)
        elif isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, 0.0, 0.01)
            layer.weight[:, :, 1, 1] += nn.init.orthogonal_(torch.empty(4, 4))
    return nn.Sequential(*layers)


ROWS = normal((2, 6))

CASES = (
    Case(
        name="swiglu", build=lambda: randomised(SwiGlu), args=ROWS, expect="exact",
        exact=("stem", "gate", "up", "down"), why="gate and up go together; stem and down are the stream",
    ),
    Case(
        name="matmul_parameter", build=lambda: randomised(MatMul), args=ROWS, expect="exact",
        exact=("first", "second", "shift"),
        why="raw matrices hold outputs in dimension 1; shift goes with second; no module holds a size",
    ),
    Case(
        name="einsum_convolution", build=lambda: randomised(EinsumConvolution), args=normal((2, 3, 8, 8)),
        expect="exact", exact=("first", "second"), why="the contracted letter is the input, the new letter the output",
    ),
    Case(
        name="tied_decoder", build=lambda: randomised(TiedDecoder), args=tokens(11, 2, 5), expect="exact",
        exact=("embed", "up", "down"),
        why="feature u of embed is column u of the decoder, hence output u of down: one set; one tensor must be left "
        "afterwards too; vocabulary rows stay",
    ),
    Case(
        name="tied_autoencoder", build=lambda: randomised(TiedAutoencoder), args=normal((2, 12)), expect="exact",
        exact=("outer", "inner", "shift"),
        why="outer's row u, inner's column u and shift's entry u are one set, used in both directions; inner is free",
    ),
    Case(
        name="tied_storage", build=tied_storage, args=normal((2, 12)), expect="exact", exact=("0",),
        why="row u of the encoder is column u of the decoder; afterwards still one storage",
    ),
    Case(
        name="twin_linear", build=lambda: randomised(TwinLinear), args=normal((2, 12)), expect="exact",
        exact=("left",), why="unit u is head's input u and 8 + u; both names must see the one smaller layer",
    ),
    Case(
        name="embedding_mean", build=lambda: randomised(EmbeddingMean), args=tokens(11, 2, 5), expect="exact",
        exact=("embed", "hidden"), why="features of the embedding are units, vocabulary rows are not",
    ),
    Case(
        name="embedding_bag", build=embedding_bag, args=tokens(11, 2, 5), expect="exact", exact=("0", "1"),
        why="as embedding_mean",
    ),
    Case(
        name="bilinear", build=lambda: randomised(Bilinear), args=normal((2, 6), (2, 5)), expect="exact",
        exact=("left", "right", "pair"), why="weight (out, left, right): three dimensions of units",
    ),
    Case(
        name="sigmoid_linear", build=sigmoid_linear, args=ROWS, expect="exact", exact=("0", "2"),
        why="constants sigmoid(0) and softplus(0) go into the next bias, which the last layer does not have yet",
    ),
    Case(
        name="batch_norm_mlp", build=batch_norm_mlp, args=ROWS, expect="exact", exact=("0", "3"),
        why="3's unit passes ReLU and then a batch normalisation, whose shift makes a constant of it unless silenced",
    ),
    Case(
        name="dead_units", build=dead_units, args=ROWS, expect="exact", exact=("0", "2"),
        why="units 2, 3 and 5 of 0 and unit 1 of 2 can go at once: constants into the next bias, the output unchanged",
    ),
    Case(
        name="deep_mlp", build=deep_mlp, args=normal((2, 8)), expect="exact",
        exact=("?", "[1-9]?", "[1-6]??", "7[0-8]?", "79[0-6]"), why="400 layers: traced in less than 10 s",
    ),
    Case(
        name="deep_convolutions", build=deep_convolutions, args=normal((2, 4, 4, 4)), expect="exact",
        exact=("?", "[1-9]?", "[1-6]??", "7[0-8]?", "79[0-6]"), why="400 layers: traced in less than 10 s",
    ),
)  # fmt: skip
