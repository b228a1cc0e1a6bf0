"""SynFlow: conservation, no collapse, its shape of input, and the flow itself against sums over paths."""

import itertools

import pytest
import torch
from torch import nn

import prudent
from prudent.errors import BadInput
from prudent.network import prunable
from prudent.scopes import count
from prudent.scores.synflow import synflow
from tests.conftest import batches, chain, images
from tests.scores.networks import deep, residual


def test_the_flow_is_the_sum_over_all_paths():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2), nn.ReLU6(), nn.Linear(2, 2))
    scores = synflow(model, sparsity=0.5, steps=1)
    a, b, c = (model[i].weight.detach().double().abs() for i in (0, 2, 4))
    through = {name: torch.zeros_like(score) for name, score in scores.items()}
    for i, j, k, o in itertools.product(range(3), range(4), range(2), range(2)):
        path = a[j, i] * b[k, j] * c[o, k]
        through["0.weight"][j, i] += path
        through["2.weight"][k, j] += path
        through["4.weight"][o, k] += path
    whole = through["0.weight"].sum()
    for name, score in scores.items():
        torch.testing.assert_close(score, through[name] / whole)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.GELU])
@pytest.mark.parametrize("steps", [1, 7])
def test_what_flows_into_a_unit_flows_out_of_it(activation, steps):
    scores = list(synflow(deep(activation=activation), sparsity=0.9, steps=steps).values())
    for before, after in itertools.pairwise(scores):
        torch.testing.assert_close(before.sum(1), after.sum(0))
        assert before.sum() > 0


def test_what_flows_into_a_channel_flows_out_of_it():
    # a trained network with batch normalisation and biases, max pooling and a flatten in between
    scores = synflow(chain(norm=True), example=images(1)[0], sparsity=0.5, steps=5)
    first, second, third, fourth = (scores[f"{i}.weight"] for i in (0, 3, 8, 11))
    torch.testing.assert_close(first.flatten(1).sum(1), second.sum((0, 2, 3)))
    torch.testing.assert_close(second.flatten(1).sum(1), third.view(10, 6, 4).sum((0, 2)))
    torch.testing.assert_close(third.sum(1), fourth.sum(0))
    for score in scores.values():
        assert float(score.sum()) == pytest.approx(1.0)


def test_it_does_not_collapse_where_magnitude_and_one_step_do():
    model, sparsity = deep(), 0.999
    pruned = prudent.prune(model, sparsity=sparsity, score="synflow")
    assert pruned.mask.collapsed == ()
    assert pruned.mask.remaining == pruned.mask.total - count(sparsity, pruned.mask.total)
    with torch.no_grad():
        gates = [pruned.mask.kept[name].double() for name in pruned.mask.kept]
        reach = torch.ones(gates[0].shape[1], dtype=torch.float64)
        for gate in gates:
            reach = gate @ reach
    assert reach.any(), "there is a path from the inputs to the outputs"
    assert prudent.prune(model, sparsity=sparsity).mask.collapsed
    assert prudent.prune(model, sparsity=sparsity, score="synflow", options={"steps": 1}).mask.collapsed


def test_a_resnet_20_keeps_what_nothing_goes_around_at_0_999():
    model = residual()
    pruned = prudent.prune(model, sparsity=0.999, score="synflow", example=images(1)[0])
    needed = {"0.weight", "6.past.weight", "9.past.weight", "14.weight"}
    assert needed < set(pruned.mask.kept)
    assert not needed & set(pruned.mask.collapsed)
    inputs = images(2)[0].requires_grad_()
    with torch.no_grad():
        for weight in prunable(pruned.model).values():
            weight.abs_()  # whether there is a path, not whether its activations happen to be on
    slope = torch.autograd.grad(pruned.model.eval()(inputs).sum(), inputs)[0]
    assert slope.any(), "the outputs depend on the inputs"


def test_the_last_step_by_hand():
    model = deep(layers=4, width=12)
    steps, sparsity = 6, 0.9
    weights = [w.detach().double().abs() for w in prunable(model).values()]
    gates = [torch.ones_like(w) for w in weights]
    total = sum(w.numel() for w in weights)
    for step in range(1, steps + 1):
        gated = [(w * g).requires_grad_() for w, g in zip(weights, gates, strict=True)]
        flow = torch.ones(64, dtype=torch.float64)
        for w in gated:
            flow = w @ flow
        slopes = torch.autograd.grad(flow.sum(), gated)
        flat = torch.cat([
            torch.where(g > 0, w.detach() * s, -1.0).flatten() for g, w, s in zip(gates, gated, slopes, strict=True)
        ])  # fmt: skip
        removed = count(1 - (1 - sparsity) ** (step / steps) if step < steps else sparsity, total)
        keep = torch.ones(total, dtype=torch.float64)
        keep[flat.argsort(stable=True)[:removed]] = 0
        gates = [p.view_as(w) for p, w in zip(keep.split([w.numel() for w in weights]), weights, strict=True)]
    pruned = prudent.prune(model, sparsity=sparsity, score="synflow", options={"steps": steps})
    for kept, gate in zip(pruned.mask.kept.values(), gates, strict=True):
        assert torch.equal(kept, gate.bool())


def test_deep_and_badly_scaled_networks_neither_overflow_nor_vanish():
    for factor in (1e3, 1e-3):
        model = deep(layers=40, width=10)
        with torch.no_grad():
            for weight in prunable(model).values():
                weight.mul_(factor)
        with torch.no_grad():
            assert not torch.isfinite(flow := _float32_flow(model)) or flow == 0
        scores = synflow(model, sparsity=0.5, steps=3)
        for score in scores.values():
            assert float(score.sum()) == pytest.approx(1.0)


def _float32_flow(model: nn.Sequential) -> torch.Tensor:
    flow = torch.ones(64)
    for weight in prunable(model).values():
        flow = weight.abs() @ flow
    return flow.sum()


def test_a_flow_beyond_float64_is_refused():
    model = deep(layers=40, width=10)
    with torch.no_grad():
        for weight in prunable(model).values():
            weight.mul_(1e12)
    with pytest.raises(BadInput, match="the flow through the network must be finite"):
        synflow(model)


def test_the_shape_comes_from_the_example_the_batches_or_the_first_layer():
    model = chain()
    by_example = synflow(model, example=images(2)[0], steps=5)
    by_batches = synflow(model, batches(), steps=5)
    by_inputs = synflow(model, [images(3)[0]], steps=5)
    for name, score in by_example.items():
        assert torch.equal(score, by_batches[name])
        assert torch.equal(score, by_inputs[name])
    flat = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(6, 4), nn.ReLU()), nn.Linear(4, 2))
    assert synflow(flat, steps=2).keys() == {"1.0.weight", "2.weight"}
    assert synflow(nn.Linear(3, 2), steps=2).keys() == {"weight"}
    for empty in (None, []):
        with pytest.raises(BadInput, match="needs an example of the input"):
            synflow(model, empty)
    with pytest.raises(BadInput, match="needs an example of the input"):
        synflow(residual())


def test_whole_numbers_are_no_inputs_of_a_flow():
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 2))
    with pytest.raises(BadInput, match="its inputs are real; got torch.int64"):
        synflow(model, example=torch.zeros(1, 3, dtype=torch.int64))


def test_a_batch_normalisation_without_running_statistics_passes_the_flow():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5, track_running_stats=False), nn.ReLU(), nn.Linear(5, 2))
    for score in synflow(model, sparsity=0.5, steps=3).values():
        assert float(score.sum()) == pytest.approx(1.0)
