"""Budgets against trying every count, and multiply-accumulates counted by hand."""

import pytest
import torch
from torch import nn

import prudent
from prudent.budgets import macs_left, parameters_left
from prudent.errors import BadInput
from prudent.network import macs, parameters
from prudent.pruning import prune
from tests.conftest import chain

EXAMPLE = torch.rand(1, 1, 8, 8)


@pytest.mark.parametrize("granularity", ["weight", "channel"])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.2])
def test_the_fewest_units_go_that_meet_a_budget(granularity, share):
    model = chain(norm=True)
    limit = int(parameters(model) * share)
    pruned = prudent.prune(model, parameters=limit, granularity=granularity, minimum=1)
    assert pruned.parameters <= limit
    removed = pruned.mask.total - pruned.mask.remaining
    one_less = prudent.prune(
        model, sparsity=(removed - 1) / pruned.mask.total, granularity=granularity, minimum=1
    )  # fmt: skip
    assert one_less.parameters > limit
    if granularity == "channel":
        assert prudent.shrink(pruned, EXAMPLE).params == pruned.parameters


@pytest.mark.parametrize("granularity", ["weight", "channel"])
def test_a_budget_in_multiply_accumulates(granularity):
    model = chain()
    limit = macs(model, EXAMPLE) // 3
    pruned = prudent.prune(model, macs=limit, granularity=granularity, minimum=1, example=EXAMPLE)
    assert pruned.macs(EXAMPLE) <= limit
    if granularity == "channel":
        assert prudent.shrink(pruned, EXAMPLE).macs == pruned.macs(EXAMPLE)


def test_a_budget_that_cannot_be_met_says_how_far_one_can_go():
    model = chain()
    with pytest.raises(BadInput, match=r"budget of 10 parameters cannot be met: at .*% sparsity.* (\d+) are left") as e:
        prudent.prune(model, parameters=10)
    left = int(str(e.value).split()[-3])
    biases = sum(p.numel() for name, p in model.named_parameters() if name.endswith("bias"))
    assert left == biases + 1  # the last weight stays
    with pytest.raises(BadInput, match="cannot be met"):
        prudent.prune(model, macs=1, example=EXAMPLE, granularity="channel")
    with pytest.raises(BadInput, match="needs example"):
        prudent.prune(model, macs=1000)
    with pytest.raises(BadInput, match="got sparsity and parameters"):
        prudent.prune(model, sparsity=0.5, parameters=10)


def test_a_budget_that_is_met_already_removes_nothing():
    model = chain()
    assert prudent.prune(model, parameters=parameters(model)).sparsity == 0


def test_left_counts_by_hand():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    pruned = prudent.prune(model, sparsity=0.5)
    assert parameters_left(model, pruned.mask) == 9 + 5
    assert macs_left(model, pruned.mask, torch.rand(7, 4)) == 7 * pruned.mask.remaining
    channels = prudent.prune(model, fractions={"0": 1 / 3}, granularity="channel")
    assert channels.parameters == (4 * 2 + 2) + (2 * 2 + 2)


def encoder(layers, heads):
    layer = nn.TransformerEncoderLayer(8, heads, dim_feedforward=16, batch_first=True, dropout=0.0)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


@pytest.mark.parametrize(
    ("layer", "shape", "by_hand"),
    [
        # outputs x positions x inputs of the group x kernel
        (nn.Conv2d(4, 6, 3, padding=1), (2, 4, 5, 5), 2 * 6 * 25 * 4 * 9),
        (nn.Conv2d(4, 6, 3, groups=2), (1, 4, 5, 5), 6 * 9 * 2 * 9),
        (nn.Conv2d(4, 4, 3, groups=4, stride=2, padding=1), (1, 4, 6, 6), 4 * 9 * 1 * 9),
        (nn.Conv2d(2, 3, 3, dilation=2), (1, 2, 7, 7), 3 * 9 * 2 * 9),
        (nn.Conv1d(2, 3, 5), (1, 2, 9), 3 * 5 * 2 * 5),
        (nn.Conv3d(1, 2, 2), (1, 1, 3, 3, 3), 2 * 8 * 1 * 8),
        # transposed: every input element meets every weight of its channel
        (nn.ConvTranspose2d(3, 5, 3, stride=2), (1, 3, 4, 4), 3 * 16 * 5 * 9),
        (nn.ConvTranspose2d(4, 6, 2, groups=2), (1, 4, 3, 3), 4 * 9 * 3 * 4),
        (nn.Linear(7, 5, bias=False), (3, 7), 3 * 35),
        (nn.Linear(7, 5), (2, 3, 7), 6 * 35),
        # two layers of: projections 4 x 8 x 8, attention 2 x n x n x 8, feed-forward 2 x 8 x 16, for n = 6 tokens
        (encoder(2, 2), (1, 6, 8), 2 * (6 * 4 * 64 + 2 * 36 * 8 + 6 * 2 * 128)),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, nn.Module) else None,
)
def test_multiply_accumulates_counted_by_hand(layer, shape, by_hand):
    assert macs(layer, torch.rand(shape)) == by_hand


def test_projections_of_attention_are_counted_by_their_weights():
    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
            self.head = nn.Linear(16, 10)

        def forward(self, x):
            return self.head(self.attention(x, x, x, need_weights=False)[0][:, 0])

    model, x = Attending(), torch.rand(1, 5, 16)
    pruned = prune(model, sparsity=0.5, scope="layer")
    # 5 tokens: half of 3 * 16 * 16 and of 16 * 16 for each, the two products whole, half of the head once
    by_hand = 5 * (3 * 16 * 16 + 16 * 16) // 2 + 2 * 5 * 5 * 16 + 16 * 10 // 2
    assert macs_left(model, pruned.mask, x) == by_hand


def test_a_tied_weight_works_twice():
    first, second = nn.Linear(16, 16, bias=False), nn.Linear(16, 16, bias=False)
    second.weight = first.weight
    model = nn.Sequential(first, nn.ReLU(), second)
    assert macs_left(model, prune(model, sparsity=0.5).mask, torch.rand(1, 16)) == 256


def test_a_budget_for_a_network_that_answers_pictures():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    pruned = prune(model, macs=10_000, example=torch.randn(1, 3, 8, 8))
    assert 9_000 < macs_left(model, pruned.mask, torch.randn(1, 3, 8, 8)) <= 10_000
