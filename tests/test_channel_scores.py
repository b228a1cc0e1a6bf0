"""Scores of whole channels against their definitions: loops over filters and examples, and brute force."""

import copy
import inspect
import math
import sys

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from prudent.batches import Batches
from prudent.errors import BadInput, CannotPrune, UnknownName
from prudent.granularities import layout_for, removed_elements, zero
from prudent.masks import Mask, select
from prudent.models.mlp import mlp
from prudent.network import prunable
from prudent.pruning import prune
from prudent.scores.activation_mean import activation_mean
from prudent.scores.activation_percentile import activation_percentile
from prudent.scores.apoz import apoz
from prudent.scores.batch_norm_scale import batch_norm_scale
from prudent.scores.geometric_median import geometric_median
from prudent.scores.oracle import oracle
from prudent.surgery.chain import links
from prudent.surgery.shrinking import shrink
from tests.conftest import batches, chain, normalised


def activations(model, inputs, upto):
    """What the first `upto` modules answer, in evaluation mode."""
    model.eval()
    with torch.no_grad():
        return model[:upto](inputs)


# ---------------------------------------------------------------------------------------------- batch_norm_scale


def test_batch_norm_scale_is_the_absolute_scale():
    model = normalised()
    scores = batch_norm_scale(model)
    for weight, norm in (("0.weight", model[1]), ("4.weight", model[5]), ("9.weight", model[10])):
        assert scores[weight].tolist() == [abs(v) for v in norm.weight.tolist()]
    assert any(v < 0 for v in model[1].weight.tolist())


def test_of_two_norms_the_last_one_counts():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.arange(4.0))
        model[2].weight.copy_(torch.tensor([3.0, -1.0, 2.0, 5.0]))
    assert batch_norm_scale(model)["0.weight"].tolist() == [3.0, 1.0, 2.0, 5.0]


def test_batch_norm_scale_says_which_layers_are_in_the_way():
    with pytest.raises(CannotPrune, match="'0' and 2 more have none: use another score"):
        batch_norm_scale(chain())
    alone = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(CannotPrune, match="'0' has none: use another score"):
        batch_norm_scale(alone)


def test_the_smallest_scales_go_first():
    pruned = prune(normalised(), sparsity=0.5, score="batch_norm_scale", granularity="channel")
    scores = batch_norm_scale(normalised())
    kept = torch.cat([scores[n][k] for n, k in pruned.mask.kept.items()])
    gone = torch.cat([scores[n][~k] for n, k in pruned.mask.kept.items()])
    assert gone.max() < kept.min()


# ---------------------------------------------------------------------------------------------- geometric_median


@pytest.mark.parametrize("normalise", [False, True])
def test_geometric_median_is_a_double_loop_over_filters(normalise):
    model = chain(norm=True)
    scores = geometric_median(model, normalise=normalise)
    for link in links(model):
        filters = prunable(model)[link.weight].flatten(1).tolist()
        sums = [sum(math.dist(a, b) for b in filters) for a in filters]
        if normalise:
            mean = sum(sums) / len(sums)
            sums = [s / mean for s in sums]
        assert scores[link.weight].tolist() == pytest.approx(sums, rel=1e-12)


def test_geometric_median_tells_filters_that_are_nearly_alike_apart():
    # 40 filters far from zero, where a matrix product would lose differences of 1e-7
    model = nn.Sequential(nn.Linear(30, 40), nn.ReLU(), nn.Linear(40, 2)).double()
    with torch.no_grad():
        model[0].weight.copy_(1000 + 1e-7 * torch.arange(40.0, dtype=torch.float64)[:, None])
    rows = model[0].weight.tolist()
    expected = [sum(math.dist(a, b) for b in rows) for a in rows]
    assert geometric_median(model, normalise=False)["0.weight"].tolist() == pytest.approx(expected, rel=1e-12)


