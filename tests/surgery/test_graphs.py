"""Networks stored as graphs: read back to the same function, trainable, and unable to run anything but tensors."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from prudent.errors import BadInput
from prudent.network import prunable
from prudent.networks import load, save
from prudent.pruning import prune
from prudent.surgery import graphs
from prudent.surgery.graph_form import GraphForm
from prudent.surgery.shrinking import Shrunk, shrink
from tests.surgery.networks import pictures, written

pytestmark = pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning")  # copies of graphs, in torch


class Noisy(nn.BatchNorm2d):
    """A batch normalisation of another class that does more."""

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(super().forward(x))


class Constants(nn.Module):
    """A buffer that is not saved, a plain tensor, and numbers in the code."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.rand(1, 8, 1, 1) + 0.5, persistent=False)
        self.plain = torch.tensor([0.3])

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale * torch.tensor([0.1, 0.2, 0.3, 0.4]) + self.plain


BETWEEN: dict[str, Callable[[], nn.Module]] = {
    "nothing": nn.Identity,
    "batch norm": lambda: nn.BatchNorm2d(8),
    "no affine": lambda: nn.BatchNorm2d(8, affine=False),
    "no statistics": lambda: nn.BatchNorm2d(8, track_running_stats=False),
    "synchronised": lambda: nn.SyncBatchNorm(8),
    "subclass": lambda: Noisy(8),
    "dropout": lambda: nn.Dropout(0.3),
    "channel dropout": lambda: nn.Dropout2d(0.3),
    "alpha dropout": lambda: nn.AlphaDropout(0.3),
    "constants": Constants,
    "empty": nn.Sequential,
}


def small_of(between: nn.Module) -> tuple[nn.Module, Shrunk]:
    model = written(between)
    pruned = prune(model, sparsity=0.5, granularity="channel", scope="layer", example=pictures())
    return pruned.model, shrink(pruned, pictures())


@pytest.mark.parametrize("kind", BETWEEN)
def test_what_is_stored_is_what_is_read(kind: str, tmp_path: Path):
    masked, small = small_of(BETWEEN[kind]())
    assert (small.form, small.kept) == ("graph", {})
    x = pictures(3, seed=8)
    expected = copy.deepcopy(masked).double().eval()(x.double())
    torch.testing.assert_close(copy.deepcopy(small.model).double().eval()(x.double()), expected, rtol=1e-6, atol=1e-7)
    save(small, tmp_path)
    again = load(tmp_path)
    assert isinstance(again, Shrunk)
    for n in (1, 3, 5):
        x = pictures(n, seed=n)
        assert torch.equal(again.model.eval()(x), copy.deepcopy(small.model).eval()(x))


def test_a_graph_in_training_does_what_the_network_does():
    """Batch statistics are used and kept, momentum too; dropout is active; a frozen normalisation stays frozen."""
    masked, small = small_of(nn.BatchNorm2d(8, momentum=0.3))
    x = pictures(6, seed=3)
    keep = small.plan.slices["between.weight"].dims[0]
    expected, got = masked.train()(x), small.model.train()(x)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    for name in ("running_mean", "running_var"):
        value = getattr(small.model.between, name)
        torch.testing.assert_close(value, getattr(masked.between, name)[torch.from_numpy(keep)])
    _, dropped = small_of(nn.Dropout(0.5))
    dropped.model.train()
    assert not torch.equal(dropped.model(x), dropped.model(x))
    assert torch.equal(dropped.model.eval()(x), dropped.model(x))
    model = written(nn.BatchNorm2d(8))
    model.between.eval()
    model.conv.weight.requires_grad_(False)
    frozen = shrink(prune(model, sparsity=0.5, granularity="channel", scope="layer", example=pictures()), pictures())
    assert (frozen.model.training, frozen.model.between.training) == (True, False)
    read = graphs.from_text(graphs.to_text(frozen.model))
    for network in (frozen.model, read):
        assert not network.conv.weight.requires_grad
        assert network.head.weight.requires_grad


def test_the_weights_of_a_graph_are_prunable():
    _, small = small_of(nn.BatchNorm2d(8))
    assert list(prunable(small.model)) == ["conv.weight", "hidden.weight", "head.weight"]
    assert prunable(small.model)["hidden.weight"] is small.model.hidden.weight


# a file that somebody else wrote


class Answers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"y": (torch.relu(self.layer(x)), x)}


def stored() -> dict[str, Any]:
    program = torch.export.export(Answers().eval(), (torch.randn(2, 3),))
    given = program.module(check_guards=False)
    return json.loads(graphs.to_text(fx.GraphModule(given, given.graph)))


def node(about: dict[str, Any], kind: str) -> list[Any]:
    return next(n for n in about["nodes"] if n[0] == kind)


CODE = "__import__('pathlib').Path('{}').touch()"


