"""The trace of a network that changed is not used again; nothing of a network changes; statistics of the rest."""

import copy
import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prudent.errors import PrudentError
from prudent.network import macs
from prudent.pruning import prune
from prudent.surgery import emission
from prudent.surgery.cutting import as_graph, plan_of
from prudent.surgery.exporting import export
from prudent.surgery.plans import apply_plan
from prudent.surgery.shrinking import shrink
from prudent.surgery.tracing import trace
from tests.conftest import assert_untouched, snapshot
from tests.surgery.networks import grouped, pictures, residual
from tests.surgery.zoo.case import randomised

pytestmark = pytest.mark.filterwarnings("ignore:The tensor attribute:UserWarning", "ignore:`isinstance:FutureWarning")


class Settings:
    def __init__(self) -> None:
        self.doubled = False


class Changeable(nn.Module):
    """What it computes depends on attributes of many kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 8), nn.Linear(8, 8)
        self.head, self.wide = nn.Linear(8, 3), nn.Linear(16, 3)
        self.number, self.table, self.settings, self.function = 0, {"skip": False}, Settings(), F.relu

    def forward(self, x: Tensor) -> Tensor:
        x = self.function(self.first(x))
        y = F.relu(self.second(x))
        if self.number or self.table["skip"]:
            y = y + x
        return self.wide(torch.cat([x, y], 1)) if self.settings.doubled else self.head(y)


def changes() -> dict[str, Any]:
    def tie(m: nn.Module) -> None:
        m.second.weight = nn.Parameter(m.first.weight.detach().new_zeros(8, 8).normal_())
        m.first = m.second

    return {
        "number": lambda m: setattr(m, "number", 1),
        "dictionary": lambda m: m.table.update(skip=True),
        "object": lambda m: setattr(m.settings, "doubled", True),
        "function": lambda m: setattr(m, "function", torch.sort),
        "hook": lambda m: m.second.register_forward_hook(lambda _, given, out: out + given[0]),
        "forward": lambda m: setattr(m, "forward", lambda x: m.head(m.first(x))),
        "module": lambda m: setattr(m, "second", nn.Sequential(m.second, nn.Softmax(1))),
    }


@pytest.mark.parametrize("kind", changes())
def test_a_network_that_changed_is_traced_again(kind: str):
    model, x = randomised(Changeable), torch.randn(4, 5)
    first = trace(model, x)
    assert trace(model, x) is first
    with torch.no_grad():  # other values are the same network
        model.first.weight.mul_(2)
    assert trace(model, x) is first
    assert trace(model, torch.randn(6, 5)) is not first
    first = trace(model, x)
    changes()[kind](model)
    try:
        again = trace(model, x)
    except PrudentError:  # it no longer runs, or cannot be traced
        return
    assert again is not first


def test_a_changed_network_is_cut_as_it_is_now():
    model, x = randomised(Changeable), torch.randn(4, 5)
    for change in (lambda _: None, changes()["dictionary"], changes()["object"]):
        change(model)
        pruned = prune(model, sparsity=0.5, granularity="channel", scope="layer", example=x)
        small = shrink(pruned, x)
        assert small.kept == {}
        expected = copy.deepcopy(pruned.model).double().eval()(x.double())
        torch.testing.assert_close(copy.deepcopy(small.model).double().eval()(x.double()), expected)


def test_traces_do_not_keep_networks_alive():
    model = residual()
    trace(model, pictures())
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_a_budget_exports_the_graph_of_a_network_once_and_again_when_it_changes(monkeypatch: pytest.MonkeyPatch):
    exported: list[int] = []
    monkeypatch.setattr(emission, "export", lambda *a, **k: exported.append(1) or export(*a, **k))
    model, x = randomised(Changeable), torch.randn(4, 5)
    counts = []
    for sparsity in (0.25, 0.5):
        mask = prune(model, sparsity=sparsity, granularity="channel", scope="layer", example=x).mask
        small = as_graph(model, mask, x)
        counts.append(macs(small, x))
        own = apply_plan(model, plan_of(model, mask))
        assert counts[-1] == macs(own, x)  # the second is not made of what is left of the first
    assert counts[1] < counts[0]
    assert len(exported) == 1
    as_graph(model, mask, torch.randn(6, 5))
    assert len(exported) == 2
    changes()["dictionary"](model)
    as_graph(model, mask, torch.randn(6, 5))
    assert len(exported) == 3


def test_exports_do_not_keep_networks_alive():
    model, x = randomised(Changeable), torch.randn(4, 5)
    as_graph(model, prune(model, sparsity=0.5, granularity="channel", scope="layer", example=x).mask, x)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


class Remembering(nn.Module):
    """Keeps its activation, a list of what it saw, and a count."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(5, 8), nn.Linear(8, 3)
        self.seen: list[Tensor] = []
        self.count = 0

    def forward(self, x: Tensor) -> Tensor:
        self.last = self.first(x)
        self.count += 1
        return self.head(F.relu(self.last))


