import copy
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize
from torch.nn.utils import prune as torch_prune

from prudent.errors import BadInput, CannotPrune
from prudent.network import (
    check_runs,
    evaluating,
    fingerprint,
    macs,
    macs_by_layer,
    parameters,
    prunable,
    seeded,
)
from prudent.pruning import prune
from prudent.side_effects import attributes_kept
from prudent.surgery.tracing import trace
from tests.conftest import chain


def test_prunable_weights_in_order():
    model = chain(norm=True)
    assert list(prunable(model)) == ["0.weight", "3.weight", "8.weight", "11.weight"]
    assert prunable(model)["0.weight"] is model[0].weight


def test_a_single_layer_and_transposed_convolutions():
    assert list(prunable(nn.Linear(2, 2))) == ["weight"]
    assert list(prunable(nn.Sequential(nn.ConvTranspose2d(1, 2, 3), nn.Conv1d(2, 2, 1)))) == ["0.weight", "1.weight"]


def test_tied_weights_once():
    a, b = nn.Linear(4, 4), nn.Linear(4, 4)
    b.weight = a.weight
    assert list(prunable(nn.Sequential(a, b))) == ["0.weight"]


def test_masked_and_parametrised_and_lazy_layers_are_refused_with_what_to_do():
    masked = nn.Sequential(nn.Linear(4, 4))
    torch_prune.l1_unstructured(masked[0], "weight", 0.5)
    with pytest.raises(CannotPrune, match=r"torch\.nn\.utils\.prune\.remove"):
        prunable(masked)
    with pytest.raises(CannotPrune, match="run the network once"):
        prunable(nn.Sequential(nn.LazyLinear(3)))


def old(how, layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # which torch tells to use the newer one
        return how(layer)


PARAMETRISED = "parametrize.remove_parametrizations(layer, 'weight')"


@pytest.mark.parametrize(
    ("change", "kind", "undo", "call"),
    [
        (parametrizations.weight_norm, "WeightNorm", parametrize.remove_parametrizations, PARAMETRISED),
        (parametrizations.spectral_norm, "SpectralNorm", parametrize.remove_parametrizations, PARAMETRISED),
        (parametrizations.orthogonal, "Orthogonal", parametrize.remove_parametrizations, PARAMETRISED),
        (
            lambda layer: old(nn.utils.weight_norm, layer), "weight_norm", nn.utils.remove_weight_norm,
            "torch.nn.utils.remove_weight_norm(layer, 'weight')",
        ),
        (
            lambda layer: old(nn.utils.spectral_norm, layer), "spectral_norm", nn.utils.remove_spectral_norm,
            "torch.nn.utils.remove_spectral_norm(layer, 'weight')",
        ),
        (
            lambda layer: torch_prune.l1_unstructured(layer, "weight", 0.5), "a mask of torch.nn.utils.prune",
            torch_prune.remove, "torch.nn.utils.prune.remove(layer, 'weight')",
        ),
    ],
)  # fmt: skip
def test_weights_that_are_computed_are_refused_with_the_call_that_helps(change, kind, undo, call):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
    change(model[2])
    with pytest.raises(CannotPrune, match="layer '2' does not store its weight") as told:
        prunable(model)
    assert f"by {kind}: call " in str(told.value)
    assert f"{call} first" in str(told.value)
    x = torch.rand(5, 6)
    expected = model.eval()(x)
    undo(model[2], "weight")  # what was advised works, and keeps what the layer computes
    assert list(prunable(model)) == ["0.weight", "2.weight"]
    torch.testing.assert_close(model(x), expected)
    assert prune(model, sparsity=0.5, granularity="channel").sparsity == 0.5


def test_other_modules_that_compute_parameters():
    attention = nn.TransformerEncoderLayer(12, 3, 20, batch_first=True)
    parametrizations.weight_norm(attention.self_attn, "in_proj_weight")
    with pytest.raises(CannotPrune, match="layer 'self_attn' does not store its in_proj_weight"):
        prune(attention, sparsity=0.5)  # not only what else could be pruned

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cells, self.fc = nn.LSTM(6, 8, batch_first=True), nn.Linear(8, 3)

        def forward(self, x):
            return self.fc(self.cells(x)[0][:, -1])

    model = Recurrent()
    parametrizations.weight_norm(model.cells, "weight_hh_l0")
    assert prune(model, sparsity=0.5).sparsity == pytest.approx(0.5)  # single weights of other layers
    with pytest.raises(CannotPrune, match="layer 'cells' does not store its weight_hh_l0: .* by WeightNorm"):
        prune(model, sparsity=0.5, granularity="channel", example=torch.rand(2, 5, 6))
    parametrize.remove_parametrizations(model.cells, "weight_hh_l0")
    assert prune(model, sparsity=0.5, granularity="channel", example=torch.rand(2, 5, 6)).sparsity == 0.5


def test_weights_of_code_of_ones_own():
    layer = nn.Linear(3, 2)
    del layer.weight
    layer.weight = torch.rand(2, 3)
    with pytest.raises(CannotPrune, match="by code of its own: make it a parameter first"):
        prunable(nn.Sequential(layer))


def test_evaluating_restores_every_mode_even_after_an_error():
    model = chain(norm=True)
    model[3].eval()
    before = [m.training for m in model.modules()]
    with pytest.raises(RuntimeError, match="inside"), evaluating(model):
        assert not any(m.training for m in model.modules())
        raise RuntimeError("inside")
    assert [m.training for m in model.modules()] == before


def test_seeded_is_repeatable_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    with seeded(5):
        first = torch.rand(3)
    with seeded(5):
        assert torch.equal(first, torch.rand(3))
    assert torch.equal(before, torch.get_rng_state())


def test_fingerprint():
    model = chain(norm=True)
    same = fingerprint(model)
    assert len(same) == 64
    assert fingerprint(model.state_dict()) == same
    with torch.no_grad():
        model[0].weight[0, 0, 0, 0] += 1e-7
    assert fingerprint(model) != same
    assert fingerprint({"a": torch.zeros(2, 3)}) != fingerprint({"a": torch.zeros(3, 2)})
    assert fingerprint({"a": torch.zeros(2)}) != fingerprint({"a": torch.zeros(2, dtype=torch.float64)})
    assert fingerprint({"a": torch.zeros(2)}) != fingerprint({"b": torch.zeros(2)})
    assert fingerprint({"a": torch.zeros(2, 3).t()}) == fingerprint({"a": torch.zeros(3, 2)})
    assert fingerprint({"a": torch.ones(2, dtype=torch.bfloat16)})


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.Conv2d(3, 8, 3, padding=1), (1, 3, 10, 12), 8 * 3 * 9 * 120),
        (nn.Conv2d(4, 8, 3, groups=2), (1, 4, 10, 10), 8 * 2 * 9 * 64),
        (nn.Conv2d(4, 4, 3, groups=4, padding=1), (1, 4, 6, 6), 4 * 9 * 36),
        (nn.Conv2d(2, 5, 3, dilation=2, stride=2), (1, 2, 15, 15), 5 * 2 * 9 * 36),
        (nn.ConvTranspose2d(4, 6, 2, stride=2), (1, 4, 5, 5), 4 * 6 * 4 * 25),
        (nn.Conv1d(3, 4, 5), (2, 3, 20), 2 * 4 * 3 * 5 * 16),
        (nn.Linear(10, 7), (3, 10), 210),
    ],
)
def test_macs_of_layers_counted_by_hand(layer, shape, expected):
    model = nn.Sequential(layer)
    assert macs(model, torch.rand(*shape)) == expected
    assert macs_by_layer(model, torch.rand(*shape)) == {"0": expected}


