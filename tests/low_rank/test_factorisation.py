"""Whole networks: budgets, errors, what stays as it was, training, export."""

import copy

import pytest
import torch
from torch import nn

import prudent
from prudent.errors import BadInput, CannotPrune, UnknownName
from prudent.low_rank.factorisation import factorise
from prudent.low_rank.folding import Factors
from prudent.network import macs, parameters
from prudent.training import train
from tests.conftest import assert_untouched, batches, chain, images, snapshot


def low_rank_chain():
    """The chain with weights whose singular values fall, as trained ones do."""
    model = chain(norm=True)
    with torch.no_grad():
        for module in model:
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                u, s, v = torch.linalg.svd(module.weight.flatten(1), full_matrices=False)
                module.weight.copy_(((u * s * 0.6 ** torch.arange(len(s))) @ v).reshape(module.weight.shape))
    return model


@pytest.mark.parametrize("method", ["svd", "alds"])
@pytest.mark.parametrize("keep", [0.5, 0.7, 0.9])
def test_counts_are_exact_and_within_the_budget(method, keep):
    model = low_rank_chain()
    before = snapshot(model)
    small = factorise(model, keep=keep, method=method)
    assert_untouched(model, before)
    assert small.params_before == parameters(model)
    assert small.params == parameters(small.model) <= int(keep * parameters(model))
    assert small.kept == small.params / small.params_before <= keep
    assert small.method == method
    assert type(small.model) is type(model)
    assert set(small.plan) | set(small.left_alone) == {"0", "3", "8", "11"}
    assert small.error == max(small.errors.values())
    if method == "svd":
        assert {(f.scheme, f.groups) for f in small.plan.values()} == {("encode", 1)}
    assert small.model(images(3)[0]).shape == (3, 3)


def test_the_same_budget_both_ways():
    model = low_rank_chain()
    one, two = factorise(model, keep=0.7), factorise(model, parameters=int(0.7 * parameters(model)))
    assert one.plan == two.plan
    assert one.errors == two.errors
    # in floats 0.35 * 360 is 125.99999999999999
    thin = nn.Sequential(nn.Linear(12, 30, bias=False))
    assert factorise(thin, keep=0.35, method="svd").params == 126
    assert factorise(thin, parameters=126, method="svd").params == 126
    assert factorise(thin, parameters=125, method="svd").params == 84


@pytest.mark.parametrize("keep", [0.5, 0.6, 0.7, 0.8, 0.9])
def test_alds_is_never_worse_than_svd(keep):
    for model in (low_rank_chain(), chain()):
        alds, svd = (factorise(model, keep=keep, method=method) for method in ("alds", "svd"))
        assert alds.error <= svd.error + 1e-9


def test_alds_is_better_where_groups_or_schemes_fit():
    torch.manual_seed(0)
    rows, columns = torch.randn(8, 1, 3, 1), torch.randn(1, 8, 1, 3)
    model = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(8, 2))
    with torch.no_grad():
        model[0].weight.copy_(rows * columns)  # of rank one when rows and columns are taken apart
    # outputs go with rows and inputs with columns
    assert factorise(model, keep=0.2).plan["0"] == Factors(scheme="split2", groups=1, rank=1)
    assert factorise(model, keep=0.2, layers=["0"]).error < 1e-6
    assert factorise(model, keep=0.5, method="svd").error < 1e-6  # three ranks hold it too, but for more weights
    with pytest.raises(BadInput, match="cannot be met"):
        factorise(model, keep=0.1)


@pytest.mark.parametrize("method", ["svd", "alds"])
def test_reported_errors_are_those_of_the_modules(method):
    model = low_rank_chain().double()
    small = factorise(model, keep=0.6, method=method)
    for name, error in small.errors.items():
        layer, both = model.get_submodule(name), copy.deepcopy(small.model.get_submodule(name))
        shape = tuple(layer.weight.shape)
        patches = torch.eye(layer.weight[0].numel(), dtype=torch.float64).reshape(-1, *shape[1:])
        layer = copy.deepcopy(layer)
        for module in (layer, *both):
            module.padding = (0, 0)  # linear layers do not read it
        with torch.no_grad():
            whole, small_one = (module(patches).reshape(len(patches), shape[0]).T for module in (layer, both))
            off = torch.linalg.matrix_norm(small_one - whole, 2)
            largest = torch.linalg.matrix_norm(whole - layer.bias[:, None], 2)
        assert error == pytest.approx(float(off / largest), abs=1e-9)


