"""A recording finds what an export finds, and is given up wherever the network looks at what it has not got: values."""

import logging
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from benchmarks.zoo_models import MODELS, available, build, size_of
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules import module as calls_of_modules

from prudent.errors import CannotPrune
from prudent.examples import Example
from prudent.surgery import recording, tracing
from prudent.surgery.exporting import export
from prudent.surgery.operations import Operations, operations_in
from prudent.surgery.recording import record
from prudent.surgery.tracing import trace, walk
from tests.conftest import assert_untouched, snapshot
from tests.surgery.test_conformance import SLOW, example_of
from tests.surgery.zoo import CASES, Case

pytestmark = [
    pytest.mark.filterwarnings("ignore:The tensor attribute:UserWarning"),
    pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning"),
    pytest.mark.filterwarnings("ignore:RNN module weights:UserWarning"),
]
EXPORTED = ("data_dependent_size",)
"""Networks of the zoo that are exported, since sizes depend on values."""
REFUSED = ("scripted_part", "data_dependent_branch", "through_numpy")
"""Those that can be traced in no way."""
LARGE = (*SLOW, "resnet_20", "bottleneck", "option_a", "unet", "densenet", "vision_transformer", "language_model")
WRAPPED = ("compiled", "distributed_wrapper", "data_parallel")


def findings(model: nn.Module, operations: Operations) -> dict[str, Any]:
    """All that a walk finds, with its reasons, but without the lines of code in them."""
    found = walk(model, operations)
    families = found.families

    def without_lines(reasons: Any) -> dict[int, str]:
        return {family: re.sub(r" at [\w.<>-]+:\d+", "", reason) for family, reason in reasons.items()}

    return {
        "of": families.of.tolist(),
        "frozen": without_lines(families.frozen),
        "changing": without_lines(families.changing),
        "rows": families.rows,
        "balanced": families.balanced,
        "heads": families.heads,
        "makers": found.makers,
        "parameters": {n: [(f.labels.tolist(), f.inner) for f in fields] for n, fields in found.parameters.items()},
    }


def assert_found_alike(model: nn.Module, example: Example) -> None:
    operations = record(model, example)
    assert operations is not None
    assert findings(model, operations) == findings(model, operations_in(export(model, example)))


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.name in LARGE else [])
        for case in CASES
        if case.name not in WRAPPED + EXPORTED + REFUSED
    ],
)
def test_it_finds_what_an_export_finds(case: Case):
    assert_found_alike(case.build(), example_of(case))


@pytest.mark.parametrize("case", [pytest.param(c, id=c.name) for c in CASES if c.name in EXPORTED + REFUSED])
def test_networks_whose_sizes_or_ways_depend_on_values_are_not_recorded(case: Case):
    model = case.build()
    assert record(model, example_of(case)) is None
    if case.name in REFUSED:
        with pytest.raises(CannotPrune, match="cannot be traced|is TorchScript"):
            trace(model, example_of(case))
    else:
        assert trace(model, example_of(case)).parameters


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of packages that are not ours
@pytest.mark.parametrize("name", MODELS)
def test_it_finds_what_an_export_finds_in_networks_that_people_use(name: str):
    if not available(name):
        pytest.skip(f"{name.partition('/')[0]} is not installed")
    assert_found_alike(build(name).eval(), torch.rand(2, 3, size_of(name), size_of(name)))


class Between(nn.Module):
    """Two layers, and code between them that may do anything."""

    def __init__(self, between: Callable[["Between", Tensor], Any]) -> None:
        super().__init__()
        self.first, self.head, self.between = nn.Linear(4, 6), nn.Linear(6, 3), between
        self.plain = torch.ones(6)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.between(self, self.first(x)))


def caught(looks: Callable[[Between, Tensor], Any]) -> Callable[[Between, Tensor], Tensor]:
    """Goes another way where it cannot look."""

    def between(net: Between, x: Tensor) -> Tensor:
        try:
            looks(net, x)
        except Exception:  # noqa: BLE001
            return x
        return x * 2

    return between


