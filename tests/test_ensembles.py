"""Ensembles as networks: the soft vote by hand, members together and one by one, folders, ONNX, certificates."""

import copy
import json
import shutil

import numpy as np
import pytest
import torch
from torch import nn

import prudent
from prudent import artefacts, team_folders
from prudent.building import build as build_model
from prudent.claiming import Claim, certify_artefacts
from prudent.ensembles import join, join_masks, predict_members
from prudent.errors import BadInput, PrudentError
from prudent.export import export_onnx
from prudent.identity import identity
from prudent.network import fingerprint
from prudent.prediction import predict
from prudent.sources import load_data
from prudent.team_folders import TEAM, load_team, names_of, save_team
from prudent.voting import combine
from tests.conftest import assert_untouched, batches, chain, images, normalised, snapshot


def networks(count=3):
    """Of one architecture, with other weights each."""
    made = []
    for i in range(count):
        model = normalised()
        generator = torch.Generator().manual_seed(i)
        with torch.no_grad():
            for values in model.parameters():
                values += 0.3 * torch.randn(values.shape, generator=generator)
        made.append(model.eval())
    return made


def mean_probability(models, inputs):
    with torch.no_grad():
        return sum(torch.softmax(copy.deepcopy(model).eval()(inputs).double(), dim=1) for model in models) / len(models)


def test_the_ensemble_answers_the_log_of_the_mean_probability():
    models = [*networks(2), chain()]
    inputs = images()[0]
    before = [snapshot(model) for model in models]
    ensemble = join(models)
    with torch.no_grad():
        np.testing.assert_allclose(ensemble(inputs).exp().numpy(), mean_probability(models, inputs).numpy(), atol=2e-6)
    assert not ensemble.training
    for model, held in zip(models, before, strict=True):
        assert_untouched(model, held)
    with torch.no_grad():
        ensemble.members[0][0].weight.zero_()
    assert models[0][0].weight.abs().sum() > 0


def test_answers_that_saturate_stay_finite():
    class Sure(nn.Module):
        def __init__(self, way):
            super().__init__()
            self.way = way

        def forward(self, x):
            return torch.tensor([[0.0, 300.0 * self.way]]).expand(len(x), 2)

    answer = join([Sure(1), Sure(1)])(torch.zeros(1, 1))
    assert answer.tolist() == [[-300.0, 0.0]]


@pytest.mark.parametrize("together", [False, True, None])
def test_members_one_by_one_and_together(together):
    models = networks(3)
    before = [snapshot(model) for model in models]
    found = predict_members(models, batches(50, split="test"), together=together)
    expected = combine([predict(model, batches(50, split="test")) for model in models])
    np.testing.assert_allclose(found.logits, expected.logits, atol=1e-4)
    assert found.model == expected.model
    assert found.split == "test"
    assert (found.labels == expected.labels).all()
    for model, held in zip(models, before, strict=True):
        assert_untouched(model, held)


def test_members_that_cannot_be_joined_go_one_by_one():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(64, 3)

        def forward(self, x):
            answer = self.layer(x.flatten(1))
            return answer if answer.sum() > 0 else -answer

    class Other(nn.Module):
        """The same text and the same shapes, another function."""

        def __init__(self, sign):
            super().__init__()
            self.layer, self.sign = nn.Linear(64, 3), sign

        def forward(self, x):
            return self.sign * self.layer(x.flatten(1))

    for models in ([Branches(), Branches()], [Other(1), Other(-1)], [chain(), networks(1)[0]]):
        found = predict_members(models, batches(20, split="test"), together=None)
        expected = combine([predict(model, batches(20, split="test")) for model in models])
        np.testing.assert_array_equal(found.logits, expected.logits)
        with pytest.raises(BadInput, match="only if they are of one architecture"):
            predict_members(models, batches(20, split="test"), together=True)


def test_one_network_under_several_masks():
    model = chain()
    masks = [prudent.prune(model, sparsity=s, score="random", seed=s_).mask for s, s_ in ((0.3, 0), (0.3, 1), (0.6, 2))]
    ensemble = join_masks(model, masks)
    for member, mask in zip(ensemble.members, masks, strict=True):
        for name, kept in mask.kept.items():
            own, dense = member.get_parameter(name), model.get_parameter(name)
            assert torch.equal(own, torch.where(kept, dense, 0.0))
    inputs = images()[0]
    with torch.no_grad():
        np.testing.assert_allclose(
            ensemble(inputs).exp().numpy(), mean_probability(list(ensemble.members), inputs).numpy(), atol=2e-6
        )


def team():
    """A plain, a masked and a smaller member."""
    model = chain()
    pruned = prudent.prune(model, sparsity=0.5)
    channels = prudent.prune(model, sparsity=0.5, granularity="channel")
    return {"a": model, "b-0.5": pruned, "small": prudent.shrink(channels, images()[0][:4])}


def build():
    return chain()


