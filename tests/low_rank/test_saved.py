"""Networks of low rank as files: what comes back is what was saved, nothing is a pickle, and changes are refused."""

import dataclasses
import hashlib
import json

import pytest
import torch
from torch import nn

from prudent.cli import run
from prudent.errors import BadInput, PrudentError
from prudent.export import export_onnx
from prudent.low_rank.factorisation import factorise
from prudent.network import fingerprint, parameters
from prudent.networks import Architecture, kept_parameters, load, pack, save, unpack
from prudent.speed import bench
from prudent.training import train
from tests.conftest import assert_untouched, batches, chain, images, snapshot

SMALL = Architecture(name="small_cnn", shape=(1, 8, 8), classes=10, options={"widths": [4, 6, 8], "hidden": 12})


def build():
    return chain(norm=True)


def factorised(method="alds"):
    return factorise(build().eval(), keep=0.7, method=method)


def grouped():
    """A linear layer in two groups, which only a module of prudent's own can be."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 3))
    with torch.no_grad():  # each half of the inputs is of rank 1, all of them are of rank 2
        model[0].weight.copy_(torch.cat([torch.rand(10, 1) @ torch.rand(1, 6) for _ in range(2)], dim=1))
    return model, factorise(model, parameters=100, layers=["0"])


@pytest.mark.parametrize("method", ["alds", "svd"])
def test_what_comes_back_is_what_was_saved(tmp_path, method):
    network = factorised(method)
    network = dataclasses.replace(network, model=train(network.model, batches(), epochs=1, lr=0.01))
    before = snapshot(network.model)
    back = load(save(network, tmp_path), build=build)
    assert_untouched(network.model, before)
    assert fingerprint(back.model) == fingerprint(network.model)
    assert list(back.plan.items()) == list(network.plan.items())
    assert len(back.plan) > 1
    for name in ("errors", "left_alone", "method", "params_before", "params", "kept", "error"):
        assert getattr(back, name) == getattr(network, name), name
    assert back.params == parameters(network.model) == kept_parameters(network)
    x = images(5)[0]
    assert torch.equal(back.model.eval()(x), network.model.eval()(x))
    assert back.params < parameters(build())


def test_groups_come_back(tmp_path):
    model, network = grouped()
    assert network.plan["0"].groups == 2
    back = load(save(network, tmp_path), build=lambda: nn.Sequential(nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 3)))
    assert back.plan == network.plan
    x = torch.rand(7, 12)
    assert torch.equal(back.model(x), network.model(x))
    torch.testing.assert_close(back.model(x), model(x), rtol=1e-4, atol=1e-5)


def test_files_are_plain_numbers_and_words(tmp_path):
    save(factorised(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["network.json", "network.safetensors"]
    about = json.loads((tmp_path / "network.json").read_text())
    assert about["kind"] == "low rank"
    assert all(len(one) == 4 and one[1] in ("encode", "split1", "split2", "decode") for one in about["factors"])
    content = (tmp_path / "network.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    stored = sum(
        end - start for key, one in header.items() if key != "__metadata__" for start, end in [one["data_offsets"]]
    )
    own = sum(v.numel() * v.element_size() for v in factorised().model.state_dict().values())
    assert stored == own
    assert pack(factorised()) == pack(factorised())


def resealed(files, **changed):
    """Files whose description says something else, with a hash that fits it."""
    about = json.loads(files["network.json"])
    del about["seal"]
    about |= changed
    seal = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    return {**files, "network.json": json.dumps(about | {"seal": seal}).encode()}


def test_changed_and_torn_files_are_refused(tmp_path):
    save(factorised(), tmp_path)
    description, numbers = tmp_path / "network.json", tmp_path / "network.safetensors"
    text, content = description.read_text(), numbers.read_bytes()
    description.write_text(text.replace('"method": "alds"', '"method": "svd"'))
    with pytest.raises(BadInput, match=r"network\.json is not as it was written"):
        load(tmp_path, build=build)
    description.write_text(text)
    for torn in (content[:-1] + bytes([content[-1] ^ 1]), content[:-5]):
        numbers.write_bytes(torn)
        with pytest.raises(PrudentError, match=r"network\.safetensors is not"):
            load(tmp_path, build=build)
    numbers.write_bytes(content)
    assert load(tmp_path, build=build).method == "alds"
    with pytest.raises(BadInput, match="build=a function"):
        load(tmp_path)


def test_what_does_not_fit_is_refused_even_with_a_hash_that_does():
    files = pack(factorised())
    factors = json.loads(files["network.json"])["factors"]
    name, scheme, groups, rank = factors[0]
    wrongs = (
        [name, scheme, groups, rank + 1], [name, "sideways", groups, rank], [name, scheme, 7, rank],
        ["nothing", scheme, groups, rank], [name, scheme, groups, 10_000], [name, scheme, groups],
    )  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(PrudentError):
            unpack(resealed(files, factors=[wrong, *factors[1:]]), build=build)
    with pytest.raises(BadInput, match="build the architecture that was factorised"):
        unpack(files, build=lambda: nn.Sequential(nn.Linear(4, 4)))
    assert unpack(resealed(files), build=build).params == factorised().params


def test_exported_and_timed_like_any_other(tmp_path, capsys):
    model = SMALL.build().eval()
    network = factorise(model, keep=0.7)
    inputs = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    told = export_onnx(network, tmp_path / "direct.onnx", inputs)
    assert told.relative < 1e-5
    folder = save(network, tmp_path / "net", architecture=SMALL)
    assert load(folder).params == network.params
    assert run(["export", str(folder), "--data", "digits", "--out", str(tmp_path / "net.onnx")]) == 0
    assert "same top-1 class for 100" in capsys.readouterr().out
    assert (tmp_path / "net.onnx").stat().st_size > 0
    assert run(["prune", str(folder), "--data", "digits", "--sparsity", "0.5", "--out", str(tmp_path / "no")]) == 2
    assert "products of two already" in capsys.readouterr().err
    speeds = bench(network, model, inputs, runtimes=["eager"], batches=[1], threads=[1], turns=6)
    assert len(speeds.races) == 1
