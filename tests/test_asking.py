"""What `prune` understands and says: one layer's name, rows of channels, budgets for scores that plan, collapse."""

import pytest
import torch
from torch import nn

import prudent
from prudent.errors import BadInput
from prudent.masks import count
from prudent.network import parameters, prunable
from prudent.scores.sipp import sipp
from prudent.scores.sparsegpt import sparsegpt
from tests.conftest import batches, chain
from tests.surgery.networks import pictures, residual


def test_one_layer_may_be_named_without_a_list():
    mask = prudent.prune(chain(), sparsity=0.5, layers="8").mask
    assert list(mask.kept) == ["8.weight"]
    assert torch.equal(mask.kept["8.weight"], prudent.prune(chain(), sparsity=0.5, layers=["8"]).mask.kept["8.weight"])
    traced = prudent.prune(residual(), sparsity=0.5, granularity="channel", layers="first", example=pictures()).mask
    assert {name: len(kept) - int(kept.sum()) for name, kept in traced.kept.items()} == {"first.weight": 3}
    with pytest.raises(prudent.errors.UnknownName, match="no layer named 'fc1'"):
        prudent.prune(chain(), sparsity=0.5, layers="fc1")


@pytest.mark.parametrize("granularity", ["channel", "head"])
def test_whole_outputs_have_no_rows(granularity):
    with pytest.raises(BadInput, match=f'scope "row" .*; a {granularity} is a whole output: ask for scope="layer"'):
        prudent.prune(chain(), sparsity=0.5, scope="row", granularity=granularity)


def same(one, other):
    assert all(torch.equal(one.mask.kept[name], kept) for name, kept in other.mask.kept.items())
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True))


@pytest.mark.parametrize("mode", ["deterministic", "randomised", "hybrid"])
def test_sipp_meets_other_budgets_as_the_sparsity_that_they_come_to(mode):
    model = chain()
    total = sum(weight.numel() for weight in prunable(model).values())
    budget = parameters(model) - count(0.6, total)
    options = {"score": "sipp", "options": {"mode": mode}}
    same(
        prudent.prune(model, parameters=budget, batches=batches(), **options),
        prudent.prune(model, sparsity=0.6, batches=batches(), **options),
    )
    own = sipp(model, batches(), mode=mode, sparsity=0.6)
    pruned = prudent.prune(model, parameters=budget, batches=batches(), **options)
    kept = torch.cat([own[n][k] for n, k in pruned.mask.kept.items()])
    gone = torch.cat([own[n][~k] for n, k in pruned.mask.kept.items()])
    assert gone.max() <= kept.min()


def test_sparsegpt_by_fractions_is_its_own_mask_where_they_are_equal():
    model = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
    generator = torch.Generator().manual_seed(0)
    few = torch.randn(50, 4, generator=generator) @ torch.randn(4, 12, generator=generator)
    data = [few + 0.1 * torch.randn(50, 12, generator=generator)]
    asked = prudent.prune(model, fractions={"0": 0.25, "2": 0.25}, score="sparsegpt", batches=data)
    same(asked, prudent.prune(model, sparsity=0.25, scope="layer", score="sparsegpt", batches=data))
    own = sparsegpt(model, data, sparsity=0.25)
    for name, kept in asked.mask.kept.items():
        assert torch.equal(kept, own[name] >= 0.5)
    uneven = prudent.prune(model, fractions={"0": 0.75}, score="sparsegpt", batches=data)
    assert uneven.mask.removed_by_layer == {"0.weight": 72, "2.weight": 0}
    old, new = model[0].weight.detach(), uneven.model[0].weight.detach()
    lost, plain = (float(((data[0] @ (w - old).T) ** 2).sum()) for w in (new, old * uneven.mask.kept["0.weight"]))
    assert lost < 0.9 * plain, "the weights that stay make up for those that go"


def test_a_score_that_plans_is_told_the_sparsity_of_a_budget_in_macs_and_its_option_wins():
    told = []

    def planner(model, batches, *, sparsity):
        told.append(sparsity)
        return {name: weight.detach().abs() for name, weight in prunable(model).items()}

    x = batches().inputs[:1]
    dense = prudent.prune(chain(), sparsity=0.0).macs(x)
    pruned = prudent.prune(chain(), macs=dense // 2, example=x, score=planner)
    assert told == [pruned.sparsity]
    assert pruned.macs(x) <= dense // 2
    prudent.prune(chain(), macs=dense // 2, example=x, score=planner, options={"sparsity": 0.125})
    assert told[1:] == [0.125]


def test_a_layer_that_lost_everything_is_named():
    model = chain()
    with torch.no_grad():
        model[3].weight.mul_(1e-6)
    pruned = prudent.prune(model, sparsity=0.5)
    assert pruned.collapsed == ("3",)
    assert "nothing is left of '3': minimum=1 keeps" in str(pruned)
    whole = prudent.prune(model, sparsity=0.5, minimum=1)
    assert whole.collapsed == ()
    assert str(whole) == "261 of 522 weights removed (50.00%) by 'magnitude', global"
    assert "10 of 20 channels removed" in str(prudent.prune(chain(), sparsity=0.5, granularity="channel"))
