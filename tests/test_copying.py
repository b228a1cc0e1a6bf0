"""Copies of networks: what they share with the original, and what stands in the places of tensors that are replaced."""

import copy
from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from prudent.copying import converted, duplicate
from prudent.surgery.plans import Plan, Slice, apply_plan
from tests.conftest import assert_untouched, snapshot
from tests.surgery.networks import residual, tied


class Odd(nn.Module):
    """Holds an activation, an ordered dict of its own, and lists of its tensors, and copies itself."""

    def __init__(self, *, itself: bool = False) -> None:
        super().__init__()
        self.layer, self.itself = nn.Linear(3, 4), itself
        self.register_buffer("scale", torch.ones(4))
        self.seen: Tensor | None = None
        self.notes: OrderedDict[str, int] = OrderedDict()
        self.also, self.mine = self.notes, [self.layer.weight]

    def forward(self, x: Tensor) -> Tensor:
        self.seen = self.layer(x) * self.scale
        return self.seen

    def __deepcopy__(self, memo: dict[int, object]) -> "Odd":
        if self.itself:  # without asking what it is to share
            new = Odd(itself=True)
            new.load_state_dict(self.state_dict())
            return new
        memo[id(self)] = new = Odd.__new__(Odd)
        vars(new).update({key: copy.deepcopy(value, memo) for key, value in vars(self).items()})
        return new


def tensors(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers(remove_duplicate=False))


def test_a_copy_has_the_same_numbers_and_shares_no_storage():
    model = nn.Sequential(Odd(), nn.BatchNorm1d(4), nn.Linear(4, 2))
    model(torch.rand(5, 3))
    before = snapshot(model)
    new = duplicate(model)
    assert_untouched(model, before)
    for name, value in tensors(model).items():
        own = tensors(new)[name]
        assert torch.equal(own, value), name
        assert own.data_ptr() != value.data_ptr(), name
    assert torch.equal(new[0].seen, model[0].seen)
    assert new[0].mine[0] is new[0].layer.weight, "a list of a parameter lists the copy's own"
    assert new[0].notes is new[0].also, "what was one is one"
    assert new[0].notes is not model[0].notes
    new[0].notes["a"] = 1
    assert not model[0].notes
    # hooks of the copy are its own
    new[2].register_forward_hook(lambda *_: None)
    assert not model[2]._forward_hooks
    assert [m.training for m in new.modules()] == [m.training for m in model.modules()]


def test_what_is_replaced_is_replaced_everywhere():
    model = tied()
    other = nn.Parameter(torch.zeros(2, 2), requires_grad=False)
    new = duplicate(model, instead={id(model.embed.weight): other})
    assert new.embed.weight is new.decode.weight is other
    assert torch.equal(new.down.weight, model.down.weight)
    holding = Odd()
    new = duplicate(holding, instead={id(holding.layer.weight): other})
    assert new.mine[0] is new.layer.weight is other


def test_a_plan_reaches_modules_that_copy_themselves_and_lists_of_tensors():
    for itself in (False, True):
        model = Odd(itself=itself)
        with torch.no_grad():
            model.scale.copy_(torch.arange(4.0))
        keep = {0: torch.tensor([1, 3]).numpy()}
        plan = Plan(
            slices={
                "layer.weight": Slice(shape=(4, 3), dims=keep), "layer.bias": Slice(shape=(4,), dims=keep),
                "scale": Slice(shape=(4,), dims=keep),
            }
        )  # fmt: skip
        small = apply_plan(model, plan)
        assert torch.equal(small.layer.weight, model.layer.weight[[1, 3]])
        assert torch.equal(small.layer.bias, model.layer.bias[[1, 3]])
        assert small.scale.tolist() == [1.0, 3.0]
        assert isinstance(small.layer.weight, nn.Parameter)
        assert "scale" in small._buffers
        assert model.layer.weight.shape == (4, 3)
        if not itself:
            assert small.mine[0] is small.layer.weight


def test_a_cut_shares_nothing_with_the_original_and_keeps_its_memory_format():
    model = residual().to(memory_format=torch.channels_last)
    plan = Plan(slices={"first.weight": Slice(shape=(6, 8, 3, 3)), "inner.weight": Slice(shape=(6,))})
    small = apply_plan(model, plan)  # slices that keep all are copies as well
    for name, value in tensors(model).items():
        assert tensors(small)[name].data_ptr() != value.data_ptr(), name
        assert torch.equal(tensors(small)[name], value)
    assert small.first.weight.is_contiguous(memory_format=torch.channels_last)
    kept = Slice(shape=(6, 8, 3, 3), dims={0: torch.tensor([0, 2, 5]).numpy(), 1: torch.arange(1, 8).numpy()})
    small = apply_plan(model, Plan(slices={"first.weight": kept}))
    assert torch.equal(small.first.weight, model.first.weight[[0, 2, 5]][:, 1:])
    assert small.first.weight.is_contiguous(memory_format=torch.channels_last)


class Slotted(nn.Module):
    """Says how its state is to be stored, so that a copy must ask it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.secret = nn.Linear(2, 2), [1]

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in vars(self).items() if key != "secret"}


class Counted(nn.Module):
    """Does something of its own with the state that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.times = nn.Linear(2, 2), 0

    def __setstate__(self, state: dict[str, object]) -> None:
        super().__setstate__(state)
        self.times = self.times + 1


class Noting(nn.Module):
    def __deepcopy__(self, memo: dict[int, object]) -> "Noting":
        memo[id(self)] = new = Noting()
        new.asked = True
        return new


