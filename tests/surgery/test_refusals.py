"""Networks that cannot be cut are refused in one line that says what is in the way and what to do first."""

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from prudent.errors import BadInput, CannotPrune
from prudent.pruning import prune
from prudent.surgery.doctoring import diagnose

X = torch.rand(4, 8)


class Branching(nn.Module):
    """Decides by its input."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.a(x)
        if hidden.sum() > 0:  # here
            hidden = 2 * hidden
        return self.b(hidden.relu())


def plain() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))


def quantised() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces the end of this way to quantise
        return torch.ao.quantization.quantize_dynamic(plain().eval(), {nn.Linear})


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(plain(), X)


REFUSED = {
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, 2)), "layer '0' has no shape yet: run"),
    "quantised": (quantised, "layer '0' is quantised: prune the network in floating point"),
    "scripted": (scripted, "is TorchScript: prune the module it was made from"),
    "branching": (Branching, "depends on the numbers in a tensor"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("work", ["prune", "prune by the example", "diagnose"])
def test_refused_in_one_line_that_says_what_to_do(name: str, work: str) -> None:
    build, said = REFUSED[name]
    model = build()
    example = None if work == "prune" else X
    if (name, work) == ("branching", "diagnose"):  # has layers, and single weights of them can go
        assert said in diagnose(model, X).problem
        return
    with pytest.raises(CannotPrune) as refusal:
        if work == "diagnose":
            diagnose(model, X)
        else:
            prune(model, sparsity=0.5, granularity="channel", example=example)
    message = str(refusal.value)
    assert "\n" not in message
    assert said in message or (name == "branching" and work == "prune" and "pass example=" in message)


def test_the_line_that_decides_by_data_is_named() -> None:
    line = next(i for i, text in enumerate(Path(__file__).read_text().splitlines(), 1) if text.endswith("# here"))
    with pytest.raises(CannotPrune, match=rf"at test_refusals\.py:{line};"):
        prune(Branching(), sparsity=0.5, granularity="channel", example=X)


def test_inputs_that_the_network_does_not_take_are_not_blamed_on_its_graph() -> None:
    model = plain()
    for example in (torch.rand(4, 9), (X, X), {"inputs": X}):
        with pytest.raises(BadInput, match="the network does not run on the example: "):
            diagnose(model, example)
        with pytest.raises(BadInput, match="the network does not run on the example: "):
            prune(model, sparsity=0.5, granularity="channel", example=example)