def test_macs_of_a_network_by_layer():
    model, x = chain(), torch.rand(1, 1, 8, 8)
    expected = {"0": 4 * 9 * 64, "3": 6 * 4 * 9 * 16, "8": 24 * 10, "11": 30}
    assert macs_by_layer(model, x) == expected
    assert macs(model, x) == sum(expected.values())
    assert macs(model, torch.rand(5, 1, 8, 8)) == 5 * sum(expected.values())


def test_macs_outside_of_modules_are_not_lost():
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 3)
            self.table = nn.Parameter(torch.rand(3, 2))

        def forward(self, x):
            return self.inner(x) @ self.table

    assert macs_by_layer(Own(), torch.rand(5, 4)) == {"inner": 60, "": 30}


def test_nested_names():
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 3)), nn.Linear(3, 2))
    assert macs_by_layer(model, torch.rand(1, 4)) == {"0.0": 12, "1": 6}


def test_parameters():
    assert parameters(nn.Linear(3, 4)) == 16


def test_check_runs():
    model = chain()
    assert check_runs(model, torch.rand(4, 1, 8, 8)).shape == (4, 3)
    with pytest.raises(BadInput, match=r"Sequential does not run on an input of shape \(4, 1, 9, 20\)"):
        check_runs(model, torch.rand(4, 1, 9, 20))
    with pytest.raises(BadInput, match=r"answered \(2, 3, 4\)"):
        check_runs(nn.Identity(), torch.rand(2, 3, 4))


class Caching(nn.Module):
    """Keeps what it computed in containers, as attention biases are kept in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.cache: dict[str, Any] = {}
        self.seen: list[int] = [1]
        self.nested = ({"kinds": {"a"}}, [])
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        if "bias" not in self.cache:
            self.cache["bias"] = self.layer.bias + 1
        self.seen.append(len(x))
        self.nested[0]["kinds"].add("b")
        self.nested[1].append(x)
        self.count = self.count + 1
        return self.layer(x) + self.cache["bias"]


def test_what_a_forward_pass_puts_into_containers_is_undone():
    model = Caching()
    cache, seen, count = model.cache, model.seen, model.count
    with attributes_kept(model):
        model(torch.zeros(4, 3))
        assert seen == [1, 4]
    assert model.cache is cache
    assert (cache, seen, model.nested) == ({}, [1], ({"kinds": {"a"}}, []))
    assert model.count is count


def test_a_trace_leaves_no_tensors_without_values_in_a_cache():
    model, x = nn.Sequential(Caching(), nn.ReLU(), nn.Linear(2, 2)).eval(), torch.randn(4, 3)
    expected = copy.deepcopy(model)(x)
    trace(model, x)
    assert model[0].cache == {}
    torch.testing.assert_close(model(x), expected)
