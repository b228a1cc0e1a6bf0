"""Two modules in a row against the layer that they stand for."""

import copy
import itertools

import pytest
import torch
from torch import nn

from prudent.errors import BadInput, CannotPrune, UnknownName
from prudent.low_rank.factorisation import factorise
from prudent.low_rank.folding import Factors, factors_of, folds, product, splits
from prudent.low_rank.grouped import GroupedLinear
from prudent.low_rank.replacement import factorised_like, filled, pair
from tests.conftest import chain, snapshot


def layers():
    torch.manual_seed(0)
    yield nn.Linear(6, 5)
    yield nn.Linear(6, 5, bias=False)
    yield nn.Conv1d(4, 6, 3, stride=2, padding=1)
    yield nn.Conv2d(4, 5, 1, stride=2)
    yield nn.Conv2d(4, 5, 1, stride=(1, 2), padding=(2, 1))
    yield nn.Conv2d(4, 6, (3, 2), stride=(2, 3), padding=(1, 2), dilation=(1, 2), bias=False)
    yield nn.Conv2d(4, 6, (3, 4), padding="same", dilation=(2, 1))
    yield nn.Conv2d(4, 6, 3, padding="valid", stride=(1, 2))
    yield nn.Conv2d(4, 6, (1, 3), padding=(1, 1))
    for mode in ("circular", "reflect", "replicate"):
        yield nn.Conv2d(4, 6, (3, 5), padding=(1, 2), stride=(2, 1), padding_mode=mode)
        yield nn.Conv2d(4, 6, (2, 3), padding="same", padding_mode=mode)
    yield nn.Conv3d(2, 4, (3, 2, 1), stride=(1, 2, 1), padding=(1, 0, 2))


def inputs_of(layer):
    generator = torch.Generator().manual_seed(1)
    if isinstance(layer, nn.Linear):
        return torch.randn(2, 3, layer.in_features, dtype=torch.float64, generator=generator)
    sizes = (9, 8, 6)[: len(layer.kernel_size)]
    return torch.randn(2, layer.in_channels, *sizes, dtype=torch.float64, generator=generator)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # torch's, and the layer's own
@pytest.mark.parametrize("layer", list(layers()), ids=str)
def test_two_modules_compute_what_the_product_of_the_factors_computes(layer):
    layer = layer.double()
    inputs, shape = inputs_of(layer), tuple(layer.weight.shape)
    for each, groups in itertools.product(folds(shape), splits(shape[1])):
        for rank in {1, 2, each.full_rank(groups)}:
            if rank > each.full_rank(groups):
                continue
            factors = Factors(scheme=each.scheme, groups=groups, rank=rank)
            first, second = factors_of(layer.weight.detach(), factors)
            same = copy.deepcopy(layer)
            with torch.no_grad():
                same.weight.copy_(product(shape, factors, first, second))
                got, expected = filled(layer, factors, first, second)(inputs), same(inputs)
            assert got.shape == expected.shape
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
            if rank == each.full_rank(groups):
                torch.testing.assert_close(got, layer(inputs).detach(), rtol=0, atol=1e-12)


def test_the_modules_are_plain_and_really_smaller():
    linear, grouped = (pair(nn.Linear(6, 5), Factors(scheme="encode", groups=g, rank=2)) for g in (1, 3))
    assert [type(m) for m in linear] == [nn.Linear, nn.Linear]
    assert [type(m) for m in grouped] == [GroupedLinear, nn.Linear]
    assert {k: tuple(v.shape) for k, v in grouped.state_dict().items()} == {
        "0.weight": (3, 2, 2), "1.weight": (5, 6), "1.bias": (5,)
    }  # fmt: skip
    conv = pair(nn.Conv2d(4, 6, 3, stride=2, padding=1), Factors(scheme="split1", groups=2, rank=3))
    assert str(conv[0]) == "Conv2d(4, 6, kernel_size=(3, 1), stride=(2, 1), padding=(1, 0), groups=2, bias=False)"
    assert str(conv[1]) == "Conv2d(6, 6, kernel_size=(1, 3), stride=(1, 2), padding=(0, 1))"


def test_dtype_mode_and_what_is_frozen_stay():
    layer = nn.Conv2d(4, 6, 3).to(torch.bfloat16).eval()
    layer.weight.requires_grad_(False)
    both = pair(layer, Factors(scheme="encode", groups=2, rank=1))
    assert not any(module.training for module in both.modules())
    assert {name: (p.dtype, p.requires_grad) for name, p in both.named_parameters()} == {
        "0.weight": (torch.bfloat16, False), "1.weight": (torch.bfloat16, False), "1.bias": (torch.bfloat16, True)
    }  # fmt: skip


@pytest.mark.parametrize("shape", [(8,), (3, 8), (2, 3, 8), (0, 8)])
def test_a_grouped_linear_layer_is_a_block_diagonal_one(shape):
    layer = GroupedLinear(8, 6, groups=2)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(2, 3, 4))
    inputs = torch.randn(shape)
    torch.testing.assert_close(layer(inputs), inputs @ torch.block_diag(*layer.weight).T)
    assert str(layer) == "GroupedLinear(in_features=8, out_features=6, groups=2)"


def test_a_state_dict_and_a_plan_are_all_it_takes():
    torch.manual_seed(3)
    model = chain(norm=True)
    small = factorise(model, keep=0.5)
    assert small.plan
    empty = factorised_like(chain(norm=True), small.plan)
    assert {n: p.abs().max().item() for n, p in empty.named_parameters() if n.startswith("0.")} == {
        "0.0.weight": 0, "0.1.weight": 0, "0.1.bias": 0
    }  # fmt: skip
    empty.load_state_dict(small.model.state_dict())
    inputs = torch.rand(4, 1, 8, 8)
    assert torch.equal(empty.eval()(inputs), small.model.eval()(inputs))
    on_meta = factorised_like(model.to("meta"), small.plan)
    on_meta.load_state_dict(small.model.state_dict(), assign=True)
    assert torch.equal(on_meta.eval()(inputs), small.model.eval()(inputs))


def test_an_empty_plan_is_a_copy():
    model = chain()
    same = factorised_like(model, {})
    assert same is not model
    assert snapshot(same)["state"].keys() == snapshot(model)["state"].keys()


@pytest.mark.parametrize(
    ("name", "factors", "error", "message"),
    [
        ("4", ("encode", 1, 1), UnknownName, "no layer named '4'"),
        ("3", ("encode", 3, 1), BadInput, "groups of '3' must divide its 4 inputs; got 3"),
        ("3", ("encode", 0, 1), BadInput, "groups of '3' must divide"),
        ("3", ("encode", 2, 0), BadInput, r"a rank of '3' in 2 groups is in 1 \.\. 6; got 0"),
        ("3", ("encode", 2, 7), BadInput, r"1 \.\. 6; got 7"),
        ("8", ("decode", 1, 1), BadInput, "is folded by encode; got 'decode'"),
    ],
)
def test_bad_plans(name, factors, error, message):
    scheme, groups, rank = factors
    with pytest.raises(error, match=message):
        factorised_like(chain(), {name: Factors(scheme=scheme, groups=groups, rank=rank)})


def test_a_plan_for_a_layer_that_cannot_be_factorised():
    with pytest.raises(CannotPrune, match="'0' cannot be factorised: a grouped convolution"):
        factorised_like(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)), {"0": Factors(scheme="encode", groups=1, rank=1)})
