"""A layer as a matrix product is the layer."""

import pytest
import torch
from torch import nn

from prudent.errors import CannotPrune
from prudent.unfolding import matrix, rows, unmatrix

LAYERS = [
    (nn.Linear(5, 3), (4, 5)),
    (nn.Linear(5, 3), (4, 2, 5)),
    (nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (3, 4, 9)),
    (nn.Conv2d(4, 6, (3, 2), stride=(1, 2), padding=(2, 1), dilation=(2, 1)), (3, 4, 8, 7)),
    (nn.Conv2d(4, 8, 3, padding="same", groups=4), (3, 4, 6, 6)),
    (nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), (2, 4, 5, 5)),
    (nn.Conv2d(4, 4, 3, padding="same", padding_mode="reflect"), (2, 4, 5, 5)),
    (nn.Conv3d(2, 4, 2, padding=1), (2, 2, 3, 4, 5)),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda x: str(x) if isinstance(x, tuple) else type(x).__name__)
def test_rows_times_matrix_is_what_the_layer_computes(layer, shape):
    layer = layer.double()
    inputs = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = rows(layer, inputs) @ matrix(layer).transpose(1, 2)  # (groups, n, outputs)
    outputs = layer(inputs).detach()
    if isinstance(layer, nn.Linear):
        expected = outputs.reshape(1, -1, outputs.shape[-1])
    else:
        groups = layer.groups
        expected = outputs.flatten(2).unflatten(1, (groups, -1)).permute(1, 0, 3, 2).flatten(1, 2)
    torch.testing.assert_close(found + layer.bias.detach().view(found.shape[0], 1, -1), expected)
    assert torch.equal(unmatrix(layer, matrix(layer)), layer.weight)


def test_other_layers_are_refused():
    with pytest.raises(CannotPrune, match="ConvTranspose2d"):
        matrix(nn.ConvTranspose2d(2, 2, 3))
