"""SparseGPT against brute force: direct inversion, exact least squares, and the definition as a loop."""

import itertools

import pytest
import torch
from torch import nn

import prudent
from prudent.batches import Batches
from prudent.errors import BadInput, CannotPrune
from prudent.masks import count, select
from prudent.network import Reweighted, prunable
from prudent.scores import SCORES
from prudent.scores.sparsegpt import sparsegpt
from prudent.unfolding import matrix, rows
from tests.conftest import assert_untouched, batches, chain, snapshot

LAYERS = {
    "linear": lambda: (nn.Linear(7, 5), (40, 7)),
    "conv": lambda: (nn.Conv2d(2, 3, 2, padding=1, stride=2), (10, 2, 6, 6)),
    "grouped": lambda: (nn.Conv2d(4, 6, 3, groups=2), (8, 4, 7, 7)),
    "depthwise": lambda: (nn.Conv1d(3, 3, 4, groups=3), (20, 3, 9)),
}


def layer_and_data(kind, *, seed=0):
    torch.manual_seed(seed)
    layer, shape = LAYERS[kind]()
    # correlated inputs: there is something to make up for
    common = torch.randn(shape[0], *[1] * (len(shape) - 1), dtype=torch.float64)
    return layer.double(), torch.randn(shape, dtype=torch.float64) + 2 * common


def hessians(layer, inputs, damping):
    x = rows(layer, inputs)
    moment = x.mT @ x / x.shape[1]
    return [h + damping * h.diagonal().mean() * torch.eye(len(h), dtype=h.dtype) for h in moment]


def squared_error(layer, inputs, new):
    x = rows(layer, inputs)
    return ((x @ (new - matrix(layer)).mT) ** 2).sum(dim=1)  # (groups, outputs)


def by_inversion(weight, hessian, kept):
    """One row, by definition: eliminate the columns from left to right, each time inverting what is right of it."""
    w = weight.clone()
    for c in range(len(w)):
        if not kept[c]:
            inverse = torch.linalg.inv(hessian[c:, c:])
            w[c:] = w[c:] - w[c] / inverse[0, 0] * inverse[:, 0]
            w[c] = 0
    return w


def exact(weight, hessian, kept):
    """One row, the optimum over all rows that the mask allows."""
    best = torch.zeros_like(weight)
    best[kept] = torch.linalg.solve(hessian[kept][:, kept], (hessian @ weight)[kept])
    return best


@pytest.mark.parametrize("block", [1, 3, 128])
@pytest.mark.parametrize("kind", LAYERS)
def test_update_for_any_mask_is_the_definition(kind, block):
    layer, inputs = layer_and_data(kind)
    model = nn.Sequential(layer)
    kept = torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    new = sparsegpt(model, [inputs[:4], inputs[4:]], block=block, damping=0.03).weights({"0.weight": kept})["0.weight"]
    masks = matrix(layer, kept)
    expected = [
        [by_inversion(w, h, k) for w, k in zip(matrix(layer)[g], masks[g], strict=True)]
        for g, h in enumerate(hessians(layer, inputs, 0.03))
    ]
    expected = torch.stack([torch.stack(group) for group in expected])
    assert torch.allclose(matrix(layer, new), expected, atol=1e-9)
    assert (new[~kept] == 0).all()


@pytest.mark.parametrize("kind", LAYERS)
def test_update_is_between_the_optimum_and_no_update(kind):
    layer, inputs = layer_and_data(kind, seed=3)
    scores = sparsegpt(nn.Sequential(layer), [inputs], damping=0.0)
    total = torch.zeros(2, dtype=torch.float64)
    for seed in range(10):
        kept = torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(seed)) < 0.6
        new = matrix(layer, scores.weights({"0.weight": kept})["0.weight"])
        masks = matrix(layer, kept)
        best = torch.stack([
            torch.stack([exact(w, h, k) for w, k in zip(matrix(layer)[g], masks[g], strict=True)])
            for g, h in enumerate(hessians(layer, inputs, 0.0))
        ])  # fmt: skip
        ours, optimum, none = (squared_error(layer, inputs, w) for w in (new, best, matrix(layer) * masks))
        assert (ours >= optimum * (1 - 1e-9) - 1e-12).all()
        total += torch.stack([ours.sum(), none.sum()])
    # row by row no update can be better by chance: what stays further left is not moved any more
    assert total[0] < 0.9 * total[1]


