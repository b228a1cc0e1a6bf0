"""Recurrent networks."""

import torch
from torch import Tensor, nn

from tests.surgery.zoo.case import Case, normal, randomised


class Recurrent(nn.Module):
    """A recurrent layer and a head on its last output."""

    def __init__(self, layer: nn.Module, features: int, *, time_first: bool = False) -> None:
        super().__init__()
        self.embed, self.recurrent, self.head = nn.Linear(5, 6), layer, nn.Linear(features, 4)
        self.time_first = time_first

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.embed(x))
        if self.time_first:
            return self.head(self.recurrent(x.transpose(0, 1))[0][-1])
        return self.head(self.recurrent(x)[0][:, -1])


class FromState(nn.Module):
    """The head reads the final state of both directions instead of the outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(5, 6, batch_first=True, bidirectional=True)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.recurrent(x)[1][0]
        return self.head(torch.cat((hidden[-2], hidden[-1]), 1))


class Cell(nn.Module):
    """A cell run step by step, with a learned first state."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.start, self.head = nn.GRUCell(5, 6), nn.Parameter(torch.randn(1, 6)), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        state = self.start.expand(x.shape[0], -1)
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
        return self.head(state)


def lstm_head() -> nn.Module:
    return randomised(lambda: Recurrent(nn.LSTM(6, 8), 8, time_first=True))


def gru_head() -> nn.Module:
    return randomised(lambda: Recurrent(nn.GRU(6, 8), 8, time_first=True))


def lstm_bidirectional() -> nn.Module:
    return randomised(lambda: Recurrent(nn.LSTM(6, 8, batch_first=True, bidirectional=True), 16))


def lstm_two_layers() -> nn.Module:
    return randomised(lambda: Recurrent(nn.LSTM(6, 8, num_layers=2, batch_first=True, dropout=0.2), 8))


def gru_batch_first() -> nn.Module:
    return randomised(lambda: Recurrent(nn.GRU(6, 8, batch_first=True, bias=False), 8))


def rnn_tanh() -> nn.Module:
    return randomised(lambda: Recurrent(nn.RNN(6, 8, batch_first=True), 8))


SEQUENCE = normal((2, 7, 5))
BOTH = ("embed", "recurrent")

CASES = (
    Case(
        name="lstm_head", build=lstm_head, args=SEQUENCE, expect="exact", exact=BOTH,
        why="unit u: rows u of all four gates (input and hidden weights, both biases), column u of the hidden weights, "
        "head's input u; rows at zero give g = 0, hence c = h = 0 from a zero state",
    ),
    Case(
        name="gru_head", build=gru_head, args=SEQUENCE, expect="exact", exact=BOTH,
        why="as lstm_head with three gates: rows at zero give n = 0, and h stays at its zero start",
    ),
    Case(
        name="lstm_bidirectional", build=lstm_bidirectional, args=SEQUENCE, expect="exact", exact=BOTH,
        why="directions have their own units, at head's inputs u and 8 + u, but one hidden_size: equal counts",
    ),
    Case(
        name="lstm_two_layers", build=lstm_two_layers, args=SEQUENCE, expect="exact", exact=BOTH,
        why="layers have their own units, but one hidden_size: equal counts; layer 2 reads those of layer 1",
    ),
    Case(name="gru_batch_first", build=gru_batch_first, args=SEQUENCE, expect="exact", exact=BOTH, why="as gru_head"),
    Case(
        name="rnn_tanh", build=rnn_tanh, args=SEQUENCE, expect="exact", exact=BOTH,
        why="one gate; tanh(0) = 0",
    ),
    Case(
        name="lstm_state", build=lambda: randomised(FromState), args=SEQUENCE, expect="exact", exact=("recurrent",),
        why="as lstm_bidirectional, read from the final state (directions, batch, units)",
    ),
    Case(
        name="gru_cell", build=lambda: randomised(Cell), args=SEQUENCE, expect="exact", exact=("cell", "start"),
        why="as gru_head, and the learned start goes with the units: otherwise a silenced unit would decay from it",
    ),
)  # fmt: skip
