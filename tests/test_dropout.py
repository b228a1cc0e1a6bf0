"""Dropout samples beside closed forms, masks drawn by hand, and full passes of the network."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from prudent import dropout_draws as module
from prudent.building import build
from prudent.dropout import sampler, with_dropout
from prudent.dropout_graph import halve
from prudent.errors import BadInput, UnknownName
from prudent.identity import identity
from prudent.network import fingerprint, prunable, seeded
from prudent.prediction import predict
from prudent.pruning import prune
from prudent.seeds import stream
from prudent.surgery.emission import graph_of
from tests.conftest import assert_untouched, chain, images, snapshot


class Residual(nn.Module):
    """Two tensors cross the cut, sizes are computed from the batch, and ReLUs write over their inputs."""

    def __init__(self, rate: float = 0.4) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.relu, self.drop = nn.ReLU(inplace=True), nn.Dropout2d(rate)
        self.again, self.last = nn.Conv2d(4, 4, 3, padding=1), nn.Dropout(rate)
        self.head = nn.Linear(4, 3)
        with torch.no_grad():
            self.norm.running_mean.normal_()

    def forward(self, x):
        skip = self.relu(self.norm(self.conv(x)))
        y = self.relu(self.again(self.drop(skip))) + skip
        y = y.view(x.shape[0], 4, -1).mean(2)
        return self.head(self.last(y))


class Wrapped(nn.Module):
    """A network that is no sequence, though it holds one."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x):
        return self.inside(x)


def passes(model: nn.Module, x: torch.Tensor, samples: int, *, seed: int) -> np.ndarray:
    """Independent passes of the whole network, dropout modules switched on one by one."""
    model.eval()
    for part in model.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):
            part.train()
    with torch.no_grad(), seeded(seed):
        found = torch.stack([model(x) for _ in range(samples)]).numpy()
    model.eval()
    return found