def test_geometric_median_removes_the_filter_in_the_middle_and_survives_equal_ones():
    model = nn.Sequential(nn.Linear(1, 5), nn.ReLU(), nn.Linear(5, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([-9.0, -8.0, 0.5, 8.0, 9.0])[:, None])
    mask = prune(model, sparsity=0.2, score="geometric_median", granularity="channel").mask
    assert mask.kept["0.weight"].tolist() == [True, True, False, True, True]
    with torch.no_grad():
        model[0].weight.fill_(3.0)
    assert geometric_median(model)["0.weight"].tolist() == [0.0] * 5


def test_layers_of_any_size_are_comparable_in_geometric_median():
    model = nn.Sequential(nn.Linear(50, 30), nn.ReLU(), nn.Linear(30, 5), nn.ReLU(), nn.Linear(5, 2))
    assert all(v.mean().item() == pytest.approx(1) for v in geometric_median(model).values())


# ------------------------------------------------------------------------------------------- activation_mean, apoz

LOOK = {False: (("0.weight", 2), ("3.weight", 6), ("8.weight", 10)), True: (("0.weight", 2), ("3.weight", 6))}


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("size", [16, 7])
def test_activation_mean_and_apoz_are_loops_over_examples_and_positions(norm, size):
    model, data = chain(norm=norm), batches(20, size=size)
    means, alive = activation_mean(model, data), apoz(model, data)
    for weight, upto in LOOK[norm]:
        a = activations(model, data.inputs, upto)
        for channel in range(a.shape[1]):
            values = [v for example in a for v in example[channel].flatten().tolist()]
            assert means[weight][channel].item() == pytest.approx(sum(map(abs, values)) / len(values), rel=1e-6)
            zeros = sum(v == 0 for v in values)
            assert alive[weight][channel].item() == pytest.approx(1 - zeros / len(values), abs=1e-15)


@pytest.mark.parametrize("percentile", [0, 25.0, 50.0, 90.0, 100])
@pytest.mark.parametrize("size", [16, 7])
def test_activation_percentile_is_that_of_the_examples_means(percentile, size):
    model, data = chain(), batches(20, size=size)
    found = activation_percentile(model, data, percentile=percentile)
    turned = activation_percentile(model, data, percentile=percentile, direction="maximum")
    for weight, upto in LOOK[False]:
        a = activations(model, data.inputs, upto)
        for channel in range(a.shape[1]):
            ranked = sorted(float(example[channel].abs().double().mean()) for example in a)
            place = percentile / 100 * (len(ranked) - 1)
            low, high = ranked[math.floor(place)], ranked[math.ceil(place)]
            expected = low + (place - math.floor(place)) * (high - low)
            assert found[weight][channel].item() == pytest.approx(expected, rel=1e-5, abs=1e-7)
            assert turned[weight][channel].item() == -found[weight][channel].item()
    for wrong in (-1.0, 100.5, math.nan):
        with pytest.raises(BadInput, match=r"percentile in \[0, 100\]"):
            activation_percentile(model, data, percentile=wrong)


@pytest.mark.parametrize("score", ["activation_mean", "activation_percentile"])
def test_channels_after_softplus_are_ranked_by_what_is_read_and_cut_exactly(score):
    model = mlp((1, 8, 8), 3, hidden=(12, 9), activation="softplus")
    data = batches(40)
    pruned = prune(model, sparsity=0.4, score=score, granularity="channel", batches=data, example=data.inputs[:2])
    small = shrink(pruned, data.inputs[:2])
    assert small.params < sum(p.numel() for p in model.parameters())
    a = torch.nn.functional.softplus(model.get_submodule("fc1")(data.inputs.flatten(1))).detach().double()
    expected = a.mean(0) if score == "activation_mean" else torch.quantile(a, 0.9, dim=0)
    layout = layout_for(model, "channel", data.inputs[:2])
    found = (activation_mean if score == "activation_mean" else activation_percentile)(model, data, layout=layout)
    own = next(v for v in found.values() if v.numel() == 12)
    torch.testing.assert_close(own.reshape(-1), expected, rtol=1e-5, atol=1e-6)


def test_apoz_counts_positions_and_not_only_dead_maps():
    # a 1x1 convolution that passes the input on: a map that is zero at 3 of 4 positions is no dead map
    model = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
    x = torch.tensor([[[[5.0, -1.0], [-1.0, -1.0]]], [[[5.0, 2.0], [0.0, -1.0]]]])
    assert apoz(model, [x])["0.weight"].tolist() == [3 / 8, 4 / 8]
    assert activation_mean(model, [x])["0.weight"].tolist() == [12 / 8, 4 / 8]
    assert activation_mean(model, [x], direction="maximum")["0.weight"].tolist() == [-12 / 8, -4 / 8]


def test_looked_at_after_the_activation_and_before_pooling():
    # after pooling, the means would be larger and the zeros fewer
    model, data = chain(), batches(20)
    pooled = activations(model, data.inputs, 3).mean(dim=(0, 2, 3))
    raw = activations(model, data.inputs, 1).abs().mean(dim=(0, 2, 3))
    mean = activation_mean(model, data)["0.weight"].float()
    assert (mean < pooled).any()
    assert (mean < raw).all()


def test_maximum_is_the_control():
    model, data = chain(), batches()
    scores = activation_mean(model, data)
    mask = prune(model, sparsity=0.5, score="activation_mean", granularity="channel", batches=data).mask
    control = select(activation_mean(model, data, direction="maximum"), 0.5, granularity="channel")
    lowest = torch.cat([scores[n][~k] for n, k in mask.kept.items()])
    highest = torch.cat([scores[n][~k] for n, k in control.kept.items()])
    assert lowest.max() <= highest.min()
    with pytest.raises(UnknownName, match="no direction named 'max'"):
        # unwrapped: in the tests a type checker stands before every function and would be the one to refuse
        inspect.unwrap(activation_mean)(model, data, direction="max")


def test_linear_layers_with_an_axis_in_the_middle_have_their_features_last():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    x = torch.randn(6, 5, 3, generator=torch.Generator().manual_seed(0))
    expected = activations(model, x, 2).abs().mean(dim=(0, 1))
    torch.testing.assert_close(activation_mean(model, [x])["0.weight"].float(), expected)


@pytest.mark.parametrize("activation", [nn.LeakyReLU(), nn.GELU(), nn.SiLU(), nn.ELU(), nn.Tanh(), nn.Identity()])
def test_activations_without_exact_zeros(activation):
    model = nn.Sequential(nn.Linear(3, 4), activation, nn.Linear(4, 2))
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    a = activations(model, x, 2)
    torch.testing.assert_close(activation_mean(model, [x])["0.weight"].float(), a.abs().mean(0))
    with pytest.raises(CannotPrune, match=r"'1' \(.*\) of layer '0' makes no exact ones: pass threshold"):
        apoz(model, [x])
    torch.testing.assert_close(apoz(model, [x], threshold=0.1)["0.weight"].float(), (a.abs() > 0.1).float().mean(0))
    assert apoz(model, [x], threshold=0.0)["0.weight"].max() == 1


@pytest.mark.parametrize("activation", [nn.ReLU(inplace=True), nn.ReLU6(), nn.Hardswish()])
def test_activations_with_exact_zeros(activation):
    model = nn.Sequential(nn.Linear(3, 4), activation, nn.Linear(4, 2))
    x = 8 * torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    a = activations(model, x, 2)
    torch.testing.assert_close(apoz(model, [x])["0.weight"].float(), (a != 0).float().mean(0))
    assert apoz(model, [x])["0.weight"].min() < 1


def test_softplus_is_refused_because_a_silent_channel_would_not_be_silent():
    model = nn.Sequential(nn.Linear(3, 4), nn.Softplus(), nn.Linear(4, 2))
    for score in (activation_mean, apoz, oracle):
        with pytest.raises(CannotPrune, match=r"module '1' \(Softplus\) is not known to keep"):
            score(model, [(torch.rand(2, 3), torch.tensor([0, 1]))])


def test_apoz_refuses():
    with pytest.raises(BadInput, match=r"0 or more; got -0\.5"):
        apoz(chain(), batches(), threshold=-0.5)
    with pytest.raises(BadInput, match="0 or more; got nan"):
        apoz(chain(), batches(), threshold=float("nan"))


@pytest.mark.parametrize("score", ["activation_mean", "apoz"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_activations_that_are_not_finite_prune_nothing(score, bad):
    data = [torch.full((4, 1, 8, 8), bad)]
    with pytest.raises(BadInput, match="finite"):
        prune(chain(), sparsity=0.5, score=score, granularity="channel", batches=data)


# --------------------------------------------------------------------------------------------------------- oracle


def loss_without(model, gone, data):
    """Mean loss of the network with the channels of `gone` silenced as a mask silences them."""
    copied = copy.deepcopy(model).eval()
    kept = {link.weight: torch.ones(link.channels, dtype=torch.bool) for link in links(model)}
    for name, channel in gone:
        kept[name][channel] = False
    zero(copied, removed_elements(copied, Mask(kept=kept, granularity="channel")))
    with torch.no_grad():
        return float(cross_entropy(copied(data.inputs).double(), data.labels))


def by_trying(model, data):
    """The greedy order by brute force, one channel and one network at a time."""
    units = [(link.weight, c) for link in links(model) for c in range(link.channels)]
    gone = []
    while len(gone) < len(units):
        left = [u for u in units if u not in gone]
        gone.append(min(left, key=lambda u: loss_without(model, [*gone, u], data)))
    return gone


def two_layers():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))


def convolutions():
    torch.manual_seed(4)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(3), nn.Conv2d(3, 4, 2), nn.GELU(), nn.Flatten(),
        nn.Linear(16, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 3),
    )  # fmt: skip
    with torch.no_grad():
        model[3].bias.copy_(torch.randn(3))  # after the pooling: a silent channel must not speak through it
    return model


