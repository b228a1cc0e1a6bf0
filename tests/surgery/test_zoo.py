"""The zoo itself: its networks are what their cases say, before any tool is asked about them."""

from collections import Counter
from fnmatch import fnmatchcase
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from tests.surgery.zoo import CASES, Case

cases = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
# recurrent layers and torch.nn.utils.prune set plain attributes while they are traced, and are warned about
assigned = pytest.mark.filterwarnings("ignore:The tensor attribute")


def outputs(model: nn.Module, case: Case) -> list[Any]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # for the case that draws random numbers
        return tree_leaves(model(*case.args(), **case.kwargs()))


def equal(a: Any, b: Any) -> bool:
    return torch.equal(a, b) if isinstance(a, Tensor) else a == b


def layers(model: nn.Module) -> set[str]:
    """Modules with parameters of their own, except normalisations and activations, and parameters used raw."""
    found = set()
    for name, module in model.named_modules():
        own = [key for key, _ in module.named_parameters(recurse=False)]
        if isinstance(module, nn.PReLU) or "Norm" in type(module).__name__ or ".parametrizations" in name:
            continue
        is_layer = type(module).__module__.startswith("torch.") and own
        found |= {name} if is_layer else {f"{name}.{key}".lstrip(".") for key in own}
    return found


def named(case: Case) -> tuple[str, ...]:
    return case.exact + case.changing + case.frozen


def test_names_are_unique_and_every_kind_is_there():
    counts = Counter(case.name for case in CASES)
    assert max(counts.values()) == 1, counts.most_common(1)
    assert {case.expect for case in CASES} == {"exact", "changing", "partly", "refused"}
    assert all(case.why for case in CASES)


@cases
def test_a_case_builds_and_runs_the_same_each_time_and_leaves_the_random_state(case: Case):
    before = torch.get_rng_state()
    first = case.build()
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(3)  # whatever the random state is when the second is built
    before = torch.get_rng_state()
    second = case.build()
    assert torch.equal(before, torch.get_rng_state())
    assert first is not second
    assert all(module.training for module in first.modules() if "script" not in type(module).__module__)
    states = first.state_dict(), second.state_dict()
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert sum(value.numel() for value in first.parameters()) < 100_000
    results = outputs(first.eval(), case), outputs(second.eval(), case)
    assert len(results[0]) == len(results[1]) > 0
    assert all(map(equal, *results))
    assert all(value.isfinite().all() for value in results[0] if isinstance(value, Tensor))
    assert torch.equal(before, torch.get_rng_state())


@cases
def test_the_answer_names_layers_that_exist_each_once_and_fits_the_word(case: Case):
    existing = layers(case.build())
    for pattern in named(case):
        assert any(fnmatchcase(layer, pattern) for layer in existing), f"{pattern} is no layer of {sorted(existing)}"
    for layer in existing:
        claims = [pattern for pattern in named(case) if fnmatchcase(layer, pattern)]
        assert len(claims) <= 1, f"{layer} is claimed by {claims}"
    parts = bool(case.exact), bool(case.changing), bool(case.frozen)
    assert (
        parts
        in {
            "exact": [(True, False, False)],
            "changing": [(True, True, False), (False, True, False)],
            "partly": [(True, True, True), (True, False, True), (False, True, True)],
            "refused": [(False, False, True)],
        }[case.expect]
    )


@cases
def test_every_removable_layer_is_heard_in_the_output(case: Case):
    """A layer that the output ignores would hide every mistake made with it."""
    model = case.build().eval().requires_grad_(True)
    generator = torch.Generator().manual_seed(1)
    total = torch.zeros((), dtype=torch.float64)
    for value in outputs(model, case):
        if isinstance(value, Tensor) and value.requires_grad:
            total = total + (value.double() * torch.randn(value.shape, generator=generator)).sum()
    if total.requires_grad:
        total.backward()
    values = dict(model.named_parameters())
    for layer in layers(model):
        if not any(fnmatchcase(layer, pattern) for pattern in case.exact + case.changing):
            continue
        own = {key: value for key, value in values.items() if key == layer or key.startswith(f"{layer}.")}
        assert own
        grads = torch.cat(
            [torch.zeros(v.numel()) if v.grad is None else v.grad.flatten().float() for v in own.values()]
        )
        # dead rectifiers, unseen rows of embeddings and masked weights take their share
        assert (grads != 0).float().mean() > 0.4, f"{layer} is hardly heard"


@assigned
@pytest.mark.parametrize(
    "case",
    # each third of them always: what is held here is what the other tests of the zoo rest on
    [pytest.param(case, id=case.name, marks=[pytest.mark.slow] if i % 3 else []) for i, case in enumerate(CASES)],
)
def test_a_case_exports_as_it_says_and_its_graph_computes_the_same(case: Case):
    model = case.build().eval()
    expected = outputs(model, case)
    if not case.exports:
        with pytest.raises(Exception):  # noqa: B017 (the tracer has many kinds)
            torch.export.export(model, case.args(), case.kwargs(), strict=False)
        return
    program = torch.export.export(model, case.args(), case.kwargs(), strict=False)
    for ours, graphs in zip(expected, outputs(program.module(), case), strict=True):
        if isinstance(ours, Tensor):
            torch.testing.assert_close(graphs, ours)
        else:
            assert graphs == ours
