"""ESPN finds what matters, stops where it should, and says when it could not."""

import warnings

import pytest
import torch
from torch import nn

import prudent
from prudent.batches import Batches
from prudent.errors import BadInput
from prudent.network import prunable
from prudent.scores.espn import espn
from tests.conftest import assert_untouched, batches, chain, snapshot

RELEVANT = {2, 7, 11}


def sparse_problem() -> tuple[nn.Sequential, Batches]:
    """16 inputs of which three decide the class; the weights of the network do not show which."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(16, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.linspace(-1, 1, 32).view(2, 16)[:, torch.randperm(16)])
        model[0].weight[:, list(RELEVANT)] *= 0.01
    inputs = torch.randn(400, 16, generator=torch.Generator().manual_seed(0))
    labels = (inputs[:, sorted(RELEVANT)].sum(1) > 0).long()
    return model, Batches(inputs=inputs, labels=labels, size=50)


def test_it_finds_the_inputs_that_matter_where_magnitude_cannot():
    model, data = sparse_problem()
    masked = prudent.prune(model, sparsity=26 / 32, score="espn", options={"penalty": 0.01}, batches=data)
    kept = masked.mask.kept["0.weight"]
    assert set(kept.nonzero()[:, 1].tolist()) == RELEVANT
    by_size = prudent.prune(model, sparsity=26 / 32).mask.kept["0.weight"]
    assert not set(by_size.nonzero()[:, 1].tolist()) & RELEVANT


@pytest.mark.parametrize("penalty", [0.01, 3.0])  # the larger one takes entries below zero
def test_a_problem_learned_by_hand(penalty):
    # one weight, one step of plain descent each: m and w follow the gradients of the loss and of the penalty
    model = nn.Sequential(nn.Linear(1, 2, bias=False)).double()
    start = torch.tensor([[0.3], [-0.2]], dtype=torch.float64)
    with torch.no_grad():
        model[0].weight.copy_(start)
    inputs, labels = torch.tensor([[1.0], [2.0]], dtype=torch.float64), torch.tensor([0, 1])
    with pytest.warns(UserWarning, match="2 entries left, of which 1 are to be kept"):
        scores = espn(model, [(inputs, labels)], sparsity=0.5, penalty=penalty, lr=0.1, max_epochs=3)
    w, m, fast_w, fast_m = start.clone(), torch.ones_like(start), torch.zeros_like(start), torch.zeros_like(start)
    for _ in range(3):
        share = (inputs @ (w * m).T).softmax(1)
        slope = (share - nn.functional.one_hot(labels, 2)).T @ inputs / 2
        fast_w, fast_m = 0.9 * fast_w + slope * m, 0.9 * fast_m + slope * w + penalty * m.sign()
        w, m = w - 0.1 * fast_w, m - 0.1 * fast_m
    assert (m < 0).all() == (penalty > 1)
    torch.testing.assert_close(scores["0.weight"], m.abs())


def test_it_stops_with_the_epoch_that_reaches_the_target():
    model, data = sparse_problem()
    some, more = espn(model, data, sparsity=0.25), espn(model, data, sparsity=0.75)
    left = [int((s["0.weight"] > 0.01).sum()) for s in (some, more)]
    assert left[0] <= 24
    assert left[1] <= 8
    assert left[0] > left[1]
    assert some["0.weight"].sum() > more["0.weight"].sum()


def test_a_missed_target_is_said_in_one_line_and_the_scores_still_rank():
    model, data = sparse_problem()
    with pytest.warns(UserWarning, match="32 entries left, of which 3 are to be kept; the scores rank them") as caught:
        scores = espn(model, data, sparsity=0.9, max_epochs=1)
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)
    assert len(scores["0.weight"].unique()) > 16


def test_the_seed_decides():
    model, data = chain(), batches()
    before = snapshot(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        a, b, c = (espn(model, data, seed=seed, max_epochs=2) for seed in (0, 0, 1))
    assert_untouched(model, before)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_tied_weights_share_a_mask():
    torch.manual_seed(0)
    a, b = nn.Linear(8, 8), nn.Linear(8, 8)
    b.weight = a.weight
    model = nn.Sequential(a, nn.ReLU(), b)
    data = [(torch.randn(20, 8), torch.arange(20) % 8)]
    scores = espn(model, data, sparsity=0.25)
    assert scores.keys() == prunable(model).keys() == {"0.weight"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0.0}, "got 0.0, None and 300"),
        ({"penalty": -1.0}, "got 0.1, -1.0 and 300"),
        ({"max_epochs": 0}, "got 0.1, None and 0"),
        ({"sparsity": 1.0}, r"in \[0, 1\)"),
        ({"sparsity": 0.9999}, "leaves none"),
        ({"lr": 1e6}, "the loss is .*: lower lr"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(BadInput, match=message):
        espn(chain(), batches(), **options)


def test_batches_that_can_be_read_only_once_are_refused():
    with pytest.raises(BadInput, match="more than once"):
        espn(chain(), iter(batches()))