def sequences():
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2), nn.Flatten())


@pytest.mark.parametrize(("make", "shape"), [(two_layers, (4,)), (convolutions, (1, 8, 8)), (sequences, (3, 4))])
@pytest.mark.parametrize("rows", [1, 100, 8192])
def test_oracle_is_brute_force(make, shape, rows, monkeypatch):
    monkeypatch.setattr(sys.modules["prudent.scores.oracle"], "ROWS", rows)
    generator = torch.Generator().manual_seed(1)
    model = make()
    data = Batches(
        inputs=torch.randn(30, *shape, generator=generator),
        labels=torch.randint(0, 3, (30,), generator=generator),
        size=11,
        split="train",
    )
    scores = oracle(model, data)
    order = sorted((int(v), (name, c)) for name, values in scores.items() for c, v in enumerate(values.tolist()))
    assert [place for place, _ in order] == list(range(sum(link.channels for link in links(model))))
    assert [unit for _, unit in order] == by_trying(model, data)


@pytest.mark.parametrize(("examples", "rows"), [(7, [0, 4, 8, 12, 17, 21, 25]), (30, range(30)), (99, range(30))])
def test_oracle_on_few_examples_is_the_oracle_of_those(examples, rows):
    model = two_layers()
    generator = torch.Generator().manual_seed(2)
    inputs, labels = torch.randn(30, 4, generator=generator), torch.randint(0, 3, (30,), generator=generator)
    few = Batches(inputs=inputs[list(rows)], labels=labels[list(rows)], size=4, split="train")
    every = Batches(inputs=inputs, labels=labels, size=4, split="train")
    found = oracle(model, every, examples=examples)
    assert {n: s.tolist() for n, s in found.items()} == {n: s.tolist() for n, s in oracle(model, few).items()}