def test_what_goes_last_or_in_front_of_all_that_is_kept_is_made_up_for_exactly():
    layer, inputs = layer_and_data("linear")
    scores = sparsegpt(nn.Sequential(layer), [inputs], damping=0.0)
    hessian = hessians(layer, inputs, 0.0)[0]
    # the first columns go: all that stay are to the right, so the update is the optimum
    kept = torch.ones(5, 7, dtype=torch.bool)
    for row in range(5):
        kept[row, : row + 1] = False
    new = scores.weights({"0.weight": kept})["0.weight"]
    best = torch.stack([exact(w, hessian, k) for w, k in zip(layer.weight.detach(), kept, strict=True)])
    assert torch.allclose(new, best, atol=1e-9)
    # only the last column goes: nothing is to its right, so nothing moves
    last = torch.ones(5, 7, dtype=torch.bool)
    last[:, -1] = False
    new = scores.weights({"0.weight": last})["0.weight"]
    assert torch.equal(new, layer.weight.detach() * last)


def test_saliency_is_the_increase_of_the_error():
    """One row, one block: the score ranks by w^2 / U_cc^2, the exact increase if the columns to the right make up."""
    torch.manual_seed(2)
    layer, inputs = nn.Linear(6, 1).double(), torch.randn(30, 6, dtype=torch.float64)
    score = sparsegpt(nn.Sequential(layer), [inputs], damping=0.0, sparsity=0.0)["0.weight"][0].double()
    hessian, w = hessians(layer, inputs, 0.0)[0], layer.weight.detach()[0]
    increase = []
    for c in range(6):
        inverse = torch.linalg.inv(hessian[c:, c:])
        moved = w.clone()
        moved[c:] = moved[c:] - w[c] / inverse[0, 0] * inverse[:, 0]
        increase.append((moved - w) @ hessian @ (moved - w))
    increase = torch.stack(increase)
    relative = increase / (increase + increase.min() / 2)
    assert torch.allclose(score, relative, atol=1e-6)


def adaptive_by_loop(weight, hessian, sparsity, block):
    """Algorithm 1 of the paper for one matrix, with direct inversions, and block counts that add up."""
    w = weight.clone()
    outputs, columns = w.shape
    removed = count(sparsity, w.numel())
    kept = torch.ones_like(w, dtype=torch.bool)
    for start in range(0, columns, block):
        part = range(start, min(start + block, columns))
        wanted = removed * (part[-1] + 1) // columns - removed * start // columns
        curvature = {c: 1 / torch.linalg.inv(hessian[c:, c:])[0, 0] for c in part}
        ranked = sorted(itertools.product(range(outputs), part), key=lambda rc: w[rc] ** 2 * curvature[rc[1]])
        for r, c in ranked[:wanted]:
            kept[r, c] = False
        for c in part:
            inverse = torch.linalg.inv(hessian[c:, c:])
            for r in range(outputs):
                if not kept[r, c]:
                    w[r, c:] = w[r, c:] - w[r, c] / inverse[0, 0] * inverse[:, 0]
                    w[r, c] = 0
    return kept, w


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("block", [1, 2, 3, 128])
def test_mask_and_weights_are_the_papers(sparsity, block):
    layer, inputs = layer_and_data("linear", seed=5)
    model = nn.Sequential(layer)
    scores = sparsegpt(model, [inputs], sparsity=sparsity, block=block)
    kept, w = adaptive_by_loop(layer.weight.detach(), hessians(layer, inputs, 0.01)[0], sparsity, block)
    for scope in ("layer", "global"):
        mask = select(scores, sparsity, scope=scope)
        assert torch.equal(mask.kept["0.weight"], kept)
    assert torch.allclose(scores.weights({"0.weight": kept})["0.weight"], w, atol=1e-9)


