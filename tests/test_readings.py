"""Rows that layers read: their product with the weights is the layers' output, in pieces of any size."""

import pytest
import torch
from torch import nn

from prudent import readings
from prudent.errors import BadInput, CannotPrune
from prudent.readings import product_layers, read_rows
from prudent.unfolding import matrix
from tests.conftest import assert_untouched, batches, chain, snapshot


@pytest.mark.parametrize("piece", [1, 1000, 2**22])
def test_rows_times_matrix_is_the_output(monkeypatch, piece):
    monkeypatch.setattr(readings, "PIECE", piece)
    model = chain().eval()
    layers, _ = product_layers(model)
    seen = {name: [] for name in layers}
    before = snapshot(model)
    assert read_rows(model, batches(20), layers, lambda name, rows: seen[name].append(rows)) == 20
    assert_untouched(model, before)
    outputs, x = {}, batches(20).inputs
    for name, module in model.named_children():
        x = outputs[name] = module(x)
    for name, layer in layers.items():
        rows = torch.cat(seen[name], dim=1)
        made = (rows @ matrix(layer).mT.unsqueeze(1))[0] + layer.bias  # (examples, positions, outputs)
        assert torch.allclose(made.mT.reshape(outputs[name].shape), outputs[name], atol=1e-5)


def test_layers_that_share_a_weight_are_both_read():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    layers, weight_of = product_layers(model)
    assert list(layers) == ["0", "2"]
    assert weight_of == {"0": "0.weight", "2": "0.weight"}


def test_refusals():
    with pytest.raises(CannotPrune, match="ConvTranspose2d"):
        product_layers(nn.Sequential(nn.ConvTranspose2d(2, 2, 3)))
    model = chain()
    with pytest.raises(BadInput, match="empty"):
        read_rows(model, [], product_layers(model)[0], lambda name, rows: None)