def placeholder(about: dict[str, Any], code: str) -> None:
    node(about, "placeholder")[2] = f"x={code}"


def placeholder_alone(about: dict[str, Any], code: str) -> None:
    placeholder(about, code)
    about["inputs"] = None


def argument(about: dict[str, Any], code: str) -> None:
    about["inputs"][0] = [f"x={code}"]


def keyword(about: dict[str, Any], code: str) -> None:
    node(about, "call_function")[4] = {"map": {f"a={code}, b": 1}}


def module(about: dict[str, Any], code: str) -> None:
    bad = f'a")or({code.replace(".", "")})or(x,"'
    about["modules"][bad] = ["Dropout", {"p": 0.1}]


def parameter(about: dict[str, Any], code: str) -> None:
    about["plain"][f'a"+{code}+"'] = [[2], "float32", True, True]


def called(name: str, *args: Any) -> Callable[[dict[str, Any], str], None]:
    def change(about: dict[str, Any], code: str) -> None:
        path = code.split("'")[3]
        node(about, "call_function")[2:] = [name, [path if a == "PATH" else a for a in args], {"map": {}}]

    return change


def container(**spec: Any) -> Callable[[dict[str, Any], str], None]:
    def change(about: dict[str, Any], _: str) -> None:
        protocol, found = json.loads(about["outputs"])
        about["outputs"] = json.dumps([protocol, found | spec])

    return change


ENUM = {"__enum__": True, "fqn": "this:X", "name": "y"}
FACTORY = {"default_factory_module": "this", "default_factory_name": "d", "dict_context": [["y"], []]}
ATTACKS: dict[str, Callable[[dict[str, Any], str], None]] = {
    "placeholder": placeholder,
    "placeholder alone": placeholder_alone,
    "argument": argument,
    "keyword": keyword,
    "module": module,
    "parameter": parameter,
    "maps a file": called("aten.from_file.default", "PATH", True, 16),
    "writes a file": called("aten.save.default", [], "PATH"),
    "sets the seed": called("aten.manual_seed.default", 3),
    "turns gradients off": called("aten.set_grad_enabled.default", False),
    "another namespace": called("prim.device.default", "PATH"),
    "an attribute": called("aten.relu.__call__", "PATH"),
    "a class": called("aten.__class__.mro", "PATH"),
    "python": called("operator.__import__", "PATH"),
    "an enumeration": container(context=json.dumps([ENUM])),
    "a factory": container(type="collections.defaultdict", context=FACTORY),
    "a kind of node": lambda about, _: node(about, "placeholder").__setitem__(0, "call_method"),
}


@pytest.mark.parametrize("kind", ATTACKS)
def test_a_stored_graph_runs_no_code(kind: str, tmp_path: Path):
    import sys

    target = tmp_path / "ran"
    about = stored()
    ATTACKS[kind](about, CODE.format(target))
    sys.modules.pop("this", None)
    with pytest.raises(BadInput):
        graphs.from_text(json.dumps(about))
    assert not target.exists()
    assert "this" not in sys.modules


def test_a_graph_of_containers_goes_round_and_others_are_refused_when_saved():
    read = graphs.from_text(json.dumps(stored()))
    answer = read(torch.ones(2, 3))
    assert list(answer) == ["y"]
    assert isinstance(answer["y"], tuple)
    for text in ("", "{}", "[1]", json.dumps(stored())[:-40]):
        with pytest.raises(BadInput):
            graphs.from_text(text)
    odd = nn.Module()
    odd.add_module('a"b', nn.Linear(2, 2))
    graph = fx.GraphModule(odd, fx.Graph())
    with pytest.raises(BadInput, match="plain names"):
        graphs.to_text(_with_output(graph))


def _with_output(module: fx.GraphModule) -> fx.GraphModule:
    module.register_buffer("x'y", torch.ones(1))
    return module


def test_a_graph_is_called_like_the_users_network_also_when_copied_or_stored():
    module = fx.symbolic_trace(nn.Sequential(nn.Linear(2, 2)))
    graph = GraphForm(module, module.graph, class_name="UsersNetwork")
    graph.meta["noted"] = [1]
    other = GraphForm(module, module.graph, class_name="Other")
    copied = copy.deepcopy(graph)
    assert (type(copied).__name__, type(copy.deepcopy(other)).__name__) == ("UsersNetwork", "Other")
    assert isinstance(copied, GraphForm)
    assert copied.meta["noted"] == [1]
    about = {**stored(), "class": "UsersNetwork"}
    read = graphs.from_text(json.dumps(about))
    assert type(read).__name__ == "UsersNetwork"
    assert json.loads(graphs.to_text(read))["class"] == "UsersNetwork"
    for name in (None, 3, "a b", "class", "x\n", "\u00e9"):  # of older files, and what is no plain name
        assert type(graphs.from_text(json.dumps({**about, "class": name}))).__name__ == "GraphModule"
