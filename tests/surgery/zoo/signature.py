"""What goes into a network and what comes out: names, dicts, several of them, hidden layers, unused parts."""

from typing import Any

import torch
from torch import Tensor, nn

from tests.surgery.zoo.case import Case, normal, randomised


class Trunk(nn.Module):
    """Two hidden layers and a head, taken apart by the classes below."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 10), nn.Linear(10, 8), nn.Linear(8, 4)

    def hidden(self, x: Tensor) -> Tensor:
        return torch.tanh(self.second(torch.tanh(self.first(x))))

    def forward(self, x: Tensor) -> Any:
        return self.head(self.hidden(x))


class DictInput(Trunk):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.head(self.hidden(batch["rows"]) * batch["weight"])


class KeywordInput(Trunk):
    def forward(self, x: Tensor, *, scale: Tensor, shift: Tensor | None = None) -> Tensor:
        out = self.hidden(x * scale)
        return self.head(out if shift is None else out + shift)


class TupleOutput(Trunk):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        out = self.head(self.hidden(x))
        return out, out.softmax(-1)


class DictOutput(Trunk):
    def forward(self, x: Tensor) -> dict[str, Any]:
        out = self.head(self.hidden(x))
        return {"logits": out, "extra": {"count": x.shape[0], "largest": out.argmax(-1)}}


class OutputIsHidden(Trunk):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        out = self.hidden(x)
        return self.head(out), out


class TwoInputs(Trunk):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(3, 5)
        self.head = nn.Linear(13, 4)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.head(torch.cat((torch.tanh(self.other(y)), self.hidden(x)), -1))


class InputAdded(Trunk):
    """The input itself is added to a hidden layer, which therefore has to keep its size."""

    def __init__(self) -> None:
        super().__init__()
        self.second, self.head = nn.Linear(10, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + self.hidden(x))


class TwoHeads(Trunk):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        out = self.hidden(x)
        return self.head(out), self.other(out)


class DiscardedBranch(Trunk):
    def __init__(self) -> None:
        super().__init__()
        self.auxiliary = nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        first = torch.tanh(self.first(x))
        self.auxiliary(first)
        return self.head(torch.tanh(self.second(first)))


class AuxiliaryInTraining(Trunk):
    """An auxiliary head that answers in training mode only."""

    def __init__(self) -> None:
        super().__init__()
        self.auxiliary = nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Any:
        first = torch.tanh(self.first(x))
        out = self.head(torch.tanh(self.second(first)))
        return (out, self.auxiliary(first)) if self.training else out


class NeverCalled(Trunk):
    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(10, 8)


class UnusedParameter(Trunk):
    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Parameter(torch.randn(8))


def _dict() -> tuple[Any, ...]:
    rows, weight = normal((2, 6), (2, 1))()
    return ({"rows": rows, "weight": weight},)


def _keywords() -> dict[str, Any]:
    return {"scale": normal((2, 6), (2, 1))()[1]}


ROWS, BOTH = normal((2, 6)), ("first", "second")

CASES = (
    Case(
        name="dict_input", build=lambda: randomised(DictInput), args=_dict, expect="exact", exact=BOTH,
        why="a chain; a column of the input scales all units alike",
    ),
    Case(
        name="keyword_input", build=lambda: randomised(KeywordInput), args=ROWS, kwargs=_keywords, expect="exact",
        exact=BOTH, why="a chain; `shift` is not given and has to keep its default",
    ),
    Case(
        name="tuple_output", build=lambda: randomised(TupleOutput), args=ROWS, expect="exact", exact=BOTH,
        why="a chain",
    ),
    Case(
        name="dict_output", build=lambda: randomised(DictOutput), args=ROWS, expect="exact", exact=BOTH,
        why="a chain; the output holds a number and whole numbers, which must stay too",
    ),
    Case(
        name="output_is_hidden", build=lambda: randomised(OutputIsHidden), args=ROWS, expect="partly",
        exact=("first",), frozen=("second",), why="second's units are part of the output",
    ),
    Case(
        name="two_inputs", build=lambda: randomised(TwoInputs), args=normal((2, 6), (2, 3)), expect="exact",
        exact=("first", "second", "other"), why="two chains, joined by a concatenation",
    ),
    Case(
        name="input_added", build=lambda: randomised(InputAdded), args=ROWS, expect="partly", exact=("first",),
        frozen=("second",), why="second is added to the network's input, whose size is given",
    ),
    Case(
        name="two_heads", build=lambda: randomised(TwoHeads), args=ROWS, expect="exact", exact=BOTH,
        why="second's units are read by both heads",
    ),
    Case(
        name="discarded_branch", build=lambda: randomised(DiscardedBranch), args=ROWS, expect="exact", exact=BOTH,
        why="auxiliary's result is thrown away, but it runs: its inputs have to be cut with first's units",
    ),
    Case(
        name="auxiliary_in_training", build=lambda: randomised(AuxiliaryInTraining), args=ROWS, expect="exact",
        exact=BOTH, why="traced in evaluation mode, auxiliary is never seen: where the user's code is kept, training "
        "afterwards fails unless auxiliary's inputs are cut too",
    ),
    Case(
        name="never_called", build=lambda: randomised(NeverCalled), args=ROWS, expect="exact", exact=BOTH,
        why="`spare` is no part of any run, and stays as it is",
    ),
    Case(
        name="unused_parameter", build=lambda: randomised(UnusedParameter), args=ROWS, expect="exact", exact=BOTH,
        why="`spare` has the size of second's output by chance, and stays as it is",
    ),
)  # fmt: skip