class Reduced(nn.Module):
    def __reduce__(self) -> tuple[object, ...]:
        return (nn.Linear, (2, 2))


def test_modules_that_say_how_they_are_copied_are_asked():
    odd = duplicate(nn.Sequential(Noting(), Reduced()))
    assert odd[0].asked
    assert type(odd[1]) is nn.Linear
    new = duplicate(nn.Sequential(Slotted(), Counted()))
    assert not hasattr(new[0], "secret")
    assert new[1].times == 1
    assert torch.equal(copy.deepcopy(Counted()).layer.weight * 0, new[1].layer.weight * 0)


@pytest.mark.parametrize("cycle", [True, False])
def test_shared_modules_cycles_and_containers_are_shared_in_the_copy_too(cycle: bool):
    shared = nn.Linear(3, 3)
    inner = nn.Sequential(shared, nn.ReLU())
    model = nn.Sequential(nn.Sequential(nn.Identity(), shared), inner, nn.BatchNorm1d(3))
    if cycle:
        model[1].above = [model]  # in a list, so that it is no child
    numbers = [1, 2]
    model[0].numbers, model[2].numbers, model.nested = numbers, numbers, {"a": {"b": [shared.weight], 3: (4, [5])}}
    model[0].kind, model[0].names = nn.ReLU, {"x", "y"}
    new = duplicate(model)
    assert new[0][1] is new[1][0] is not shared
    assert not cycle or new[1].above[0] is new
    assert new[0].numbers is new[2].numbers is not numbers
    assert new[0].numbers == [1, 2]
    assert new.nested["a"]["b"][0] is new[1][0].weight
    assert new.nested["a"][3] == (4, [5])
    assert new.nested["a"][3][1] is not model.nested["a"][3][1]
    assert (new[0].kind, new[0].names) == (nn.ReLU, {"x", "y"})
    assert new[0].names is not model[0].names
    assert new[2].running_mean is not model[2].running_mean
    assert list(vars(new)) == list(vars(model))


def test_a_copy_is_that_of_deepcopy():
    models = [
        residual(), tied(), nn.Transformer(8, 2, 1, 1, 16, batch_first=True), nn.LSTM(3, 4, 2, bidirectional=True),
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.LazyLinear(3)), nn.ParameterList([torch.ones(2)]),
    ]  # fmt: skip
    for model in models:
        got, expected = duplicate(model), copy.deepcopy(model)
        assert repr(got) == repr(expected)
        for (path, mine), theirs in zip(got.named_modules(), expected.modules(), strict=True):
            assert type(mine) is type(theirs)
            assert list(vars(mine)) == list(vars(theirs)), path
            plain = {k: v for k, v in vars(mine).items() if isinstance(v, (int, float, str, tuple, type(None)))}
            assert {k: vars(theirs)[k] for k in plain} == plain, path
        for (name, value), other in zip(tensors(got).items(), tensors(expected).values(), strict=True):
            assert type(value) is type(other), name
            if not nn.parameter.is_lazy(value):
                assert torch.equal(value, other), name


class Counters(nn.Module):
    """Numbers that share their storage with another one, with more, or that something else belongs to."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("alone", torch.tensor(3))
        self.register_buffer("same", self.alone.detach())
        self.register_buffer("many", torch.arange(4.0))
        self.register_buffer("part", self.many[2])
        self.register_buffer("named", torch.tensor(2.0))
        self.register_buffer("again", self.alone)
        self.named.unit = ["seconds"]
        self.table = {"kept": self.alone, "activation": torch.ones(2, requires_grad=True) * 2}


def test_numbers_that_share_storage_share_it_in_the_copy():
    model = Counters()
    new = duplicate(model)
    for name, value in tensors(model).items():
        assert torch.equal(tensors(new)[name], value)
        assert tensors(new)[name].data_ptr() != value.data_ptr()
    new.alone += 4
    new.many += 1
    assert (new.same, new.again, new.part, new.table["kept"]) == (7, 7, 3, 7)
    assert new.again is new.alone is new.table["kept"]
    assert new.same is not new.alone
    assert (model.alone, model.same, model.part) == (3, 3, 2)
    assert new.named.unit == ["seconds"]
    assert new.named.unit is not model.named.unit
    assert torch.equal(new.table["activation"], torch.full((2,), 2.0)), "an activation in a table is found"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_network_in_another_type_of_numbers_is_what_torch_makes_of_a_copy(dtype: torch.dtype):
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))
    model = nn.ModuleDict({"a": inner, "b": nn.LSTM(3, 5), "c": Counters(), "d": tied()}).to(
        memory_format=torch.channels_last
    )
    model["a"][3].weight.requires_grad_(False)
    before = snapshot(model)
    new, expected = converted(model, dtype), copy.deepcopy({k: model[k] for k in "abd"})
    assert_untouched(model, before)
    for key, module in expected.items():
        module.to(dtype)
        assert list(tensors(new[key])) == list(tensors(module))
        for name, value in tensors(module).items():
            own = tensors(new[key])[name]
            assert (type(own), own.dtype, own.requires_grad, own.stride()) == (
                type(value), value.dtype, value.requires_grad, value.stride()
            ), name  # fmt: skip
            assert torch.equal(own, value)
            assert own.data_ptr() not in {t.data_ptr() for t in tensors(model).values()}
    assert new["d"].decode.weight is new["d"].embed.weight
    assert new["c"].alone.dtype == torch.int64
    assert new["b"]._flat_weights[0] is new["b"].weight_ih_l0
