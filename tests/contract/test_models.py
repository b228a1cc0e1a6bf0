"""Every architecture: it builds for several formats, answers logits, and is the same for the same seed."""

import pytest
import torch

from prudent.building import build
from prudent.errors import BadInput, UnknownName
from prudent.models import MODELS
from prudent.network import fingerprint, prunable

NAMES = list(MODELS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
def test_builds_and_answers(name, shape):
    model = build(name, shape, 7, seed=0, options={})
    answer = model(torch.rand(5, *shape))
    assert answer.shape == (5, 7)
    assert torch.isfinite(answer).all()
    assert prunable(model)


@pytest.mark.parametrize("name", NAMES)
def test_seeded_and_alone(name):
    before = torch.get_rng_state()
    first, again, other = (build(name, (1, 8, 8), 3, seed=s, options={}) for s in (1, 1, 2))
    assert fingerprint(first) == fingerprint(again) != fingerprint(other)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", NAMES)
def test_unknown_option(name):
    with pytest.raises(UnknownName, match=f"option of model '{name}' named 'drpout'"):
        build(name, (1, 8, 8), 3, seed=0, options={"drpout": 0.1})


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
