"""Networks as files: what comes back is what was saved, bit for bit."""

import dataclasses
import json

import pytest
import torch

from prudent.errors import BadInput, PrudentError
from prudent.network import fingerprint, parameters
from prudent.networks import Architecture, kept_parameters, load, mask_in, pack, save, unpack
from prudent.pruning import prune
from prudent.surgery.shrinking import Shrunk, shrink
from prudent.training import train
from tests.conftest import batches, chain, images


def pruned(granularity="weight", sparsity=0.7):
    first = prune(chain(norm=True), sparsity=sparsity, granularity=granularity, scope="layer")
    return dataclasses.replace(first, model=train(first.model, batches(), epochs=1, lr=0.01, mask=first.mask))


def build():
    return chain(norm=True)


@pytest.mark.parametrize("granularity", ["weight", "channel"])
def test_masked_networks(tmp_path, granularity):
    network = pruned(granularity)
    back = load(save(network, tmp_path / "n"), build=build)
    assert fingerprint(back.model) == fingerprint(network.model)
    assert (back.score, back.scope, back.requested, back.sparsity) == ("magnitude", "layer", 0.7, network.sparsity)
    assert back.mask.granularity == granularity
    assert all(torch.equal(back.mask.kept[n], k) for n, k in network.mask.kept.items())


def test_smaller_networks(tmp_path):
    small = shrink(prune(chain(norm=True), sparsity=0.5, granularity="channel", scope="layer"), images(2)[0])
    small = dataclasses.replace(small, model=train(small.model, batches(), epochs=1, lr=0.01))
    back = load(save(small, tmp_path), build=build)
    assert isinstance(back, Shrunk)
    assert fingerprint(back.model) == fingerprint(small.model)
    assert (back.proof, back.params, back.macs) == (small.proof, small.params, small.macs)
    assert back.plan.attributes == small.plan.attributes
    assert set(back.plan.slices) == set(small.plan.slices)
    for name, own in small.plan.slices.items():
        assert (back.plan.slices[name].places() == own.places()).all()
    x = images(5)[0]
    assert torch.equal(back.model.eval()(x), small.model.eval()(x))


def test_plain_networks(tmp_path):
    model = chain(norm=True)
    assert fingerprint(load(save(model, tmp_path), build=lambda: build().double().float())) == fingerprint(model)


def test_known_architectures_need_no_build(tmp_path):
    architecture = Architecture(name="small_cnn", shape=(1, 8, 8), classes=10, options={"hidden": 16})
    network = prune(architecture.build(), sparsity=0.9)
    back = load(save(network, tmp_path, architecture=architecture))
    assert fingerprint(back.model) == fingerprint(network.model)


