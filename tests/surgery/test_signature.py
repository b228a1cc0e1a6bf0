"""Which changes of a network in place are seen, so that its earlier trace is not used again, and which are none."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prudent.recutting import cut
from prudent.surgery.signature import signature_of
from tests.surgery.zoo.case import randomised

X = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))


class Plain:
    """Says nothing of itself when printed."""

    def __init__(self) -> None:
        self.inner = Inner()


class Inner:
    def __init__(self) -> None:
        self.halves = True


class Slotted:
    __slots__ = ("count", "unset")

    def __init__(self) -> None:
        self.count = 1


class Turn:
    """A function with a setting."""

    def __init__(self) -> None:
        self.by = 0

    def __call__(self, x: Tensor) -> Tensor:
        return x.roll(self.by, 1)


def scaled(by: float) -> Callable[[Tensor], Tensor]:
    return lambda x: x * by


class Holding(nn.Module):
    """A network with attributes of many kinds, some of which lead back to it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 16), nn.Linear(16, 3)
        self.config, self.slotted, self.turn, self.scaled = Plain(), Slotted(), Turn(), scaled(1.0)
        self.unregistered, self.numbers, self.table = [nn.Sequential(nn.Dropout(0.1))], np.arange(2000), {"n": 1}
        self.count, self.nothing, self.empty, self.nan = 1, 0.5, {}, float("nan")
        self.method, self.around, self.config.owner = self.turn.__call__, [self], self

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        a, b = y.chunk(2, 1) if self.config.inner.halves else (y[:, ::2], y[:, 1::2])
        return self.last(torch.cat([a * b, a + b], 1))


SEEN = {
    "an object in an object": lambda m: setattr(m.config.inner, "halves", False),
    "a slot": lambda m: setattr(m.slotted, "count", 2),
    "another slot": lambda m: setattr(m.slotted, "unset", None),
    "an object that is called": lambda m: setattr(m.turn, "by", 3),
    "what a function closes over": lambda m: setattr(m, "scaled", scaled(2.0)),
    "a module in a list": lambda m: setattr(m.unregistered[0][0], "p", 0.2),
    "an array": lambda m: m.numbers.__setitem__(1000, -1),
    "true for one": lambda m: setattr(m, "count", True),
    "a float for an int": lambda m: setattr(m, "count", 1.0),
    "a float for an int in a dict": lambda m: m.table.update(n=1.0),
    "a tuple for a list": lambda m: setattr(m, "around", tuple(m.around)),
    "a list for a dict": lambda m: setattr(m, "empty", []),
    "one more": lambda m: setattr(m, "more", None),
    "one less": lambda m: delattr(m, "nothing"),
    "a hook": lambda m: m.first.register_forward_hook(lambda *_: None),
    "a layer": lambda m: setattr(m, "first", nn.Linear(5, 16)),
    "the weights of another": lambda m: setattr(m.first, "weight", nn.Parameter(m.last.weight[:1].expand(5, 16).T)),
}


@pytest.mark.parametrize("change", SEEN)
def test_what_is_seen(change: str):
    model = Holding()
    before = signature_of(model, X)
    assert signature_of(model, X) == before
    SEEN[change](model)
    assert signature_of(model, X) != before


def test_what_is_no_change():
    model = Holding()
    before = signature_of(model, X)
    with torch.no_grad():
        model.first.weight.zero_()
    model.load_state_dict(Holding().state_dict())
    model.train().requires_grad_(requires_grad=False)
    model.first.register_forward_hook(lambda *_: None).remove()
    model(X)
    assert signature_of(model, X + 1) == before


def test_a_hook_in_the_place_of_another_is_seen():
    model = Holding()
    model.first.register_forward_hook(scaled(1.0)).remove()
    handle = model.first.register_forward_hook(lambda *_: None)
    before = signature_of(model, X)
    model.first._forward_hooks[handle.id] = lambda _, __, out: out + 1
    assert signature_of(model, X) != before


def test_objects_without_end_come_to_one():
    model = Holding()
    chain = model.chain = SimpleNamespace()
    for _ in range(100):
        chain.next = Plain()
        chain = chain.next.inner
    chain.next = model.config
    assert signature_of(model, X) == signature_of(model, X)


def test_a_cut_without_proof_is_of_the_network_as_it_is_now():
    """A changed object within an object had been overlooked, and the earlier trace cut halves instead of pairs."""
    model = randomised(Holding)
    with torch.no_grad():  # the least of half and half are no pairs
        model.first.weight[[0, 1, 2, 4, 8, 9, 10, 12]] *= 1e-3
        model.last.weight.fill_(1.0)
    cut(model, sparsity=0.5, granularity="channel", scope="layer", example=X, proof=False)
    model.config.inner.halves = False
    small = cut(model, sparsity=0.5, granularity="channel", scope="layer", example=X, proof=False)
    kept = small.plan.slices["first.weight"].dims[0].tolist()
    assert kept == [2 * pair + i for pair in sorted({k // 2 for k in kept}) for i in range(2)]
    assert small.model(X).shape == (3, 3)
