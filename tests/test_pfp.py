"""PFP: the common error against a search over errors, order by sensitivity, unbiased readers."""

import pytest
import torch
from torch import nn

import prudent
from prudent.errors import CannotPrune, UnknownName
from prudent.masks import count, select
from prudent.network import Reweighted
from prudent.scores.pfp import pfp
from prudent.sensitivities import channel_sensitivities
from prudent.surgery.chain import links
from tests.conftest import assert_untouched, batches, chain, snapshot

MODES = ("deterministic", "randomised", "top")


def sensitivities(model, data):
    return channel_sensitivities(
        model, data, {link.reader: link.channels for link in links(model)}, delta=1e-16, examples=None
    )


def distinct_at(eps, sensitivity):
    """Expected distinct channels in the draws that the paper asks for at `eps`, to the nearest whole number above 0."""
    s = sensitivity.values.double()
    m = (6 + 2 * eps) * sensitivity.log_term * float(s.sum()) / (3 * eps**2)
    return max(1, round(float((1 - (1 - s / s.sum()) ** m).sum())))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sparsity", [0.25, 0.3, 0.5, 0.8])
def test_counts_are_those_of_one_common_error(mode, sparsity):
    model, data = chain(norm=True), batches()
    found = sensitivities(model, data)
    mask = select(pfp(model, data, mode=mode), sparsity, granularity="channel")
    kept = [int(k.sum()) for k in mask.kept.values()]
    low, high = 1e-6, 1e12  # bisection over eps, as the paper has it
    for _ in range(200):
        eps = (low * high) ** 0.5
        expected = [distinct_at(eps, found[link.reader]) for link in links(model)]
        low, high = (eps, high) if sum(expected) > sum(kept) else (low, eps)
        if sum(expected) == sum(kept):
            break
    assert sum(expected) == sum(kept) == 20 - count(sparsity, 20)
    assert kept == expected


def test_deterministic_keeps_the_highest_sensitivities():
    model, data = chain(), batches()
    found, scores = sensitivities(model, data), pfp(model, data)
    assert not isinstance(scores, Reweighted)
    for link in links(model):
        s = found[link.reader].values
        seen = s > 0
        assert torch.equal(scores[link.weight][seen].argsort(), s[seen].argsort())
        assert (scores[link.weight][~seen] == 0).all()


@pytest.mark.parametrize("mode", ["randomised", "top"])
def test_what_the_reader_gets_is_right_on_average(mode, monkeypatch):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 3)).double()
    with torch.no_grad():
        model[0].bias += 0.5  # no channel is dead
    data = [torch.rand(10, 1, 6, 6, dtype=torch.float64)]
    found = sensitivities(model, data)
    monkeypatch.setattr(
        "prudent.scores.pfp.channel_sensitivities", lambda *_, **__: found
    )  # they are the same each time
    dense, runs = model[3].weight.detach(), 500
    seen, sizes = [], set()
    for seed in range(runs):
        scores = pfp(model, data, mode=mode, seed=seed)
        kept = select(scores, 0.5, granularity="channel").kept["0.weight"]
        sizes.add(int(kept.sum()))
        full = {"0.weight": kept[:, None, None, None].expand(6, 1, 3, 3), "3.weight": torch.ones_like(dense).bool()}
        ratio = (scores.weights(full)["3.weight"] / dense).view(3, 6, 16)
        assert (ratio - ratio[:1, :, :1]).abs().max() < 1e-9  # one factor for all that reads a channel
        seen.append(ratio[0, :, 0] * kept)
    assert sizes == {3}
    seen = torch.stack(seen)
    assert ((seen.mean(dim=0) - 1).abs() < 5 * seen.std(dim=0) / runs**0.5 + 1e-6).all()
    large = seen[(seen == 1).any(dim=1)]
    assert (mode == "top") == (len(large) > 0)  # only "top" leaves a channel that is certain as it is


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_prunes_exactly_repeats_and_shrinks(mode):
    model, data = chain(norm=True), batches()
    before = snapshot(model)
    score = lambda model, batches, *, seed: pfp(model, batches, mode=mode, seed=seed)  # noqa: E731
    runs = [
        prudent.prune(model, sparsity=0.5, score=score, batches=data, granularity="channel", seed=s) for s in (4, 4)
    ]
    assert_untouched(model, before)
    first, again = (run.model.state_dict() for run in runs)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert runs[0].mask.collapsed == ()
    small = prudent.shrink(runs[0], data.inputs[:4])
    assert torch.allclose(small.model.eval()(data.inputs), runs[0].model.eval()(data.inputs), atol=1e-4)


def test_dead_channels_go_first_and_no_layer_collapses():
    model, data = chain(), batches()
    with torch.no_grad():
        model[3].weight[2] = 0
        model[3].bias[2] = 0
        model[8].weight[:] = 0  # the last hidden layer reads nothing, and is constant
    for mode in MODES:
        scores = pfp(model, data, mode=mode)
        assert float(scores["3.weight"][2]) == 0
        assert all(torch.isfinite(s).all() for s in scores.values())
    assert select(pfp(chain(), batches()), 0.85, granularity="channel").collapsed == ()


def test_refusals(unchecked):
    with pytest.raises(UnknownName, match="Did you mean 'randomised'"):
        pfp(chain(), batches(), mode="randomized")
    with pytest.raises(CannotPrune, match="fewer than two"):
        pfp(nn.Sequential(nn.Linear(3, 3)), [torch.ones(2, 3)])