def test_bytes_are_repeatable_and_small():
    network = pruned(sparsity=0.9)
    files = pack(network)
    assert files == pack(network)
    kept = kept_parameters(network)
    assert kept == sum(int((p != 0).sum()) for p in network.model.parameters())
    weights = network.mask.total
    rest = 2 * 6 * 4 + 8  # running statistics and the batch counter
    payload = 4 * kept + sum(-(-k.numel() // 8) for k in network.mask.kept.values()) + rest
    header = len(files["network.safetensors"]) - payload
    assert 0 < header < 1500
    assert payload < 4 * weights


def test_files_are_plain(tmp_path):
    save(pruned(), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["network.json", "network.safetensors"]
    about = json.loads((tmp_path / "network.json").read_text())
    assert (about["kind"], about["granularity"], about["schema"]) == ("masked", "weight", 3)


def test_parameters_kept():
    assert kept_parameters(chain()) == parameters(chain())
    small = shrink(prune(chain(), sparsity=0.5, granularity="channel", scope="layer"), images(2)[0])
    assert kept_parameters(small) == small.params
    masked = prune(chain(), sparsity=0.5, granularity="channel", scope="layer")
    # a silent channel keeps nothing of its own; what the next layer has for it still counts
    assert small.params < kept_parameters(masked) < parameters(chain())


def test_refusals(tmp_path):
    with pytest.raises(PrudentError, match="cannot read"):
        load(tmp_path / "absent", build=build)
    folder = save(pruned(), tmp_path / "n")
    with pytest.raises(BadInput, match="load\\(folder, build="):
        load(folder)
    with pytest.raises(BadInput, match="does not fit"):
        load(folder, build=lambda: torch.nn.Sequential(torch.nn.Linear(2, 2)))
    (folder / "network.safetensors").write_bytes(b"torn")
    with pytest.raises(PrudentError, match="not a whole safetensors file"):
        load(folder, build=build)
    (folder / "network.json").write_text("{}")
    with pytest.raises(PrudentError, match="not a description"):
        load(folder, build=build)
    (folder / "network.json").write_text('{"schema": 99}')
    with pytest.raises(BadInput, match="format 99"):
        load(folder, build=build)


def unsealed(files):
    """The description without its hash of itself, for edits that are meant."""
    about = json.loads(files["network.json"])
    del about["seal"]
    return about


def test_a_missing_tensor_is_told():
    files = pack(pruned())
    about = unsealed(files)
    about["units"]["9.weight"] = [3]
    with pytest.raises(BadInput, match="does not fit"):
        unpack({**files, "network.json": json.dumps(about).encode()}, build=build)


def test_a_changed_file_is_refused_by_name(tmp_path):
    save(pruned(), tmp_path)
    description, numbers = tmp_path / "network.json", tmp_path / "network.safetensors"
    text, content = description.read_text(), numbers.read_bytes()
    description.write_text(text.replace('"score": "magnitude"', '"score": "taylor"'))
    with pytest.raises(BadInput, match=r"network\.json is not as it was written"):
        load(tmp_path, build=build)
    description.write_text(text)
    numbers.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BadInput, match=r"network\.safetensors is not the file"):
        load(tmp_path, build=build)
    numbers.write_bytes(content)
    assert load(tmp_path, build=build).sparsity == pruned().sparsity


def test_the_plan_is_written_for_others_and_checked(tmp_path):
    small = shrink(prune(chain(), sparsity=0.5, granularity="channel", scope="layer"), images(2)[0])
    save(small, tmp_path)
    plan = json.loads((tmp_path / "plan.json").read_text())
    model = build()
    for entry in plan["parameters"]:
        value = model.get_parameter(f"{entry['module']}.{entry['parameter']}")
        assert list(value.shape) == entry["shape"]
        for dim, kept in entry["kept"].items():
            value = value.index_select(int(dim), torch.tensor(kept))
        assert list(value.shape) == entry["left"]
        assert value.shape == small.model.get_parameter(f"{entry['module']}.{entry['parameter']}").shape
    assert plan["attributes"]["3"] == {"out_channels": 3, "in_channels": 2}
    text = (tmp_path / "plan.json").read_text()
    (tmp_path / "plan.json").write_text(text.replace("0", "1", 1))
    with pytest.raises(BadInput, match=r"plan\.json is not the file"):
        load(tmp_path, build=build)
    (tmp_path / "plan.json").unlink()
    with pytest.raises(PrudentError, match=r"plan\.json"):
        load(tmp_path, build=build)


def with_architecture(files, **change):
    about = unsealed(files)
    about["architecture"] = {"name": "os:system", "shape": [1], "classes": 2, "options": {}} | change
    return {**files, "network.json": json.dumps(about).encode()}


def test_code_that_a_file_names_is_never_run(tmp_path):
    flag = tmp_path / "ran"
    evil = with_architecture(pack(pruned()), name="os:mkdir", options={"path": str(flag)})
    for name, content in evil.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=r"'os:mkdir' is none of prudent's own.*load\(folder, build="):
        load(tmp_path)
    assert not flag.exists()
    assert load(tmp_path, build=build).sparsity == pruned().sparsity
    with pytest.raises(BadInput, match="is none of prudent's own"):
        unpack(with_architecture(pack(pruned()), name=3))


def test_weights_that_came_back_are_not_lost_silently(tmp_path):
    first = pruned()
    grown = dataclasses.replace(first, model=train(first.model, batches(), epochs=1, lr=0.01))
    with pytest.raises(BadInput, match=r"removes elements of '.*' that are not zero.*train with mask="):
        save(grown, tmp_path / "n")
    assert not (tmp_path / "n").exists()


class Tied(torch.nn.Module):
    def __init__(self, tie=True):
        super().__init__()
        self.enc = torch.nn.Embedding(7, 5)
        self.dec = torch.nn.Linear(5, 7)
        if tie:
            self.dec.weight = self.enc.weight

    def forward(self, x):
        return self.dec(self.enc(x).mean(dim=1))


def test_tied_weights_are_pruned_trained_stored_once_and_loaded_tied(tmp_path):
    torch.manual_seed(0)
    model = Tied()
    assert fingerprint(load(save(model, tmp_path / "plain"), build=Tied)) == fingerprint(model)
    half = prune(model, sparsity=0.5)
    assert int((half.model.enc.weight == 0).sum()) == 18
    examples = [(torch.randint(0, 7, (8, 3)), torch.randint(0, 7, (8,)))]
    half = dataclasses.replace(half, model=train(half.model, examples, epochs=2, lr=0.1, mask=half.mask))
    assert half.model.enc.weight is half.model.dec.weight
    assert int((half.model.enc.weight == 0).sum()) == 18
    files = pack(half)
    assert len(files["network.safetensors"]) < 17 * 4 + 7 * 4 + 5 + 400
    back = unpack(files, build=Tied)
    assert fingerprint(back.model) == fingerprint(half.model)
    assert back.model.enc.weight is back.model.dec.weight
    with pytest.raises(BadInput, match="ties weights that differ"):
        unpack(pack(Tied(tie=False)), build=Tied)


def test_views_of_one_storage_are_stored_whole():
    model = torch.nn.Linear(2, 2)
    whole = torch.arange(8.0)
    model.register_buffer("left", whole[:5])
    model.register_buffer("right", whole[3:])
    back = unpack(pack(model), build=lambda: with_buffers(torch.nn.Linear(2, 2)))
    assert fingerprint(back) == fingerprint(model)


def with_buffers(model):
    for name in ("left", "right"):
        model.register_buffer(name, torch.zeros(5))
    return model


def test_dtypes_come_back(tmp_path):
    for model in (build().bfloat16(), build().double()):
        assert fingerprint(load(save(model, tmp_path), build=build)) == fingerprint(model)
    half = prune(build(), sparsity=0.5)
    half = dataclasses.replace(half, model=half.model.bfloat16())
    back = load(save(half, tmp_path), build=build)
    assert fingerprint(back.model) == fingerprint(half.model)
    assert next(back.model.parameters()).dtype == torch.bfloat16


def test_the_mask_is_read_without_the_architecture():
    network = pruned()
    mask = mask_in(pack(network))
    assert all(torch.equal(mask.kept[n], k) for n, k in network.mask.kept.items())
    assert mask.sparsity == network.sparsity
    with pytest.raises(BadInput, match="has no mask"):
        mask_in(pack(chain()))