def in_a_thread(_: Between, x: Tensor) -> Tensor:
    found: list[Tensor] = []
    thread = threading.Thread(target=lambda: found.append(x * 2))
    thread.start()
    thread.join()
    return found[0]


LOOKS: dict[str, Callable[[Between, Tensor], Any]] = {
    "if": lambda _, x: x * 2 if x.sum() > 0 else x,
    "item": lambda _, x: x * x.sum().item(),
    "float": caught(lambda _, x: float(x.sum())),
    "bool": caught(lambda _, x: bool(x.sum() > 0)),
    "list": caught(lambda _, x: x.tolist()),
    "in": lambda _, x: x * 2 if 3.0 in x else x,
    "equal": lambda _, x: x if torch.equal(x, x + 1) else x * 2,
    "close": lambda _, x: x if torch.allclose(x, x + 1) else x * 2,
    "weight": lambda net, x: x * 2 if net.first.weight.sum() > 0 else x,
    "list of weights": caught(lambda net, _: net.first.weight.tolist()),
    "attribute": caught(lambda net, _: float(net.plain[0])),
    "constant": lambda _, x: x * torch.tensor(3.0).item(),
    "masked": lambda _, x: x[x[:, 0] > 0],
    "unique": lambda _, x: torch.unique(x[:, 0]).sum() * x,
    "branch of torch": lambda _, x: torch.cond(x.sum() > 0, lambda t: t * 2, lambda t: t - 1, (x,)),
    "size changed in place": lambda _, x: (x * 1).unsqueeze_(0).squeeze_(0),
    "written into another": lambda _, x: torch.add(x, 1, out=torch.empty_like(x)),
    "thread": in_a_thread,
    "error": caught(lambda _, x: x @ x),
    "answer of another kind": lambda _, x: (x, threading),
}


@pytest.mark.parametrize("name", LOOKS)
@pytest.mark.filterwarnings("ignore")  # torch's, where threads and errors are
def test_it_is_given_up_where_the_network_looks_at_values_even_if_it_catches_what_happens(name: str):
    model, x = Between(LOOKS[name]).eval(), torch.rand(2, 4)
    if name == "answer of another kind":
        model.head = nn.Identity()
        model.between = lambda net, x: {x.shape: net}  # type: ignore[assignment, return-value]
    before = snapshot(model)
    assert record(model, x) is None
    assert_untouched(model, before)


def counting(net: Between, x: Tensor) -> Tensor:
    net.count += 1
    net.seen, net.extra = x, nn.Parameter(torch.ones(6))  # type: ignore[assignment]
    return x * net.count * net.extra + torch.randn(6)


def assigning(_: Between, x: Tensor) -> Tensor:
    x = x.clone()
    x[:, 0] = 0
    return F.relu(x, inplace=True)


PLAIN_CODE: dict[str, Callable[[Between, Tensor], Any]] = {
    "assigns": assigning,
    "attribute": lambda net, x: x * net.plain,
    "constants": lambda _, x: x * torch.tensor([1.0, 2, 3, 4, 5, 6]) + x.new_ones(6) + torch.arange(6),
    "detached": lambda net, x: x.detach() * net.first.bias.detach(),
    "parts": lambda _, x: torch.cat([*x.split([2, 3, 1], 1)[::-1], *x.chunk(3, 1)], 1)[:, 3:9],
    "chosen": lambda _, x: x[:, torch.tensor([0, 1, 2, 3, 4, 5])][torch.arange(2)],
    "several": lambda _, x: x + x.max(1, keepdim=True).values * x.topk(2, dim=0).indices[:1],
    "kept device": lambda net, x: x * 2 if x.device.type == "cpu" and not x.is_meta else net.nothing,
    "a parameter is one": lambda net, x: x if isinstance(net.first.weight, nn.Parameter) else net.nothing,
    "gradients wanted": lambda net, x: x if net.first.weight.requires_grad else net.nothing,
    "exporting": lambda net, x: x if torch.compiler.is_exporting() and torch.compiler.is_compiling() else net.nothing,
}


