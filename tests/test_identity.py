"""A network is known by its numbers and by what computes with them; earlier certificates still verify."""

import pytest
import torch
from torch import nn

import prudent
from prudent.building import build
from prudent.certificates import verify, write_certificate
from prudent.certification import certify
from prudent.claims import same_network
from prudent.errors import BrokenCertificate
from prudent.identity import identity
from prudent.network import fingerprint
from prudent.networks import Architecture, load, save
from prudent.types import Losses
from tests.conftest import chain
from tests.test_certification import table


def vit(heads):
    options = {"patch": 4, "width": 8, "depth": 1, "hidden": 8, "heads": heads}
    return build("vit", (1, 8, 8), 3, seed=0, options=options)


def test_heads_change_the_function_and_the_identity_and_no_number():
    two, four = vit(2), vit(4)
    assert fingerprint(two) == fingerprint(four)
    inputs = torch.rand(3, 1, 8, 8)
    assert not torch.allclose(two.eval()(inputs), four.eval()(inputs))
    assert identity(two) != identity(four)
    assert identity(two) == identity(vit(2))
    assert identity(two).split("-")[0] == fingerprint(two)


class Own(nn.Module):
    def __init__(self, **attributes):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        vars(self).update(attributes)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"scale": 1.0}, {"scale": 2.0}),
        ({"flag": True}, {"flag": False}),
        ({"act": torch.relu}, {"act": torch.tanh}),
        ({"pads": (1, 1)}, {"pads": (1, 2)}),
        ({"mode": "same"}, {"mode": "valid"}),
        ({}, {"scale": 1.0}),
    ],
)
def test_every_plain_attribute_counts(one, other):
    torch.manual_seed(0)
    a = Own(**one)
    torch.manual_seed(0)
    b = Own(**other)
    assert fingerprint(a) == fingerprint(b)
    assert identity(a) != identity(b)
    a.eval()
    assert identity(a) == identity(a.train()), "not the mode"


def test_the_class_of_a_module_counts_and_calls_do_not():
    relu, gelu = nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Sequential(nn.Linear(2, 2), nn.GELU())
    gelu.load_state_dict(relu.state_dict())
    assert fingerprint(relu) == fingerprint(gelu)
    before = identity(relu)
    assert before != identity(gelu)
    relu(torch.rand(1, 2)).sum().backward()
    assert identity(relu) == before
    assert identity(nn.Sequential(*relu)) == before


def test_a_loaded_network_is_the_one_that_was_saved(tmp_path):
    model = vit(2)
    made = Architecture(
        name="vit", shape=(1, 8, 8), classes=3,
        options={"patch": 4, "width": 8, "depth": 1, "hidden": 8, "heads": 2},
    )  # fmt: skip
    example = torch.rand(2, 1, 8, 8)
    save(prudent.prune(model, sparsity=0.5), tmp_path / "masked", architecture=made)
    masked = prudent.prune(model, sparsity=0.5).model
    assert identity(load(tmp_path / "masked").model) == identity(masked)
    small = prudent.shrink(prudent.prune(model, sparsity=0.25, granularity="channel", example=example), example)
    save(small, tmp_path / "small", architecture=made)
    back = load(tmp_path / "small").model
    assert isinstance(back, torch.fx.GraphModule)
    assert same_network(identity(small.model), identity(back))


def test_what_is_the_same_network():
    assert same_network("a", "a")
    assert same_network("a-1", "a-1")
    assert same_network("a", "a-1"), "a certificate of an earlier version, or a graph"
    assert same_network("a-1", "a")
    assert not same_network("a-1", "a-2")
    assert not same_network("a", "b")
    assert not same_network("a-1", "b-1")
    assert not same_network("", "a")


@pytest.mark.parametrize("known", ["numbers", "both"])
def test_a_certificate_refuses_the_same_numbers_in_another_architecture_unless_it_is_an_old_one(tmp_path, known):
    of = fingerprint if known == "numbers" else identity
    losses = table([1, 2], 450)
    losses = Losses(values=losses.values, names=losses.names, sparsities=losses.sparsities, loss="error",
                    split="certification", models=(of(chain()), of(vit(2))))  # fmt: skip
    path = write_certificate(certify(losses, alpha=0.05, delta=0.05), losses, tmp_path / "c.json")
    assert verify(path, network=vit(2)).selected == 1
    with pytest.raises(BrokenCertificate, match="its hash differs"):
        verify(path, network=chain())
    if known == "numbers":
        assert verify(path, network=vit(4)).selected == 1, "as before: it does not say what the structure is"
        return
    with pytest.raises(BrokenCertificate, match="its weights are the same, but not the modules"):
        verify(path, network=vit(4))


def test_predictions_carry_it():
    model = vit(2)
    assert prudent.predict(model, [torch.rand(2, 1, 8, 8)], split="test").model == identity(model)
