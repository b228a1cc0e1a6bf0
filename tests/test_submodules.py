"""Paths of modules, beside torch's own."""

import pytest
from torch import nn

from prudent.errors import CannotPrune
from prudent.submodules import modules_by_path


def _tied() -> nn.Module:
    shared = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    inner = nn.ModuleDict({"first": shared, "second": nn.Sequential(shared, nn.Sequential(nn.Linear(3, 3)))})
    network = nn.Module()
    network.inner, network.again = inner, shared[0]
    network.register_module("nothing", None)
    return network


@pytest.mark.parametrize("model", [nn.Linear(2, 2), _tied(), nn.TransformerEncoderLayer(8, 2)])
def test_the_same_modules_in_the_same_order_as_torch_says(model: nn.Module) -> None:
    ours, theirs = modules_by_path(model), list(model.named_modules(remove_duplicate=False))
    assert [path for path, _ in ours] == [path for path, _ in theirs]
    assert all(a is b for (_, a), (_, b) in zip(ours, theirs, strict=True))


def test_a_module_that_contains_itself_is_refused() -> None:
    outer = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU()))
    outer[1].add_module("around", outer)
    with pytest.raises(CannotPrune, match="contains itself"):
        modules_by_path(outer)
