"""Scores of channels in networks that were traced, against their definitions written out for each network."""

import copy
import math
from functools import cache

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import nn
from torch.nn import functional as F

import prudent
from prudent.batches import Batches
from prudent.errors import CannotPrune
from prudent.models.resnet_cifar import resnet_cifar
from prudent.models.vit import vit
from prudent.scores import SCORES
from prudent.scores.activation_mean import activation_mean
from prudent.scores.apoz import apoz
from prudent.scores.batch_norm_scale import batch_norm_scale
from prudent.scores.geometric_median import geometric_median
from prudent.scores.oracle import oracle
from prudent.scores.pfp import pfp
from prudent.scores.thinet import thinet
from prudent.surgery.layouts import layout
from prudent.surgery.tracing import trace
from tests.conftest import assert_untouched, batches, chain, normalised, snapshot
from tests.surgery.networks import grouped, pictures, residual

CHANNEL_SCORES = [name for name in SCORES if SCORES.constant(name, "UNIT") == "channel"]
STREAM, INNER = "stem.weight", "first.weight"


class Interleaved(nn.Module):
    """Channels that are read by a linear layer after a flatten that puts them last."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 5, 2), nn.Linear(45, 3)

    def forward(self, x):
        return self.head(F.relu(self.conv(x)).permute(0, 2, 3, 1).flatten(1))


class Forked(nn.Module):
    """Channels that two layers read: one all their places, the other their means."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head, self.pooled = nn.Conv2d(3, 5, 2), nn.Linear(45, 3), nn.Linear(5, 3)

    def forward(self, x):
        x = F.relu(self.conv(x))
        return self.head(x.permute(0, 2, 3, 1).flatten(1)) + self.pooled(x.mean((2, 3)))


class Depthwise(nn.Module):
    """A depthwise convolution between two others: it is part of each channel, and no reader of it."""

    def __init__(self) -> None:
        super().__init__()
        self.expand, self.depthwise = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.project, self.head = nn.Conv2d(6, 4, 1), nn.Linear(4, 3)

    def forward(self, x):
        x = F.relu(self.depthwise(F.relu(self.expand(x))))
        return self.head(F.relu(self.project(x)).mean((2, 3)))


def units_of(model, example):
    return layout(trace(model, example), granularity="channel")


def network(make):
    """A network in float64 with its units, inputs and labels, and what each of its layers reads."""
    torch.manual_seed(1)
    model = make().double().eval()
    inputs = pictures(12).double()
    labels = torch.randint(0, 3, (12,), generator=torch.Generator().manual_seed(0))
    read = {}
    hooks = [
        module.register_forward_pre_hook(lambda _, given, name=name: read.update({name: given[0].clone()}))
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    ]
    with torch.no_grad():
        model(inputs)
    for hook in hooks:
        hook.remove()
    return model, units_of(model, inputs[:4]), Batches(inputs=inputs, labels=labels, size=5, split="train"), read


READ = {
    residual: {STREAM: [("first", 1), ("head", 1)], INNER: [("second", 1)]},
    grouped: {"a.weight": [("b", 1)], "b.weight": [("c", 1)], "c.weight": [("head", 1)]},
    Interleaved: {"conv.weight": [("head", 0)]},
    Forked: {"conv.weight": [("head", 0), ("pooled", 1)]},
    Depthwise: {"expand.weight": [("project", 1)], "project.weight": [("head", 1)]},
}
"""Network -> units -> layers that read them, and how: 1, input u is unit u; 0, inputs u, u + units, ... are."""


def places(units, inputs, how):
    return [[u] if how else list(range(u, inputs, units)) for u in range(units)]


# ------------------------------------------------------------------------------- plain networks, traced all the same


@pytest.mark.parametrize("name", ["batch_norm_scale", "geometric_median", "pfp", "thinet"])
def test_a_plain_network_that_is_traced_has_the_same_scores(name):
    for model in (normalised(), chain()) if name != "batch_norm_scale" else (normalised(),):
        own = SCORES[name](model, batches())
        traced = SCORES[name](model, batches(), layout=units_of(model, batches().inputs[:4]))
        assert own.keys() == traced.keys()
        for key in own:
            torch.testing.assert_close(own[key], traced[key], rtol=1e-6, atol=0)


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU6(), nn.Hardswish()])
def test_what_is_read_is_what_was_handed_on_where_nothing_pools(activation):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), activation, nn.Conv2d(4, 3, 3, stride=2), activation, nn.Flatten(),
        nn.Linear(12, 3),
    )  # fmt: skip
    units = units_of(model, batches().inputs[:4])
    for score in (activation_mean, apoz):
        own, traced = score(model, batches()), score(model, batches(), layout=units)
        assert all(torch.allclose(own[k], traced[k], rtol=1e-9) for k in own)