@pytest.mark.parametrize("name", PLAIN_CODE)
def test_it_finds_what_an_export_finds_in_plain_code(name: str):
    assert_found_alike(Between(PLAIN_CODE[name]).eval(), torch.rand(2, 4))


def test_nothing_of_the_network_changes_while_it_is_recorded():
    model, x = Between(counting), torch.rand(2, 4)
    model.head.weight.grad = torch.ones(3, 6)
    before, attributes = snapshot(model), set(vars(model))
    assert record(model, x) is not None
    assert_untouched(model, before)
    assert set(vars(model)) == attributes
    assert not model.count.any()
    assert type(model.first.weight) is nn.Parameter
    assert [name for name, _ in model.named_parameters()] == ["first.weight", "first.bias", "head.weight", "head.bias"]


@pytest.mark.parametrize("name", ["if", "thread"])
def test_nothing_of_torch_changes_either(name: str):
    def states() -> tuple[object, ...]:
        hooks = calls_of_modules._global_forward_pre_hooks, calls_of_modules._global_forward_hooks
        return (
            torch.compiler.is_compiling(), torch.compiler.is_exporting(), torch.backends.mha.get_fastpath_enabled(),
            *(len(own) for own in hooks), logging.root.manager.disable, torch.get_rng_state().tolist(),
            len(torch.utils._python_dispatch._get_current_dispatch_mode_stack()), torch.is_grad_enabled(),
        )  # fmt: skip

    models, x = (Between(LOOKS[name]), Between(counting)), torch.rand(2, 4)
    before = states()
    assert [record(model, x) is None for model in models] == [True, False]
    assert states() == before
    assert not torch.compiler.is_exporting()  # whatever ran before this test
    y = torch.rand(2, 4, requires_grad=True)
    (y * 2).sum().backward()  # operations have gradients again
    torch.testing.assert_close(y.grad, torch.full((2, 4), 2.0))


def test_code_without_gradients_is_understood():
    def between(_: Between, x: Tensor) -> Tensor:
        with torch.no_grad():
            return x * 2

    model, x = Between(between), torch.rand(2, 4)
    operations = record(model, x)
    assert operations is not None
    plain = record(Between(lambda _, x: x * 2), x)
    assert plain is not None
    assert findings(model, operations) == findings(model, plain)


def test_reasons_say_the_module_and_the_line_of_the_users_own_code():
    def between(_: Between, x: Tensor) -> Tensor:
        return torch.fft.fft(x).real

    line = between.__code__.co_firstlineno + 1
    families = trace(Between(between), torch.rand(2, 4)).families
    assert f"what fft_fft does to it is not known (fft_fft at test_recording.py:{line})" in families.frozen.values()
    inner = trace(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), torch.rand(2, 4)).families
    assert any(re.search(r"\(linear in '0' at linear.py:\d+\)", why) for why in inner.frozen.values())


def test_fast_paths_of_attention_are_not_taken_where_nothing_asks_for_gradients():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval().requires_grad_(False)
    operations = record(layer, torch.rand(2, 3, 8))
    assert operations is not None
    assert "linear" in {getattr(n.target, "__name__", "").partition(".")[0] for n in operations.graph.nodes}


def test_a_network_is_exported_only_if_it_is_not_recorded(monkeypatch: pytest.MonkeyPatch):
    exported: list[int] = []
    monkeypatch.setattr(tracing, "export", lambda *a, **k: exported.append(1) or export(*a, **k))
    x = torch.rand(2, 4)
    trace(Between(assigning), x)
    assert not exported
    trace(Between(LOOKS["item"]), x)
    assert exported == [1]
    monkeypatch.setattr(recording, "FakeTensorMode", None)  # another torch, which has no such thing
    assert trace(Between(assigning), x).families.of.any()
    assert exported == [1, 1]
