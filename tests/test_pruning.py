import pytest
import torch
from torch import nn

from prudent.errors import BadInput, CannotPrune, SplitMisuse, UnknownName
from prudent.network import prunable
from prudent.pruning import prune
from prudent.scopes import count
from tests.conftest import assert_untouched, batches, chain, images, snapshot


@pytest.mark.parametrize("granularity", ["weight", "channel"])
@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("score", ["magnitude", "random"])
def test_a_masked_copy_with_exact_counts(granularity, scope, score):
    model = chain(norm=True)
    model[0].weight.grad = torch.ones_like(model[0].weight)
    before = snapshot(model)
    pruned = prune(model, sparsity=0.5, score=score, granularity=granularity, scope=scope, batches=batches(), seed=4)
    assert_untouched(model, before)
    assert pruned.model is not model
    assert not {p.data_ptr() for p in model.parameters()} & {p.data_ptr() for p in pruned.model.parameters()}
    units = {k: v.numel() for k, v in pruned.mask.kept.items()}
    if scope == "global":
        assert pruned.mask.total - pruned.mask.remaining == count(0.5, sum(units.values()))
    else:
        assert pruned.mask.removed_by_layer == {k: count(0.5, n) for k, n in units.items()}
    assert pruned.sparsity == 1 - pruned.mask.remaining / pruned.mask.total
    for name, kept in pruned.mask.kept.items():
        assert (pruned.model.get_parameter(name)[~kept] == 0).all()
        assert torch.equal(pruned.model.get_parameter(name)[kept], model.get_parameter(name)[kept])


def test_global_magnitude_by_sorting_all_weights():
    model = chain()
    everything = torch.cat([w.detach().abs().flatten() for w in prunable(model).values()]).sort().values
    removed = count(0.8, len(everything))
    pruned = prune(model, sparsity=0.8)
    gone = torch.cat([model.get_parameter(n)[~k].abs() for n, k in pruned.mask.kept.items()])
    assert torch.equal(gone.sort().values, everything[:removed])


def test_agrees_with_torch_where_torch_is_right():
    from torch.nn.utils import prune as torch_prune

    model = chain()
    theirs = chain()
    layers = [(m, "weight") for m in theirs.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    pruned = prune(model, sparsity=0.6)
    torch_prune.global_unstructured(
        layers, torch_prune.L1Unstructured, amount=pruned.mask.total - pruned.mask.remaining
    )
    for (layer, _), kept in zip(layers, pruned.mask.kept.values(), strict=True):
        assert torch.equal(layer.weight_mask.bool(), kept)


def test_pruning_on_from_a_mask():
    model = chain()
    first = prune(model, sparsity=0.5)
    second = prune(first.model, sparsity=0.8, within=first.mask)
    assert second.sparsity == prune(model, sparsity=0.8).sparsity
    for name, kept in second.mask.kept.items():
        assert not (kept & ~first.mask.kept[name]).any()


def test_scores_of_ones_own():
    model = chain()
    given = {name: torch.rand(w.shape) for name, w in prunable(model).items()}
    a = prune(model, sparsity=0.5, score=given)
    b = prune(model, sparsity=0.5, score=lambda m, b: given)
    c = prune(model, sparsity=0.5, score="tests.private:own_score")
    assert all(torch.equal(a.mask.kept[n], b.mask.kept[n]) for n in given)
    assert c.score == "tests.private:own_score"
    assert all(torch.equal(c.mask.kept[n], prune(model, sparsity=0.5).mask.kept[n]) for n in given)


def test_seed_reaches_the_score():
    a, b, c = (prune(chain(), sparsity=0.5, score="random", seed=s).mask.kept["0.weight"] for s in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_sparsity_zero_changes_nothing():
    model = chain()
    pruned = prune(model, sparsity=0)
    assert pruned.sparsity == 0
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), pruned.model.parameters(), strict=True))


def test_tied_weights_stay_tied():
    a, b = nn.Linear(6, 6), nn.Linear(6, 6)
    b.weight = a.weight
    pruned = prune(nn.Sequential(a, nn.ReLU(), b), sparsity=0.5)
    assert pruned.model[0].weight is pruned.model[2].weight
    assert pruned.mask.total == 36


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sparsity": 1.0}, BadInput, r"in \[0, 1\)"),
        ({"sparsity": -1}, BadInput, r"in \[0, 1\)"),
        ({"sparsity": 0.5, "score": "magnitud"}, UnknownName, "Did you mean 'magnitude'"),
        ({"sparsity": 0.5, "score": {"0.weight": torch.ones(4, 1, 3, 3)}}, BadInput, "'11.weight' does not match"),
        ({"sparsity": 0.5, "score": "tests.private:absent"}, BadInput, "could not be imported"),
        ({"sparsity": 0.5, "example": torch.rand(2, 7)}, BadInput, "does not run"),
        ({"sparsity": 0.9999}, BadInput, "leaves none"),
    ],
)
def test_refusals(options, error, message):
    model = chain()
    before = snapshot(model)
    with pytest.raises(error, match=message):
        prune(model, **options)
    assert_untouched(model, before)


@pytest.mark.parametrize("split", ["certification", "test", "ood"])
def test_weights_are_chosen_on_train_and_validation_only(split):
    with pytest.raises(SplitMisuse, match=f"these batches are of '{split}'"):
        prune(chain(), sparsity=0.5, batches=batches(split=split))


def test_channels_of_other_networks_are_refused_with_a_reason():
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4)

        def forward(self, x):
            return x + self.a(x)

    with pytest.raises(CannotPrune, match=r"plain networks \(nn.Sequential\) for now; got Residual"):
        prune(Residual(), sparsity=0.5, granularity="channel")
    assert prune(Residual(), sparsity=0.5).sparsity == 0.5


def test_example_is_tried():
    assert prune(chain(), sparsity=0.5, example=images(2)[0]).sparsity == pytest.approx(0.5, abs=0.01)