def test_few_examples_cost_less():
    model, data = chain(), batches(60, size=16)
    oracle(model, data, examples=32, passes=209 * 2)
    with pytest.raises(
        BadInput, match=r"takes 627 forward passes for 20 channels on 3 batches; .* take fewer examples"
    ):
        oracle(model, data, examples=33, passes=209 * 2)


@pytest.mark.parametrize("examples", [0, -1, True])
def test_oracle_refuses_a_number_of_examples_that_is_none(examples):
    with pytest.raises(BadInput, match="a whole number of 1 or more"):
        oracle(chain(), None, examples=examples)


def test_oracle_says_its_cost_first_and_spends_no_more():
    model, data = chain(), batches(60, size=16)  # 20 channels, 4 batches
    cost = (20 * 21 // 2 - 1) * 4
    runs = []
    model[0].register_forward_pre_hook(lambda *_: runs.append(1))
    with pytest.raises(BadInput, match=r"takes 836 forward passes for 20 channels on 4 batches; .* passes=835:"):
        oracle(model, data, passes=cost - 1)
    assert not runs, "nothing may run before the refusal"
    oracle(model, data, passes=cost)
    assert 0 < len(runs) <= cost


def test_each_candidate_is_one_row_of_the_promised_cost(monkeypatch):
    # with one candidate in each pass, the passes are exactly those that were promised
    monkeypatch.setattr(sys.modules["prudent.scores.oracle"], "ROWS", 1)
    runs = []
    model = chain()
    model[0].register_forward_pre_hook(lambda *_: runs.append(1))
    oracle(model, batches(60, size=16))
    assert len(runs) == 836


def test_dead_channels_go_first():
    model = chain()
    with torch.no_grad():
        model[0].weight[2] = 0
        model[0].bias[2] = 0
        model[8].weight[7] = 0
        model[8].bias[7] = 0
    before = loss_without(model, [], batches())
    order = oracle(model, batches())
    assert loss_without(model, [("0.weight", 2), ("8.weight", 7)], batches()) == pytest.approx(before, rel=1e-6)
    # dead ones cost nothing, so whatever goes before them lowered the loss
    gone = [(n, c) for n, v in order.items() for c, p in enumerate(v.tolist()) if p < order["0.weight"][2]]
    assert loss_without(model, gone, batches()) <= before + 1e-6


def test_oracle_refuses():
    model = chain()
    with pytest.raises(BadInput, match="finite losses"):
        oracle(model, [(torch.full((4, 1, 8, 8), torch.nan), torch.tensor([0, 1, 2, 0]))])
    with pytest.raises(BadInput, match=r"got 0 \.\. 5"):
        oracle(model, [(torch.rand(2, 1, 8, 8), torch.tensor([0, 5]))])