def test_prune_gives_the_solved_weights_and_exact_counts():
    model = chain(norm=True)
    before = snapshot(model)
    pruned = prudent.prune(model, sparsity=0.63, score="sparsegpt", scope="layer", batches=batches())
    assert_untouched(model, before)
    for name, weight in prunable(model).items():
        assert pruned.mask.removed_by_layer[name] == count(0.63, weight.numel())
        kept = pruned.mask.kept[name]
        assert not torch.equal(pruned.model.get_parameter(name)[kept], weight[kept])
    scores = sparsegpt(model, batches(), sparsity=0.63)
    assert all(int((s < 0.5).sum()) == count(0.63, s.numel()) for s in scores.values())


def test_the_network_answers_closer_to_the_dense_one_than_without_update():
    model, data = chain(), batches(200)
    random = SCORES["random"](model)
    plain = prudent.prune(model, sparsity=0.4, score=random)
    solved = prudent.prune(model, sparsity=0.4, score=Reweighted(random, sparsegpt(model, data).weights))
    dense, *answers = (m.eval()(data.inputs).detach() for m in (model, plain.model, solved.model))
    error = [float(((a - dense) ** 2).sum()) for a in answers]
    assert error[1] < 0.7 * error[0]


def test_dead_inputs_and_ties():
    torch.manual_seed(0)
    layer = nn.Linear(6, 4)
    inputs = torch.randn(50, 6)
    inputs[:, 2] = 0
    scores = sparsegpt(nn.Sequential(layer), [inputs], sparsity=0.1)
    assert (scores["0.weight"][:, 2] < 0.5).sum() == count(0.1, 24)
    kept = torch.rand(4, 6) < 0.5
    kept[:, 2] = torch.tensor([True, True, False, False])
    new = scores.weights({"0.weight": kept})["0.weight"].float()
    assert torch.equal(new[:2, 2], layer.weight.detach()[:2, 2])
    nothing = sparsegpt(nn.Sequential(layer), [torch.zeros(5, 6)], sparsity=0.5)
    assert int((nothing["0.weight"] < 0.5).sum()) == 12
    with torch.no_grad():
        layer.weight.fill_(1.0)
    same = sparsegpt(nn.Sequential(layer), [torch.eye(6)], sparsity=0.5)
    assert int((same["0.weight"] < 0.5).sum()) == 12


def test_a_shared_weight_sees_the_inputs_of_both_layers():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 4, bias=False)).double()
    model[2].weight = model[0].weight
    x = torch.randn(20, 4, dtype=torch.float64)
    both = torch.cat([x, model[0](x).relu()]).detach()
    kept = {"0.weight": torch.rand(4, 4) < 0.5}
    one = nn.Sequential(model[0])
    assert torch.allclose(
        sparsegpt(model, [x]).weights(kept)["0.weight"], sparsegpt(one, [both]).weights(kept)["0.weight"], atol=1e-12
    )


def test_refusals():
    model, data = chain(), batches()
    for options in ({"block": 0}, {"damping": -0.1}, {"sparsity": 1.0}):
        with pytest.raises(BadInput):
            sparsegpt(model, data, **options)
    few = Batches(inputs=data.inputs[:2], labels=data.labels[:2])
    with pytest.raises(BadInput, match="raise damping"):
        sparsegpt(model, few, damping=0.0)
    with pytest.raises(BadInput, match="not finite"):
        sparsegpt(nn.Sequential(nn.Linear(3, 3)), [torch.full((4, 3), float("nan"))])
    with pytest.raises(CannotPrune, match="ConvTranspose"):
        sparsegpt(nn.Sequential(nn.ConvTranspose1d(1, 1, 2)), [torch.ones(2, 1, 4)])
