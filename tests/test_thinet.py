"""ThiNet against its definition: greedy by brute force over sets, and least squares by scipy."""

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import nn

import prudent
from prudent.batches import Batches
from prudent.errors import BadInput, CannotPrune
from prudent.masks import count
from prudent.scores.thinet import thinet
from prudent.surgery.chain import links
from tests.conftest import assert_untouched, batches, chain, snapshot


def outputs_without(model, reader, removed, inputs, *, factors=None):
    """What the reader answers, bias aside, if the channels `removed` are silent, by running it on changed inputs."""
    layer = model.get_submodule(reader)
    caught = {}
    handle = layer.register_forward_hook(lambda m, i, o: caught.update(x=i[0]))
    with torch.no_grad():
        model.eval()(inputs)
        handle.remove()
        x = caught["x"].double().clone()
        (link,) = (link for link in links(model) if link.reader == reader)
        x = x.unflatten(1, (link.channels, -1)) if x.ndim == 2 else x
        x[:, list(removed)] = 0
        if factors is not None:
            x *= factors.view(1, -1, *[1] * (x.ndim - 2))
        x = x.flatten(1) if isinstance(layer, nn.Linear) else x
        bare = {k: v.double() for k, v in layer.named_parameters() if k == "weight"}
        if isinstance(layer, nn.Linear):
            return nn.functional.linear(x, bare["weight"])
        return nn.functional.conv2d(x, bare["weight"], stride=layer.stride, padding=layer.padding)


def one_output(model):
    """The same network with readers whose outputs are all alike: which of them is drawn does not matter."""
    for link in links(model):
        reader = model.get_submodule(link.reader)
        with torch.no_grad():
            reader.weight[:] = reader.weight[:1]
    return model


@pytest.mark.parametrize("norm", [False, True])
def test_order_is_greedy_by_brute_force(norm):
    model = one_output(chain(norm=norm))
    data = batches(20)
    scores = thinet(model, data, samples=10**6)
    for link in links(model):
        dense = outputs_without(model, link.reader, (), data.inputs)
        removed = []
        for place in range(1, link.channels + 1):
            errors = {
                c: float(((outputs_without(model, link.reader, [*removed, c], data.inputs) - dense) ** 2).sum())
                for c in set(range(link.channels)) - set(removed)
            }
            taken = int((scores[link.weight] * link.channels).round().eq(place).nonzero())
            assert errors[taken] <= min(errors.values()) * (1 + 1e-6) + 1e-9
            removed.append(taken)


def test_rescaling_is_the_least_squares_solution():
    model = one_output(chain()).double()
    data = Batches(inputs=batches(40).inputs.double(), size=16)
    pruned = prudent.prune(model, sparsity=0.5, score="thinet", granularity="channel", scope="layer", batches=data)
    for link in links(model):
        kept = pruned.mask.kept[link.weight]
        dense = outputs_without(model, link.reader, (), data.inputs)[:, 0].flatten()
        columns = np.stack([
            outputs_without(model, link.reader, set(range(link.channels)) - {c}, data.inputs)[:, 0].flatten().numpy()
            for c in range(link.channels)
        ], axis=1)  # fmt: skip
        by_scipy = scipy.optimize.lsq_linear(columns[:, kept.numpy()], dense.numpy()).fun
        new, old = (m.get_submodule(link.reader).weight.detach().double() for m in (pruned.model, model))
        alive = new.flatten(1).any(dim=1).nonzero()[0]  # an output of the reader that is not removed itself
        ratio = (new[alive] / old[alive]).reshape(link.channels, -1)
        factors = ratio[:, 0]
        assert torch.allclose(ratio, factors[:, None].expand_as(ratio), rtol=1e-4)
        ours = columns[:, kept.numpy()] @ factors[kept].numpy() - dense.numpy()
        assert (ours**2).sum() <= (by_scipy**2).sum() * (1 + 1e-9) + 1e-15
        plain = columns[:, kept.numpy()].sum(axis=1) - dense.numpy()
        assert (ours**2).sum() < (plain**2).sum()


def test_nothing_is_rescaled_if_nothing_goes_and_a_dead_channel_keeps_its_weights():
    model, data = chain(), batches()
    with torch.no_grad():
        model[0].weight[1] = 0
        model[0].bias[1] = 0
    scores = thinet(model, data)
    assert float(scores["0.weight"][1]) == 0.25  # the first to go
    every = {name: torch.ones_like(p, dtype=torch.bool) for name, p in model.named_parameters() if p.ndim > 1}
    for name, value in scores.weights(every).items():
        assert torch.equal(value, model.get_parameter(name))
    every["0.weight"][2] = False
    new = scores.weights(every)["3.weight"]
    assert torch.allclose(new[:, 1], model[3].weight[:, 1], atol=1e-6)
    assert not torch.allclose(new[:, 0], model[3].weight[:, 0], atol=1e-3)


def test_samples_are_drawn_from_everything_and_depend_on_the_seed_alone():
    model, data = chain(norm=True), batches()
    before = snapshot(model)
    small = [thinet(model, data, samples=5, seed=seed) for seed in range(8)]
    again = thinet(model, data, samples=5, seed=3)
    assert_untouched(model, before)
    assert all(torch.equal(again[k], small[3][k]) for k in again)
    assert any(not torch.equal(small[0][k], s[k]) for s in small for k in again)
    # as many samples as there are places: the cut into batches does not matter
    whole = thinet(model, batches(size=60), samples=10**6, rescale=False)
    assert {k: v.shape for k, v in whole.items()} == {link.weight: (link.channels,) for link in links(model)}


def test_sample_is_uniform_over_places():
    """Each example's own value is what channel 0 adds; over many seeds every example is drawn equally often."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)).double()
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[1].weight.fill_(1.0)
    from prudent.scores.thinet import _drawn

    data = [torch.arange(5, dtype=torch.float64)[:, None], torch.arange(5, 12, dtype=torch.float64)[:, None]]
    drawn = torch.stack([_drawn(model, data, links(model), 3, seed)["1"][:, 0] for seed in range(400)])
    assert all(len(set(row)) == 3 for row in drawn[:100].tolist())
    frequency = torch.bincount(drawn.long().flatten(), minlength=12) / 400
    assert (frequency - 0.25).abs().max() < 5 * (0.25 * 0.75 / 400) ** 0.5


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_prunes_the_first_in_the_order_and_shrinks(scope):
    model, data = chain(norm=True), batches()
    pruned = prudent.prune(model, sparsity=0.5, score="thinet", granularity="channel", scope=scope, batches=data)
    scores = thinet(model, data)
    for name, kept in pruned.mask.kept.items():
        assert scores[name][kept].min() > scores[name][~kept].max()
    assert pruned.mask.total - pruned.mask.remaining == count(0.5, 20)
    small = prudent.shrink(pruned, data.inputs[:4])
    assert torch.allclose(small.model.eval()(data.inputs), pruned.model.eval()(data.inputs), atol=1e-5)


def test_refusals():
    with pytest.raises(BadInput, match="samples=0"):
        thinet(chain(), batches(), samples=0)
    with pytest.raises(CannotPrune):
        thinet(nn.Sequential(nn.Linear(3, 3)), [torch.ones(2, 3)])