def test_errors_of_half_precision_are_those_of_the_stored_numbers():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 30, bias=False)).to(torch.bfloat16)
    small = factorise(model, keep=0.5, method="svd")
    one, two = (module.weight.double() for module in small.model[0])
    whole = model[0].weight.double()
    off = torch.linalg.matrix_norm(whole - two @ one, 2) / torch.linalg.matrix_norm(whole, 2)
    assert small.error == pytest.approx(off.item(), rel=1e-12)


def test_a_higher_budget_never_has_a_larger_error():
    errors = [factorise(low_rank_chain(), keep=keep).error for keep in (0.5, 0.6, 0.7, 0.8, 0.9, 0.99)]
    assert errors == sorted(errors, reverse=True)


def test_only_the_wanted_layers():
    small = factorise(low_rank_chain(), parameters=500, layers=["8"])
    assert set(small.plan) == {"8"}
    assert small.left_alone == {"0": "not asked for", "3": "not asked for", "11": "not asked for"}


def test_the_network_may_be_the_layer():
    small = factorise(nn.Linear(40, 30), keep=0.5)
    assert isinstance(small.model, nn.Sequential)
    assert small.model(torch.rand(2, 40)).shape == (2, 30)


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(20, 16)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.body = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 24))
        self.twice = nn.Linear(24, 24)
        self.again = nn.ModuleList([self.twice])
        self.grouped = nn.Conv1d(24, 24, 1, groups=2)
        self.up = nn.ConvTranspose1d(24, 24, 1)
        self.parametrised = nn.utils.parametrizations.weight_norm(nn.Linear(24, 24))
        self.hooked = nn.Linear(24, 24)
        self.hooked.register_forward_hook(lambda *_: None)
        self.thin = nn.Linear(24, 1)
        self.head = nn.Linear(16, 20, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        x = self.twice(self.twice(self.body(self.encoder(self.embedding(tokens)))))
        x = self.up(self.grouped(x.transpose(1, 2))).transpose(1, 2)
        return self.thin(self.hooked(self.parametrised(x)))[:, 0]


def test_what_cannot_be_factorised_is_left_alone_with_the_reason():
    model = Branches().eval()
    small = factorise(model, parameters=parameters(model) - 300)
    assert set(small.plan) == {"body.0", "body.2"}
    starts = {
        "encoder.self_attn.out_proj": "a NonDynamicallyQuantizableLinear with a forward",
        "encoder.linear1": "part of nn.TransformerEncoderLayer",
        "encoder.linear2": "part of nn.TransformerEncoderLayer",
        "twice": "tied", "grouped": "a grouped convolution", "up": "a transposed convolution", "head": "tied",
        "parametrised": "masked or parametrised", "hooked": "hooked", "thin": "no rank has fewer weights",
    }  # fmt: skip
    assert small.left_alone.keys() == starts.keys()
    assert all(reason.startswith(starts[name]) for name, reason in small.left_alone.items())
    tokens = torch.randint(0, 20, (3, 5))
    with torch.no_grad():
        assert small.model(tokens).shape == (3, 1)
    assert small.model.head.weight is small.model.embedding.weight
    assert small.model.twice is small.model.again[0]
    with pytest.raises(CannotPrune, match="'hooked' cannot be factorised: hooked"):
        factorise(model, keep=0.9, layers=["hooked"])


def test_dtype_modes_and_frozen_parameters_stay():
    model = low_rank_chain().to(torch.bfloat16).eval()
    model[3].weight.requires_grad_(False)
    small = factorise(model, keep=0.5)
    assert {p.dtype for p in small.model.parameters()} == {torch.bfloat16}
    assert not any(module.training for module in small.model.modules())
    assert {n for n, p in small.model.named_parameters() if not p.requires_grad} == {"3.0.weight", "3.1.weight"}


def test_fine_tuning_works_and_lowers_the_loss():
    dense = train(low_rank_chain(), batches(120), epochs=4, lr=0.01)
    small = factorise(dense, keep=0.4)
    losses = []
    tuned = train(small.model, batches(120), epochs=6, lr=0.01, on_epoch=lambda epoch: losses.append(epoch.loss))
    assert losses[-1] < 0.5 * losses[0]
    assert parameters(tuned) == small.params
    assert all(p.abs().max() > 0 for p in tuned.parameters())


def test_multiply_accumulates_fall_with_the_parameters_of_linear_layers():
    model = nn.Sequential(nn.Linear(64, 48, bias=False), nn.ReLU(), nn.Linear(48, 32, bias=False))
    small = factorise(model, keep=0.3)
    assert macs(small.model, torch.rand(1, 64)) == small.params


def grouped_model():
    torch.manual_seed(0)
    first = nn.Linear(32, 16)
    with torch.no_grad():
        # of rank one in each of the four groups
        first.weight.copy_(torch.cat([torch.randn(16, 1) @ torch.randn(1, 8) for _ in range(4)], dim=1))
    model = nn.Sequential(first, nn.ReLU(), nn.Linear(16, 3)).eval()
    small = factorise(model, keep=0.4, layers=["0"])
    assert small.plan["0"].groups == 4
    assert small.error < 1e-6
    return model, small.model


def test_grouped_linear_layers_are_exported_by_torch():
    model, small = grouped_model()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(small, (torch.rand(2, 32),), dynamic_shapes=({0: batch},))
    inputs = torch.rand(7, 32)
    torch.testing.assert_close(program.module()(inputs), model(inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # inside of the exporter
def test_grouped_linear_layers_run_in_onnx(tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    model, small = grouped_model()
    batch = torch.export.Dim("batch", min=1, max=64)
    path, example = tmp_path / "small.onnx", torch.rand(2, 32)
    torch.onnx.export(small, (example,), path, input_names=["x"], dynamic_shapes=({0: batch},), verbose=False)
    session = runtime.InferenceSession(path)
    inputs = torch.rand(7, 32)
    (got,) = session.run(None, {"x": inputs.numpy()})
    torch.testing.assert_close(torch.from_numpy(got), model(inputs).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, BadInput, "one of parameters and keep; got none"),
        ({"keep": 0.5, "parameters": 500}, BadInput, "got both"),
        ({"keep": 0.0}, BadInput, r"in \(0, 1\); got 0.0"),
        ({"keep": 1}, BadInput, r"in \(0, 1\); got 1"),
        ({"keep": float("nan")}, BadInput, "got nan"),
        ({"keep": "0.5"}, BadInput, "got '0.5'"),
        ({"parameters": 500.0}, BadInput, "a whole number; got 500.0"),
        ({"parameters": 10**9}, BadInput, "the network has 545 parameters, so a budget of 1,000,000,000 is met"),
        ({"parameters": 10}, BadInput, r"10 parameters cannot be met: \d+ of 545 are left with the lowest rank"),
        ({"keep": 0.5, "method": "sdv"}, UnknownName, "Did you mean 'svd'"),
        ({"keep": 0.5, "layers": ["88"]}, UnknownName, "no layer named '88'. Did you mean '8'"),
        ({"keep": 0.5, "layers": []}, CannotPrune, "no linear or convolution layer that can be"),
    ],
)
def test_refusals(options, error, message):
    with pytest.raises(error, match=message):
        factorise(chain(), **options)


def test_one_can_go_as_far_as_the_refusal_says():
    with pytest.raises(BadInput, match=r"(\d+) of 545 are left") as refused:
        factorise(chain(), parameters=10)
    fewest = int(str(refused.value).split(": ")[1].split()[0])
    assert factorise(chain(), parameters=fewest).params == fewest
    with pytest.raises(BadInput, match="cannot be met"):
        factorise(chain(), parameters=fewest - 1)


def test_networks_that_cannot_be_factorised():
    with pytest.raises(CannotPrune, match="'0' is a grouped convolution"):
        factorise(nn.Sequential(nn.Conv2d(4, 4, 3, groups=4)), keep=0.5)
    with pytest.raises(CannotPrune, match="has no linear or convolution layer that can be factorised$"):
        factorise(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3)), keep=0.5)
    with pytest.raises(CannotPrune, match="too thin"):
        factorise(nn.Sequential(nn.Linear(2, 2)), keep=0.5)
    with pytest.raises(BadInput, match="'0' is on the meta device"):
        factorise(nn.Sequential(nn.Linear(20, 20, device="meta")), keep=0.5)
    broken = nn.Sequential(nn.Linear(20, 20))
    with torch.no_grad():
        broken[0].weight[3, 4] = torch.nan
    with pytest.raises(BadInput, match="'0' has weights that are not finite"):
        factorise(broken, keep=0.5)


def test_the_public_names():
    assert prudent.factorise is factorise
    assert isinstance(factorise(chain(), keep=0.7), prudent.Factorised)