def test_a_team_is_saved_and_loaded_as_it_was(tmp_path):
    members = team()
    save_team(members, tmp_path, chosen={"beta": 0.2})
    loaded = load_team(tmp_path, build=build)
    assert list(loaded.members) == ["a", "b-0.5", "small"]
    assert loaded.chosen == {"beta": 0.2}
    assert fingerprint(loaded.model) == fingerprint(join(list(members.values())))
    inputs = images()[0]
    with torch.no_grad():
        assert torch.equal(loaded.model(inputs), join(list(members.values()))(inputs))
    assert loaded.sparsity == pytest.approx((0 + members["b-0.5"].mask.sparsity + members["small"].mask.sparsity) / 3)


def test_a_changed_team_is_refused(tmp_path, unchecked):
    save_team(team(), tmp_path / "whole")

    def spoil(change, error, match):
        shutil.copytree(tmp_path / "whole", tmp_path / "bad", dirs_exist_ok=True)
        change(tmp_path / "bad")
        with pytest.raises(error, match=match):
            load_team(tmp_path / "bad", build=build)
        shutil.rmtree(tmp_path / "bad")

    def exchange(folder):
        shutil.rmtree(folder / "members" / "a")
        shutil.copytree(folder / "members" / "b-0.5", folder / "members" / "a")

    def reseal(change):
        def act(folder):
            about = json.loads((folder / TEAM).read_text())
            about.pop("seal")
            change(about)
            (folder / TEAM).write_text(json.dumps(about | {"seal": team_folders._seal(about)}))

        return act

    def edit(folder):
        (folder / TEAM).write_text((folder / TEAM).read_text().replace('"soft"', '"loud"'))

    spoil(exchange, BadInput, "member 'a' is not the one")
    spoil(edit, BadInput, "does not have the hash that it carries")
    spoil(lambda f: (f / TEAM).write_text("{}"), PrudentError, "not a description")
    spoil(lambda f: (f / TEAM).unlink(), PrudentError, "cannot read")
    spoil(reseal(lambda about: about["members"][0].update(name="../a")), BadInput, r"got '\.\./a'")
    spoil(reseal(lambda about: about["members"][0]["files"].update({"../x": "0"})), BadInput, "is made of")
    spoil(reseal(lambda about: about.update(schema=9)), BadInput, "format 9")
    with pytest.raises(BadInput, match="at least one member"):
        save_team({}, tmp_path / "none")
    with pytest.raises(BadInput, match="name of a member"):
        save_team({"a/b": chain()}, tmp_path / "none")
    with pytest.raises(BadInput, match="at least one member; got none"):
        join([])
    with pytest.raises(BadInput, match="at least one mask"):
        join_masks(chain(), [])
    with pytest.raises(BadInput, match="got str"):
        join(["x"])


def test_names_are_names_of_folders():
    assert names_of([(0, "magnitude", 0.9), (1, "", 0.0)]) == ["seed0-magnitude-0.9", "seed1-dense"]


def test_a_team_is_one_onnx_file(tmp_path):
    pytest.importorskip("onnxruntime")
    members = team()
    inputs = images(20)[0]
    ensemble = join(list(members.values()))
    exported = export_onnx(ensemble, tmp_path / "team.onnx", inputs)
    assert exported.agreement == 1
    assert exported.relative < 1e-5
    assert [p.name for p in tmp_path.iterdir()] == ["team.onnx"]
    answer = artefacts.artefact(str(tmp_path / "team.onnx")).opened()(inputs)
    expected = mean_probability([m if isinstance(m, nn.Module) else m.model for m in members.values()], inputs)
    np.testing.assert_allclose(np.exp(answer), expected.numpy(), atol=1e-5)


def test_a_team_is_a_candidate_of_a_certificate(tmp_path):
    data = load_data("digits", {})
    options = {"hidden": [8]}
    models = [build_model("mlp", data.shape, 10, seed=s, options=options) for s in range(2)]
    trained = [prudent.train(m, data.train.batches(64), epochs=1, lr=0.01, seed=0) for m in models]
    architecture = team_folders.Architecture(name="mlp", shape=data.shape, classes=10, options=options)
    members = {f"m{i}": m for i, m in enumerate(trained)}
    save_team(members, tmp_path / "team", architectures=dict.fromkeys(members, architecture))
    candidate = artefacts.artefact(str(tmp_path / "team"), data="digits")
    ensemble = join(trained)
    assert candidate.fingerprint == identity(ensemble)
    assert candidate.data().fingerprint == data.fingerprint
    found = candidate.predict(data.certification.batches(64))
    own = predict(ensemble, data.certification.batches(64))
    np.testing.assert_array_equal(found.logits, own.logits)
    claim = Claim(risks=("error",), alphas=(0.9,), delta=0.1, bounds=("binomial",))
    certificate, table = certify_artefacts([candidate], None, data, claim)
    assert certificate.models == (identity(ensemble),)
    assert table.counts == (int((own.decisions != own.labels).sum()),)