def test_a_network_that_holds_activations_is_cut_and_stays_as_it_was():
    model, x = randomised(Remembering), torch.randn(4, 5)
    model(x)
    held, count, before = model.last, model.count, snapshot(model)
    model.seen.append(held)
    pruned = prune(model, sparsity=0.5, granularity="channel", scope="layer", example=x)
    small = shrink(pruned, x)
    assert_untouched(model, before)
    assert model.last is held
    assert held.grad_fn is not None
    assert model.count == count
    assert small.model.first.weight.shape == (4, 5)


class Fixed(nn.Module):
    """The number of examples is in its code."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.first(x)).view(4, -1))


def test_multiply_accumulates_of_a_network_for_one_number_of_examples():
    model, x = randomised(Fixed), torch.randn(4, 5)
    small = shrink(prune(model, sparsity=0.5, granularity="channel", scope="layer", example=x), x)
    assert small.macs == 4 * 5 + 3 * 4 == macs(small.model, x) // 4


@pytest.mark.parametrize("example", [torch.randn(4, 5).double(), torch.randn(4, 6), torch.randint(0, 3, (4, 5))])
def test_an_example_that_does_not_fit_is_refused(example: Tensor):
    model = randomised(Remembering)
    before = snapshot(model)
    with pytest.raises(PrudentError):
        shrink(prune(model, sparsity=0.5, granularity="channel", scope="layer", example=example), example)
    assert_untouched(model, before)


@pytest.mark.parametrize("control", ["random", "shuffled", "inverted", "reinit"])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_controls_remove_equally_many_of_each_row(control: Any, scope: Any):
    options: dict[str, Any] = {"sparsity": 0.5, "granularity": "channel", "scope": scope, "example": pictures()}
    model = grouped()
    method, other = prune(model, **options), prune(model, control=control, **options)
    if control in ("random", "shuffled"):
        assert other.mask.removed_by_layer == method.mask.removed_by_layer
    for kept in other.mask.kept.values():
        if kept.ndim == 2:
            assert len(set(kept.sum(dim=1).tolist())) == 1
    small = shrink(other, pictures())
    expected = copy.deepcopy(other.model).double().eval()(pictures().double())
    torch.testing.assert_close(copy.deepcopy(small.model).double().eval()(pictures().double()), expected)
    assert small.kept == {}


# statistics of the rest, in closed form


class Normed(nn.Module):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.first, self.norm, self.head = nn.Linear(5, 8), norm, nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.norm(self.first(x))))


@pytest.mark.parametrize("kind", ["layer", "rms", "group"])
def test_a_changed_normalisation_is_that_of_what_is_left_by_formula(kind: str):
    norm = {"layer": nn.LayerNorm(8), "rms": nn.RMSNorm(8, eps=1e-6), "group": nn.GroupNorm(2, 8)}[kind]
    model, x = randomised(lambda: Normed(norm)), torch.randn(6, 5, dtype=torch.float64)
    pruned = prune(model, sparsity=0.5, granularity="channel", scope="layer", example=x.float(), changing=True)
    small = shrink(pruned, x.float())
    assert small.changing
    own = {name: value.double() for name, value in model.state_dict().items()}
    (kept,) = (k.reshape(-1).numpy().nonzero()[0] for k in pruned.mask.kept.values())
    y = (x @ own["first.weight"].T + own["first.bias"])[:, kept]
    groups = y.reshape(len(x), 2 if kind == "group" else 1, -1)
    mean = 0 if kind == "rms" else groups.mean(2, keepdim=True)
    size = ((groups - mean) ** 2).mean(2, keepdim=True) + norm.eps
    y = ((groups - mean) / size.sqrt()).reshape(len(x), -1) * own["norm.weight"][kept]
    y = y if kind == "rms" else y + own["norm.bias"][kept]
    expected = y.clamp_min(0) @ own["head.weight"][:, kept].T + own["head.bias"]
    got = copy.deepcopy(small.model).double().eval()(x)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)