def test_an_activation_that_runs_at_several_places_is_asked_at_the_right_ones():
    def network(first, second, third):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), first, nn.MaxPool2d(2), second, nn.Conv2d(4, 3, 2), third, nn.Flatten(),
            nn.Linear(12, 3),
        )  # fmt: skip

    one = nn.ReLU()
    for score in (activation_mean, apoz):
        apart, shared = (score(network(*acts), batches()) for acts in ((nn.ReLU(), nn.ReLU(), nn.ReLU()), (one,) * 3))
        assert all(torch.equal(apart[name], shared[name]) for name in apart)


# ---------------------------------------------------------------------------------------- weights: scales, distances


def test_the_scale_of_a_sum_is_the_mean_over_its_normalisations():
    model = resnet_cifar((3, 8, 8), 3, depth=8, width=4, shortcut="B")
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.copy_(torch.randn(len(module.weight)))
    scores = batch_norm_scale(model, layout=units_of(model, pictures()))
    scale = {name: m.weight.detach().abs() for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    torch.testing.assert_close(scores["conv1.weight"], (scale["bn1"] + scale["layer1.0.bn2"]) / 2)
    torch.testing.assert_close(scores["layer1.0.conv1.weight"], scale["layer1.0.bn1"])
    below = next(name for name in scale if name.startswith("layer3.0.downsample"))
    (name,) = [n for n, s in scores.items() if s.shape == (16,) and n != "layer3.0.conv1.weight"]
    torch.testing.assert_close(scores[name], (scale[below] + scale["layer3.0.bn2"]) / 2)


def test_one_of_two_summands_without_normalisation_is_enough_and_none_is_refused():
    model, units, _, _ = network(residual)
    scores = batch_norm_scale(model, layout=units)
    assert torch.equal(scores[STREAM], model.norm.weight.detach().abs())
    assert torch.equal(scores[INNER], model.inner.weight.detach().abs())
    model, units, _, _ = network(grouped)
    with pytest.raises(CannotPrune, match="'a' and 2 more have none: use another score"):
        batch_norm_scale(model, layout=units)


@pytest.mark.parametrize("normalise", [True, False])
def test_distances_of_a_sum_are_the_mean_over_the_layers_that_make_it(normalise):
    model, units, _, _ = network(residual)

    def sums(weight):
        rows = weight.detach().flatten(1).tolist()
        found = np.array([sum(math.dist(a, b) for b in rows) for a in rows])
        return found / found.mean() if normalise else found

    scores = geometric_median(model, layout=units, normalise=normalise)
    expected = (sums(model.stem.weight) + sums(model.second.weight)) / 2
    assert scores[STREAM].tolist() == pytest.approx(expected.tolist(), rel=1e-12)
    assert scores[INNER].tolist() == pytest.approx(sums(model.first.weight).tolist(), rel=1e-12)


# ------------------------------------------------------------------------------------------------------- activations


@pytest.mark.parametrize("make", READ)
def test_activations_are_those_that_the_readers_get(make):
    model, units, data, read = network(make)
    before = snapshot(model)
    means, active = activation_mean(model, data, layout=units), apoz(model, data, layout=units)
    largest = activation_mean(model, data, layout=units, direction="maximum")
    assert_untouched(model, before)
    assert means.keys() == READ[make].keys()
    for name, readers in READ[make].items():
        shape = means[name].shape
        for u in range(means[name].numel()):
            mean, share = [], []
            for reader, how in readers:
                x = read[reader]
                at = places(means[name].numel(), x.shape[1], how)[u]
                values = [v for example in x for place in at for v in example[place].flatten().tolist()]
                mean.append(sum(map(abs, values)) / len(values))
                share.append(sum(v != 0 for v in values) / len(values))
            assert float(means[name].flatten()[u]) == pytest.approx(sum(mean) / len(mean), rel=1e-12)
            assert float(active[name].flatten()[u]) == pytest.approx(sum(share) / len(share), rel=1e-12)
        assert torch.equal(largest[name], -means[name])
        assert active[name].shape == shape


def test_zeros_are_asked_of_what_makes_what_is_read():
    torch.manual_seed(0)
    model = resnet_cifar((3, 8, 8), 3, depth=8, width=4)
    model.layer2[0].relu1 = nn.SiLU()
    x = pictures()
    units = units_of(model, x)
    with pytest.raises(CannotPrune, match=r"'layer2.0.conv2' reads comes from 'silu'.*threshold"):
        apoz(model, [x], layout=units)
    read = {}
    handle = model.layer2[0].conv2.register_forward_pre_hook(lambda _, given: read.update(x=given[0]))
    with torch.no_grad():
        model.eval()(x)
    handle.remove()
    scores = apoz(model, [x], layout=units, threshold=0.05)
    expected = (read["x"].abs() > 0.05).double().mean(dim=(0, 2, 3))
    torch.testing.assert_close(scores["layer2.0.conv1.weight"], expected)


# --------------------------------------------------------------------------------------------------------------- pfp


def outputs(model, reader, x, weight=None):
    """What a layer answers to x, bias aside."""
    layer = model.get_submodule(reader)
    weight = layer.weight.detach() if weight is None else weight
    if isinstance(layer, nn.Linear):
        return F.linear(x, weight)
    return F.conv2d(x, weight, stride=layer.stride, padding=layer.padding, groups=layer.groups)


def silenced(x, keep):
    """x with zeros at all inputs but these."""
    mask = torch.zeros(x.shape[1], dtype=x.dtype)
    mask[keep] = 1
    return x * mask.view(1, -1, *[1] * (x.ndim - 2))


def sensitivities_by_hand(model, read, readers, total):
    """For each unit its largest share of any value of any layer that reads it, over terms of the same signs."""
    best = [0.0] * total
    for reader, how in readers:
        x, weight = read[reader], model.get_submodule(reader).weight.detach()
        for part in (x.clamp_min(0), (-x).clamp_min(0)):
            for w in (weight.clamp_min(0), (-weight).clamp_min(0)):
                whole = outputs(model, reader, part, w)
                for u, at in enumerate(places(total, x.shape[1], how)):
                    share = outputs(model, reader, silenced(part, at), w) / whole
                    best[u] = max(best[u], float(share.nan_to_num(0).max()))
    return torch.tensor(best, dtype=torch.float64)


@pytest.mark.parametrize("make", READ)
def test_pfp_takes_the_largest_share_in_any_reader(make):
    model, units, data, read = network(make)
    scores = pfp(model, data, layout=units)
    tops = []
    for name, readers in READ[make].items():
        found = scores[name].flatten()
        s = sensitivities_by_hand(model, read, readers, len(found))
        order = s.argsort(descending=True)
        assert torch.equal(found.argsort(descending=True), order)
        layers = [(model.get_submodule(r), outputs(model, r, read[r])) for r, _ in readers]
        kernel = [math.prod(layer.weight.shape[2:]) for layer, _ in layers]
        positions = [math.prod(out.shape[2:]) for _, out in layers]
        log_term = max(3 * math.log(8 * (p + 1) * k / 1e-16) for p, k in zip(positions, kernel, strict=True))
        p = s / s.sum()
        for rank, unit in enumerate(order.tolist(), start=1):
            if rank == 1:
                tops.append(float(found[unit]))
                continue  # the first comes before all others
            eps = float(found[unit])
            assert (eps == 0) == (float(s[unit]) == 0)  # what no layer ever sees
            if eps == 0:
                continue
            draws = (6 + 2 * eps) * log_term * float(s.sum()) / (3 * eps**2)
            assert float((1 - (1 - p) ** draws).sum()) == pytest.approx(rank - 0.5, rel=1e-6)
    assert min(tops) >= max(float(v.flatten().sort().values[-2]) for v in scores.values())


def test_pfp_corrects_every_reader_of_a_unit_alike_and_is_right_on_average(monkeypatch):
    model, units, data, _ = network(residual)
    from prudent.sensitivities import channel_sensitivities

    with torch.no_grad():  # no channel is dead
        model.norm.bias.fill_(3.0)
        model.inner.bias.fill_(3.0)
    readers = {"first": 8, "head": 8, "second": 6}
    found = channel_sensitivities(model, data, readers, delta=1e-16, examples=None)
    monkeypatch.setattr("prudent.scores.pfp.channel_sensitivities", lambda *_, **__: found)
    runs, seen = 100, []
    for seed in range(runs):
        pruned = prudent.prune(
            model, sparsity=0.5, score=lambda model, batches, *, layout, seed: pfp(
                model, batches, mode="randomised", layout=layout, seed=seed
            ), granularity="channel", scope="layer", example=data.inputs[:4], batches=data, seed=seed,
        )  # fmt: skip
        kept = pruned.mask.kept[STREAM]
        assert int(kept.sum()) == 4
        head = pruned.model.head.weight.detach() / model.head.weight.detach()
        inner = pruned.mask.kept[INNER]
        first = (pruned.model.first.weight.detach() / model.first.weight.detach())[inner]
        assert torch.allclose(head, head[:1].expand_as(head))
        assert torch.allclose(first, head[0][None, :, None, None].expand_as(first))
        assert ((head[0] == 0) == ~kept).all()
        seen.append(head[0])
    seen = torch.stack(seen)
    assert ((seen.mean(0) - 1).abs() < 5 * seen.std(0) / runs**0.5 + 1e-9).all()
    assert float(seen.std(0).max()) > 0.1


# ------------------------------------------------------------------------------------------------------------ thinet


def alike(model, readers):
    """All outputs of the readers (of a group) are the same, so that it does not matter which of them is drawn."""
    with torch.no_grad():
        for reader in readers:
            layer = model.get_submodule(reader)
            layer.weight[:] = layer.weight[:1]
            if getattr(layer, "bias", None) is not None:
                layer.bias.zero_()


def change(model, read, readers, total, removed, *, factors=None):
    """By how much the first output changes of all layers that read the units, at each place."""
    parts = []
    for reader, how in readers:
        x = read[reader]
        at = places(total, x.shape[1], how)
        scale = torch.ones(x.shape[1], dtype=x.dtype)
        for u in range(total):
            scale[at[u]] = 0.0 if u in removed else 1.0 if factors is None else float(factors[u])
        y = outputs(model, reader, x * scale.view(1, -1, *[1] * (x.ndim - 2))) - outputs(model, reader, x)
        parts.append(y[:, 0].flatten())
    return torch.cat(parts)


@pytest.mark.parametrize("make", [residual, Interleaved, Forked, Depthwise])
def test_thinet_is_greedy_over_all_readers_by_brute_force(make):
    model, _, _, _ = network(make)
    every = {reader for readers in READ[make].values() for reader, _ in readers}
    alike(model, every)
    model, units, data, read = network(lambda: model)
    scores = thinet(model, data, samples=10**6, layout=units)
    for name, readers in READ[make].items():
        total, removed = scores[name].numel(), []
        for place in range(1, total + 1):
            left = [u for u in range(total) if u not in removed]
            errors = {u: float((change(model, read, readers, total, [*removed, u]) ** 2).sum()) for u in left}
            (taken,) = (scores[name].flatten() * total).round().eq(place).nonzero().flatten().tolist()
            assert errors[taken] <= min(errors.values()) * (1 + 1e-9) + 1e-12
            removed.append(taken)


def test_thinet_rescales_by_least_squares_over_all_readers():
    model, _, _, _ = network(residual)
    alike(model, ["first", "head", "second"])
    model, _, data, read = network(lambda: model)
    pruned = prudent.prune(
        model, sparsity=0.5, score="thinet", granularity="channel", scope="layer", example=data.inputs[:4], batches=data
    )
    for name, readers in READ[residual].items():
        kept = pruned.mask.kept[name]
        total = len(kept)
        columns = torch.stack(
            [-change(model, read, readers, total, [u]) for u in range(total)], dim=1
        ).numpy()  # what each unit adds
        best = scipy.optimize.lsq_linear(columns[:, kept.numpy()], columns.sum(axis=1)).fun
        reader = readers[-1][0]
        new, old = (m.get_submodule(reader).weight.detach() for m in (pruned.model, model))
        row = int(new.flatten(1).any(dim=1).nonzero()[0])
        factors = (new[row] / old[row]).reshape(total, -1)[:, 0]
        ours = columns[:, kept.numpy()] @ factors[kept].numpy() - columns.sum(axis=1)
        assert (ours**2).sum() <= (best**2).sum() * (1 + 1e-6) + 1e-12
    assert (pruned.model.head.weight[0] / model.head.weight[0]).tolist() == pytest.approx(
        (pruned.model.first.weight / model.first.weight)[pruned.mask.kept[INNER]][0, :, 0, 0].tolist()
    )


def test_thinet_draws_outputs_of_the_right_group():
    model, units, data, read = network(grouped)
    scores = thinet(model, data, samples=10**6, layout=units, rescale=False)
    # with one unit's inputs at zero everywhere, that unit adds nothing and goes first
    with torch.no_grad():
        model.b.weight[:, 1] = 0  # the second input of each of the three groups: units 1, 5, 9
    again = thinet(model, data, samples=10**6, layout=units_of(model, data.inputs[:4]), rescale=False)
    assert set((again["a.weight"].flatten() * 12).round().long().flatten()[[1, 5, 9]].tolist()) == {1, 2, 3}
    assert set((scores["a.weight"].flatten() * 12).round().long()[[1, 5, 9]].tolist()) != {1, 2, 3}


# ------------------------------------------------------------------------------------------------------------ oracle

TOUCHES = {
    STREAM: ("stem.weight", "second.weight", "second.bias", "norm.weight", "norm.bias"),
    INNER: ("first.weight", "inner.weight", "inner.bias"),
}


def test_oracle_is_brute_force_over_units_with_several_makers():
    model, units, data, _ = network(residual)

    def loss(gone):
        cut = copy.deepcopy(model)
        with torch.no_grad():
            for name, u in gone:
                for parameter in TOUCHES[name]:
                    cut.get_parameter(parameter)[u] = 0
            return float(F.cross_entropy(cut(data.inputs), data.labels))

    left = [(STREAM, u) for u in range(8)] + [(INNER, u) for u in range(6)]
    gone = []
    while left:
        gone.append(min(left, key=lambda unit: loss([*gone, unit])))
        left.remove(gone[-1])
    before = snapshot(model)
    scores = oracle(model, data, layout=units)
    assert_untouched(model, before)
    assert sorted(v for s in scores.values() for v in s.tolist()) == list(range(14))
    assert [unit for unit in gone if unit != gone[-1]] == sorted(
        gone[:-1], key=lambda unit: float(scores[unit[0]][unit[1]])
    )


# -------------------------------------------------------------------------------------------- whole networks, refusals


@cache
def padded():
    torch.manual_seed(0)
    return resnet_cifar((1, 8, 8), 3, depth=8, width=2, shortcut="A")


@pytest.mark.parametrize("name", CHANNEL_SCORES)
def test_residual_networks_with_padded_shortcuts_are_cut_with_proof(name):
    model, data = padded(), batches(16)
    pruned = prudent.prune(
        model, sparsity=0.5, score=name, granularity="channel", example=data.inputs[:4], batches=data
    )
    assert pruned.mask.total - pruned.mask.remaining == round(pruned.mask.total / 2)
    small = prudent.shrink(pruned, data.inputs[:4])
    assert not small.kept
    assert torch.allclose(small.model.eval()(data.inputs), pruned.model.eval()(data.inputs), atol=1e-5)


@pytest.mark.parametrize("name", ["activation_mean", "pfp", "thinet"])
def test_of_a_transformer_the_hidden_units_and_what_no_layer_reads_is_refused(name):
    model = vit((1, 8, 8), 3, patch=4, width=12, heads=3, depth=1, hidden=8)
    data = batches(16)
    options = {"sparsity": 0.5, "score": name, "granularity": "channel", "example": data.inputs[:4], "batches": data}
    with pytest.raises(CannotPrune, match=r"'blocks.0.attention.query', none reads them.*layers=.*'geometric_median'"):
        prudent.prune(model, **options)
    pruned = prudent.prune(model, layers=["blocks.0.fc1"], **options)
    assert pruned.mask.removed_by_layer == {"blocks.0.fc1.weight": 4}
    with pytest.raises(prudent.errors.UnknownName, match="no layer named 'blocks.0.fc2'"):
        prudent.prune(model, layers=["blocks.0.fc2"], **options)


class Listened(nn.Module):
    """Channels that are also read by what is no layer whose input can be watched."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 1)
        self.rnn, self.out, self.head = nn.RNN(5, 4, batch_first=True), nn.Linear(4, 3), nn.Linear(5, 3)

    def forward(self, x):
        seen = F.relu(self.conv(x)).flatten(2).transpose(1, 2)
        return self.out(self.rnn(seen)[0][:, -1]) + self.head(seen[:, 0])


@pytest.mark.parametrize("name", ["activation_mean", "apoz", "pfp", "thinet"])
def test_readers_that_cannot_be_watched_are_named(name):
    model = Listened()
    with pytest.raises(CannotPrune, match=r"of 'conv'.*'rnn.weight_ih_l0' reads them"):
        SCORES[name](model, [pictures()], layout=units_of(model, pictures()).only(["conv.weight"]))


def test_a_network_that_is_not_plain_is_told_of_the_example():
    for name in CHANNEL_SCORES:
        with pytest.raises(CannotPrune, match="pass example="):
            prudent.prune(residual(), sparsity=0.5, score=name, granularity="channel", batches=[pictures()])