def assert_same_distribution(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Means and variances of two sets of samples within five standard errors, for every example and class."""
    for power in (1, 2):
        a, b = (v if power == 1 else (v - v.mean(axis=0)) ** 2 for v in (ours, theirs))
        error = np.sqrt(a.var(axis=0) / len(a) + b.var(axis=0) / len(b))
        assert (np.abs(a.mean(axis=0) - b.mean(axis=0)) <= 5 * error + 1e-6).all(), f"moment {power}"


@pytest.mark.parametrize("wrap", [False, True], ids=["layers", "graph"])
def test_every_sample_is_the_network_with_masks_of_its_own(wrap, monkeypatch):
    monkeypatch.setattr(module, "ROWS", 21)  # 3 samples of 7 examples at a time
    torch.manual_seed(0)
    first, last = nn.Linear(5, 6), nn.Linear(6, 3)
    model: nn.Module = nn.Sequential(first, nn.Tanh(), nn.Dropout(0.3), last)
    x = torch.rand(7, 5)
    answers = predict(Wrapped(model) if wrap else model, [x], split="test", mc_samples=8, seed=4).logits
    with torch.no_grad(), seeded(stream("dropout samples", 4)):
        hidden = torch.tanh(first(x))
        masks = torch.cat([F.dropout(torch.ones(k * 7, 6), 0.3).reshape(k, 7, 6) for k in (3, 3, 2)])
        expected = torch.stack([last(hidden * mask) for mask in masks])
    np.testing.assert_allclose(answers, expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_samples_are_distributed_as_full_passes(rate):
    model = Residual(rate).eval()
    x = images(6)[0]
    found = sampler(model, x)
    find, note = found.draw, found.note
    assert note == ""
    with torch.no_grad(), seeded(1):
        ours = find(x, 1500).numpy()
    assert_same_distribution(ours, passes(model, x, 1500, seed=2))
    beside = np.corrcoef(ours[:, :, 0].T) - np.eye(6)
    assert np.abs(beside).max() < 5 / np.sqrt(1500), "examples share masks"
    after = [np.corrcoef(ours[1:, i, 0], ours[:-1, i, 0])[0, 1] for i in range(6)]
    assert np.abs(after).max() < 5 / np.sqrt(1500), "samples share masks"


def test_the_first_half_holds_all_that_no_dropout_reaches():
    model = Residual().eval()
    halves = halve(model, images(5)[0])
    names = {half: [str(n.target) for n in getattr(halves, half).graph.nodes] for half in ("before", "after")}
    assert names["before"].count("aten.conv2d.default") == 1
    assert names["after"].count("aten.conv2d.default") == 1
    assert "aten.batch_norm.default" not in names["after"]
    assert [axis for axis in halves.axes if axis is not None] == [0] * len(halves.axes)


def test_batches_of_other_sizes_and_of_one():
    model = Residual(0.02).eval()
    x = images(9)[0]
    plain = predict(model, [x], split="test").logits
    for cut in ([x[:5], x[5:8], x[8:]], [x[:1], x[1:]]):
        answers = predict(model, cut, split="test", mc_samples=1500).logits
        assert answers.shape == (1500, 9, 3)
        np.testing.assert_allclose(answers.mean(axis=0), plain, atol=0.05)


def test_the_batch_may_be_another_dimension_than_the_first():
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix, self.drop, self.head = nn.Linear(8, 4), nn.Dropout(0.5), nn.Linear(4, 3)

        def forward(self, x):
            y = self.mix(x.squeeze(1)).transpose(0, 1)  # (places, batch, features)
            return self.head(self.drop(y).mean(0))

    torch.manual_seed(0)
    model, x = Turned().eval(), images(5)[0]
    found = sampler(model, x)
    find, note = found.draw, found.note
    assert note == ""
    with torch.no_grad(), seeded(3):
        assert_same_distribution(find(x, 1500).numpy(), passes(model, x, 1500, seed=4))


def test_without_dropout_both_halves_are_the_network():
    model, x = Residual().eval(), images(6)[0]
    halves = halve(model, x)
    with torch.no_grad():
        crossing = halves.before(x)
        once = halves.answer(crossing, rows=6, active=False)
        thrice = halves.answer(halves.repeated(crossing, 3), rows=18, active=False)
        np.testing.assert_allclose(once, model(x), atol=1e-6)
        np.testing.assert_allclose(thrice, model(x).repeat(3, 1), atol=1e-6)


ZOO = (
    ("small_cnn", (1, 28, 28), {"dropout": 0.3}), ("mlp", (2,), {"dropout": 0.3}),
    ("wide_resnet", (3, 32, 32), {"depth": 10, "width": 1, "dropout": 0.3}), ("vit", (3, 32, 32), {"dropout": 0.1}),
)  # fmt: skip


@pytest.mark.parametrize(("name", "shape", "options"), ZOO, ids=[z[0] for z in ZOO])
def test_architectures_with_dropout_need_no_full_passes(name, shape, options):
    model = build(name, shape, 4, seed=0, options=options).eval()
    x = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
    found = sampler(model, x)
    find, note = found.draw, found.note
    assert note == ""
    with torch.no_grad(), seeded(0):
        answers = find(x, 2)
    assert answers.shape == (2, 3, 4)
    assert not torch.equal(answers[0], answers[1])


class Odd(nn.Module):
    """A network whose forward pass the test gives."""

    def __init__(self, forward, *, drop: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.drop, self.head = nn.Linear(64, 6), drop or nn.Dropout(0.3), nn.Linear(6, 3)
        self.odd = forward

    def forward(self, x):
        return self.odd(self, x.flatten(1))


class Own(nn.Dropout):
    def forward(self, x):
        return x * 0.5 if self.training else x


def branching(net, x):
    y = net.first(x)
    return net.head(net.drop(y)) if y.sum() > -1e9 else net.head(y)


def of_weights(net, x):
    return F.linear(net.first(x), net.drop(net.head.weight))


def read_twice(net, x):
    y = net.first(x)
    kept = net.drop(y)
    y.mul_(2.0)
    return net.head(kept + y)


def across(net, x):
    y = net.drop(net.first(x))
    return net.head(y - y.mean(0))


def transposed(net, x):
    """Examples are mixed before the dropout, and each row after it has its own."""
    return net.head(net.drop(net.first(x).reshape(-1, 3, 2).transpose(0, 1).reshape(-1, 2)).reshape(-1, 6))


def folded(net, x):
    """Several rows of each example that are not beside each other."""
    y = net.first(x).reshape(-1, 3, 2).transpose(0, 1).reshape(-1, 2)
    return net.head(net.drop(y).reshape(3, -1, 2).transpose(0, 1).reshape(-1, 6))


def padded(net, x):
    """A row that belongs to no example."""
    y = net.first(x)
    return net.head(net.drop(torch.cat([y, y[:1]]))[:-1])


def squared(net, x):
    """Pairs of examples."""
    y = net.first(x)
    return net.head(net.drop(y[:, None] * torch.ones_like(y)[None])[:, 0])


@pytest.mark.parametrize(
    ("forward", "drop", "why"),
    [
        (lambda net, x: net.head(net.drop(F.dropout(net.first(x), 0.1, training=True))), None, "draws random numbers"),
        (lambda net, x: net.head(net.drop(net.first(x) + torch.randn_like(x[:, :6]))), None, "draws random numbers"),
        (lambda net, x: net.head(net.drop(net.first(x))), Own(0.5), "Own is a dropout with a forward pass of its own"),
        (branching, None, "cannot be traced"),
        (of_weights, None, "what all examples share"),
        (read_twice, None, "writes over a tensor that is also read elsewhere"),
        (across, None, "depends on the other"),
        (lambda net, x: net.head(net.drop(net.first(x.abs_()))), None, "writes over a tensor that is also read else"),
        (folded, None, "something else than the network"),
        (squared, None, "examples are mixed with another dimension"),
        (padded, None, "examples are mixed with another dimension"),
    ],
    ids=[
        "functional", "noise", "own", "branch", "weights", "in place", "across", "of the input", "folded", "squared",
        "padded",
    ],
)  # fmt: skip
def test_what_cannot_be_cut_is_sampled_by_full_passes_and_says_why(forward, drop, why):
    model, x = Odd(forward, drop=drop).eval(), images(6)[0]
    with pytest.warns(UserWarning, match=f"take a whole pass of the network each: .*{why}"):
        answers = predict(model, [x], split="test", mc_samples=1200, seed=1).logits if drop is None else _own(model, x)
    if drop is None:
        assert_same_distribution(answers, passes(model, x, 1200, seed=2))


def test_what_the_first_half_mixes_stays_as_the_network_mixes_it():
    model, x = Odd(transposed).eval(), images(6)[0]
    found = sampler(model, x)
    assert found.note == ""
    with torch.no_grad(), seeded(1):
        assert_same_distribution(found.draw(x, 1200).numpy(), passes(model, x, 1200, seed=2))


def _own(model, x):
    with pytest.raises(BadInput, match="all samples are the same"):
        predict(model, [x], split="test", mc_samples=5)
    find = sampler(model, x).draw
    with torch.no_grad():
        np.testing.assert_allclose(find(x, 1).numpy(), passes(model, x, 1, seed=0), atol=1e-6)


@pytest.mark.parametrize("make", [lambda: chain(norm=True), Residual, lambda: Odd(branching)])
def test_nothing_of_the_network_or_of_the_caller_changes(make):
    model, x = make().train(), images(6)[0]
    before, given = snapshot(model), x.clone()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predict(model, [x], split="test", mc_samples=3)
    assert_untouched(model, before)
    assert torch.equal(x, given)


@pytest.mark.parametrize("wrap", [False, True])
def test_a_network_of_which_nothing_is_left_has_samples_that_are_all_the_same(wrap):
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 3))
    with torch.no_grad():
        layers[0].weight.zero_()
        layers[0].bias.zero_()
    answers = predict(Wrapped(layers) if wrap else layers, [torch.rand(5, 4)], split="test", mc_samples=4).logits
    np.testing.assert_allclose(answers, np.broadcast_to(layers[2].bias.detach().numpy(), (4, 5, 3)), atol=1e-7)


def test_large_tensors_make_small_blocks(monkeypatch):
    model, x = Residual().eval(), images(4)[0]
    sizes = []
    halves = halve(model, x)
    assert halves.widest == 4 * 64 * 4  # four channels of 8 x 8 in float32
    monkeypatch.setattr(module, "MEMORY", 4 * halves.widest * 8)  # two samples of four examples
    find = sampler(model, x).draw
    held = find.args[0]
    monkeypatch.setattr(held.after, "forward", _noting(held.after.forward, sizes))
    with torch.no_grad():
        assert find(x, 5).shape == (5, 4, 3)
    assert sizes == [8, 8, 4]


def _noting(forward, sizes):
    def noted(*given):
        sizes.append(len(given[0]))
        return forward(*given)

    return noted


# ------------------------------------------------------------------------------------------ dropout before the head


def bare() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 3))


@pytest.mark.parametrize("graph", [False, True])
def test_dropout_before_the_head_has_the_right_mean_and_variance(graph):
    model, x, rate = bare(), images(5)[0], 0.3
    hidden = model[:3](x).detach()
    mean = model(x).detach().numpy()
    variance = (hidden**2 @ model[3].weight.detach().t() ** 2).numpy() * rate / (1 - rate)
    net = graph_of(model, x)[0] if graph else model
    dropped = with_dropout(net, rate=rate, example=x)
    np.testing.assert_allclose(predict(dropped, [x], split="test").logits, mean, atol=1e-6)
    answers = predict(dropped, [x], split="test", mc_samples=4000, seed=1).logits
    assert (np.abs(answers.mean(axis=0) - mean) <= 5 * np.sqrt(variance / 4000) + 1e-6).all()
    np.testing.assert_allclose(answers.var(axis=0), variance, rtol=0.2)


def test_a_network_with_new_dropout_keeps_names_numbers_and_masks():
    model = bare()
    before = snapshot(model)
    pruned = prune(model, sparsity=0.5)
    dropped = with_dropout(pruned.model, rate=0.2, example=images(5)[0])
    assert fingerprint(dropped) == fingerprint(pruned.model)
    assert list(prunable(dropped)) == list(prunable(model))
    assert_untouched(model, before)
    assert not [m for m in model.modules() if isinstance(m, nn.Dropout)]
    lone = with_dropout(nn.Linear(4, 2), rate=0.2, example=torch.rand(3, 4))
    assert predict(lone, [torch.rand(3, 4)], split="test", mc_samples=5).members == 5


def test_predict_puts_it_there_when_asked():
    model, x = bare(), images(5)[0]
    asked = predict(model, [x], split="test", mc_samples=6, mc_dropout=0.3, seed=2)
    by_hand = predict(with_dropout(model, rate=0.3, example=x), [x], split="test", mc_samples=6, seed=2)
    np.testing.assert_array_equal(asked.logits, by_hand.logits)
    # what is certified of the samples is not true of the network alone, nor of other samples
    names = {predict(model, [x], split="test", mc_samples=6, mc_dropout=0.3, seed=2).model, asked.model}
    others = [{"mc_samples": 7, "mc_dropout": 0.3}, {"mc_samples": 6, "mc_dropout": 0.2}]
    assert len(names) == 1
    assert len({*names, identity(model), *(predict(model, [x], split="test", **o, seed=2).model for o in others)}) == 4
    assert predict(model, [x], split="test", mc_samples=6, mc_dropout=0.3, seed=3).model not in names


def test_a_named_layer():
    model, x = bare(), images(5)[0]
    assert isinstance(with_dropout(model, rate=0.3, example=x, layer="1")[1].dropout, nn.Dropout)
    with pytest.raises(UnknownName, match="no linear layer named '2'"):
        with_dropout(model, rate=0.3, example=x, layer="2")


def test_refusals(unchecked):
    model, x = bare(), images(5)[0]
    with pytest.raises(BadInput, match="between 0 and 1; got 1"):
        with_dropout(model, rate=1.0, example=x)
    with pytest.raises(BadInput, match="logits of Sequential are not what a linear layer says"):
        with_dropout(nn.Sequential(*model, nn.Softmax(dim=1)), rate=0.5, example=x)
    with pytest.raises(BadInput, match="say how many with mc_samples"):
        predict(model, [x], split="test", mc_dropout=0.5)
    with pytest.raises(BadInput, match="has dropout already: leave mc_dropout out"):
        predict(chain(), [x], split="test", mc_samples=5, mc_dropout=0.5)
    for odd in (2.5, "5"):
        with pytest.raises(BadInput, match="mc_samples is a whole number of 2 or more"):
            predict(chain(), [x], split="test", mc_samples=odd)
    with pytest.raises(BadInput, match="between 0 and 1; got '0.2'"):
        predict(model, [x], split="test", mc_samples=5, mc_dropout="0.2")
    with pytest.raises(BadInput, match="a batch of the 'test' split is empty"):
        predict(chain(), [x[:0]], split="test", mc_samples=5)
    with pytest.raises(BadInput, match=r"no dropout module .* put one before the head with mc_dropout=\.\.\."):
        predict(model, [x], split="test", mc_samples=5)
