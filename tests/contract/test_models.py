"""Every architecture: it builds or refuses in one line, answers logits, trains everywhere, is the same for its seed."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from prudent.building import build
from prudent.errors import BadInput, CannotPrune, UnknownName
from prudent.models import MODELS
from prudent.network import fingerprint, prunable
from prudent.pruning import prune
from prudent.surgery.chain import links
from prudent.surgery.shrinking import shrink

NAMES = list(MODELS)
SHAPE = (3, 32, 32)
"""What every architecture takes with its default options."""


def answer_shape(name, inputs, classes):
    """One row of logits for each input, or, of networks that say so, logits for each of its pixels."""
    pixels = inputs.shape[2:] if MODELS.constant(name, "ANSWERS") == "pixels" else ()
    return (len(inputs), classes, *pixels)


def or_refusal(what):
    """What a function returns, or None and why it refuses."""
    try:
        return what(), ""
    except (BadInput, CannotPrune) as error:
        return None, str(error)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [SHAPE, (1, 32, 32), (2,), (1, 8, 8), (1, 28, 28), (3, 33, 40)], ids=str)
def test_builds_and_answers_or_refuses(name, shape):
    model, refusal = or_refusal(lambda: build(name, shape, 7, seed=0, options={}))
    if model is None:
        assert shape != SHAPE, refusal
        assert name in refusal
        assert str(shape) in refusal, "the message says what came"
        assert "\n" not in refusal
        return
    inputs = torch.rand(3, *shape)
    answer = model(inputs)
    assert answer.shape == answer_shape(name, inputs, 7)
    assert torch.isfinite(answer).all()
    assert prunable(model)
    model.eval()
    with torch.no_grad():
        together, alone = model(inputs), torch.cat([model(x[None]) for x in inputs])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)  # an example's answer is its own


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name):
    model = build(name, SHAPE, 4, seed=0, options={})
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(4, *SHAPE, generator=generator)
    labels = torch.arange(4).expand(*answer_shape(name, inputs, 4)[2:], 4).movedim(-1, 0)
    cross_entropy(model(inputs), labels).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{parameter_name} is not used"
        assert torch.isfinite(parameter.grad).all(), parameter_name
    for weight_name, weight in prunable(model).items():
        assert weight.grad.abs().max() > 0, f"nothing is learned in {weight_name}"


@pytest.mark.parametrize("name", NAMES)
def test_seeded_and_alone(name):
    before = torch.get_rng_state()
    first, again, other = (build(name, SHAPE, 3, seed=s, options={}) for s in (1, 1, 2))
    assert fingerprint(first) == fingerprint(again) != fingerprint(other)
    assert fingerprint(copy.deepcopy(first)) == fingerprint(first)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", NAMES)
def test_is_plain_and_can_be_cut_or_says_what_is_in_the_way(name):
    model = build(name, SHAPE, 5, seed=0, options={})
    found, refusal = or_refusal(lambda: links(model))
    if found is None:
        assert "\n" not in refusal
        return
    layers = [name for name, module in model.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    assert [link.layer for link in found] == layers[:-1]
    pruned = prune(model, sparsity=0.5, granularity="channel", scope="layer")
    small = shrink(pruned, torch.rand(1, *SHAPE))
    assert small.proof.difference <= small.proof.tolerance
    assert small.macs > 0
    assert small.params < sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("shape", "classes"), [(SHAPE, 0), ((), 3), ((3, 0, 32), 3)])
def test_refuses_what_is_no_input(name, shape, classes):
    with pytest.raises(BadInput, match=f"^model '{name}' needs .*; got [^\n]*$"):
        build(name, shape, classes, seed=0, options={})


@pytest.mark.parametrize("name", NAMES)
def test_unknown_option(name):
    with pytest.raises(UnknownName, match=f"option of model '{name}' named 'drpout'"):
        build(name, SHAPE, 3, seed=0, options={"drpout": 0.1})


@pytest.mark.parametrize("name", NAMES)
def test_names_its_source(name):
    assert MODELS.summary(name)[1]


def test_private_models():
    from tests.private import own_network

    model = build("tests.private:own_network", (2,), 3, seed=0, options={"width": 9})
    assert model[0].out_features == 9
    assert type(model) is type(own_network(4))
    with pytest.raises(BadInput, match="must return a torch.nn.Module; it returned dict"):
        build("tests.private:no_network", (2,), 3, seed=0, options={})
    with pytest.raises(BadInput, match="could not be imported"):
        build("tests.private:absent", (2,), 3, seed=0, options={})
