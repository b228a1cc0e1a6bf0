"""FORCE and iterative SNIP against a direct construction of each step."""

import inspect
import time

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

import prudent
from prudent.errors import BadInput, UnknownName
from prudent.network import prunable
from prudent.scopes import count
from prudent.scores.force import force
from prudent.scores.snip import snip
from tests.conftest import batches, chain, images
from tests.scores.networks import residual


def network() -> nn.Sequential:
    """In float64, so that sums in another order rank the same."""
    return chain().double()


def examples() -> list[tuple[torch.Tensor, torch.Tensor]]:
    inputs, labels = images()
    return [(inputs.double(), labels)]


def by_hand(model: nn.Module, sparsity: float, steps: int, variant: str) -> dict[str, torch.Tensor]:
    """The mask after the last step, with gates: | w dL/dw | at w = gate * original."""
    inputs, labels = examples()[0]
    weights = {name: w.detach() for name, w in prunable(model).items()}
    gates = {name: torch.ones_like(w) for name, w in weights.items()}
    total = sum(w.numel() for w in weights.values())
    model.eval()
    for step in range(1, steps + 1):
        gated = {n: (w * gates[n]).requires_grad_() for n, w in weights.items()}
        loss = cross_entropy(functional_call(model, gated, (inputs,)), labels)
        slopes = dict(zip(gated, torch.autograd.grad(loss, list(gated.values())), strict=True))
        scores = {n: (weights[n] * slopes[n]).abs() for n in weights}
        if variant == "iterative_snip":
            scores = {n: torch.where(gates[n] > 0, s, -1.0) for n, s in scores.items()}
        flat = torch.cat([s.flatten() for s in scores.values()])
        removed = count(1 - (1 - sparsity) ** (step / steps) if step < steps else sparsity, total)
        keep = torch.ones(total)
        keep[flat.argsort(stable=True)[:removed]] = 0
        parts = keep.split([w.numel() for w in weights.values()])
        gates = {n: part.view_as(weights[n]) for n, part in zip(weights, parts, strict=True)}
    return {n: gate.bool() for n, gate in gates.items()}


@pytest.mark.parametrize("variant", ["force", "iterative_snip"])
@pytest.mark.parametrize(("sparsity", "steps"), [(0.5, 2), (0.9, 5), (0.95, 10)])
def test_the_mask_of_prune_is_that_of_the_last_step(variant, sparsity, steps):
    options = {"variant": variant, "steps": steps}
    pruned = prudent.prune(network(), sparsity=sparsity, score="force", options=options, batches=examples())
    assert pruned.mask.total - pruned.mask.remaining == count(sparsity, pruned.mask.total)
    expected = by_hand(network(), sparsity, steps, variant)
    for name, kept in pruned.mask.kept.items():
        assert torch.equal(kept, expected[name])


@pytest.mark.parametrize("variant", ["force", "iterative_snip"])
def test_one_step_is_snip(variant):
    model = chain(norm=True)
    one, single = force(model, batches(), variant=variant, steps=1), snip(model, batches())
    assert all(torch.equal(one[name], single[name]) for name in single)


@pytest.mark.parametrize(("variant", "back"), [("force", True), ("iterative_snip", False)])
def test_force_brings_weights_back_and_iterative_snip_does_not(variant, back):
    half = by_hand(network(), 1 - 0.05**0.5, 5, variant)
    scores = force(network(), examples(), sparsity=0.95, variant=variant, steps=10)
    whole = prudent.prune(network(), sparsity=0.95, score=scores).mask.kept
    assert any((whole[name] & ~half[name]).any() for name in whole) == back


def test_refusals():
    with pytest.raises(UnknownName, match="no variant of force named 'grasp'"):
        # without the type check of the test run, as users have it
        inspect.unwrap(force)(chain(), batches(), variant="grasp")
    with pytest.raises(BadInput, match="got steps=0"):
        force(chain(), batches(), steps=0)
    with pytest.raises(BadInput, match=r"in \[0, 1\)"):
        force(chain(), batches(), sparsity=1.5)


def test_snip_of_a_resnet_20_costs_one_pass_of_training():
    # 20 layers: a pass for each layer would be 20 times as slow
    model, data = residual(), batches(64, size=32)

    def seconds(work) -> float:
        found = []
        for _ in range(3):
            start = time.perf_counter()
            work()
            found.append(time.perf_counter() - start)
        return min(found)

    def one_pass() -> None:
        model.train()
        for inputs, labels in data:
            torch.autograd.grad(cross_entropy(model(inputs), labels), list(model.parameters()))

    assert len(prunable(model)) == 22
    assert seconds(lambda: snip(model, data)) < 4 * seconds(one_pass)
