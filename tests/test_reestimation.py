"""Batch normalisation estimated anew."""

import pytest
import torch
from torch import nn

from prudent.errors import BadInput, CannotPrune
from prudent.pruning import prune
from prudent.reestimation import reestimate
from prudent.surgery.shrinking import shrink
from tests.conftest import assert_untouched, batches, chain, images, snapshot


def given(sizes=(8, 8)):
    x, y = images(sum(sizes), seed=4)
    parts = torch.split(x, sizes), torch.split(y, sizes)
    return list(zip(*parts, strict=True))


def test_statistics_are_those_of_the_layers_inputs():
    model = chain(norm=True)
    before = snapshot(model)
    fresh = reestimate(model, given())
    assert_untouched(model, before)
    norms = [(name, m) for name, m in fresh.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    name, norm = norms[0]
    upto = nn.Sequential(*list(model)[: int(name)])
    seen = [upto.eval()(x).detach() for x, _ in given()]  # by definition, of the first normalisation
    mean = torch.stack([s.mean((0, 2, 3)) for s in seen]).mean(0)
    variance = torch.stack([s.var((0, 2, 3)) for s in seen]).mean(0)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance)
    assert [p.tolist() for p in fresh.parameters()] == [p.tolist() for p in model.parameters()]
    assert norm.momentum == 0.1
    assert all(m.training for m in fresh.modules())


def test_a_smaller_network_keeps_its_modes():
    small = shrink(prune(chain(norm=True).eval(), sparsity=0.5, granularity="channel", scope="layer"), images(2)[0])
    fresh = reestimate(small.model, given())
    assert not any(m.training for m in fresh.modules())
    new, old = (next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d)) for model in (fresh, small.model))
    assert not torch.equal(new.running_mean, old.running_mean)


def test_refusals():
    with pytest.raises(CannotPrune, match="no batch normalisation"):
        reestimate(chain(), batches())
    with pytest.raises(BadInput, match="at least one batch"):
        reestimate(chain(norm=True), [])
