"""Slices by indexing by hand; plans in rounds, with rewinding and with optimisers that go on."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prudent.errors import BadInput, CannotPrune
from prudent.pruning import Pruned, prune
from prudent.surgery.plans import Plan, Slice, apply_plan, expand
from prudent.surgery.shrinking import Shrunk, shrink
from prudent.surgery.slicing import slices_that_keep
from tests.conftest import assert_untouched, snapshot
from tests.surgery.networks import grouped, pictures, residual, tied, words, written

pytestmark = pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning")  # copies of graphs, in torch
NETWORKS = {"residual": (residual, pictures()), "grouped": (grouped, pictures()), "written": (written, pictures()),
            "tied": (tied, words())}  # fmt: skip
each = pytest.mark.parametrize("name", NETWORKS)
OPTIMISERS: dict[str, Any] = {
    "sgd": lambda ps: torch.optim.SGD(ps, lr=0.1),
    "momentum": lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda ps: torch.optim.Adam(ps, lr=0.01),
    "adamw": lambda ps: torch.optim.AdamW(ps, lr=0.01),
    "amsgrad": lambda ps: torch.optim.Adam(ps, lr=0.01, amsgrad=True, foreach=False),
    "rmsprop": lambda ps: torch.optim.RMSprop(ps, lr=0.01, momentum=0.5, centered=True),
    "adagrad": lambda ps: torch.optim.Adagrad(ps, lr=0.01),
}


def cut(model: nn.Module, example: Tensor, **given: Any) -> tuple[Pruned, Shrunk]:
    options = {"sparsity": 0.5, "granularity": "channel", "scope": "layer"} | given
    pruned = prune(model, example=example, **options)
    return pruned, shrink(pruned, example)


def answers(model: nn.Module, example: Tensor) -> Tensor:
    model = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        return model(example.double() if example.is_floating_point() else example)


# slices


def some_slices() -> list[Slice]:
    flat = np.arange(60).reshape(3, 4, 5)[np.ix_([0, 2], [1, 3], [0, 1, 4])]
    return [
        Slice(shape=(3, 4, 5)),
        Slice(shape=(3, 4, 5), dims={1: np.array([0, 3])}),
        Slice(shape=(3, 4, 5), dims={0: np.array([2]), 2: np.array([0, 1, 4])}),
        Slice(shape=(3, 4, 5), flat=flat),
    ]


@pytest.mark.parametrize("one", some_slices(), ids=["whole", "one dim", "two dims", "flat"])
def test_a_slice_takes_and_puts_what_indexing_by_hand_does(one: Slice):
    value = torch.arange(60.0).reshape(3, 4, 5)
    if one.flat is not None:
        by_hand = torch.tensor([value.reshape(-1)[i] for i in one.flat.reshape(-1)]).reshape(one.flat.shape)
    else:
        by_hand = value[np.ix_(*[one.dims.get(d, np.arange(n)) for d, n in enumerate(one.shape)])]
    assert torch.equal(one.take(value), by_hand)
    assert one.left == tuple(by_hand.shape)
    target = torch.full((3, 4, 5), -1.0)
    one.put(target, by_hand)
    kept = set(by_hand.reshape(-1).tolist())
    assert target.reshape(-1).tolist() == [float(i) if i in kept else -1.0 for i in range(60)]
    # a target that is not contiguous is written to as well
    turned = torch.full((5, 4, 3), -1.0).permute(2, 1, 0)
    one.put(turned, by_hand)
    assert torch.equal(turned, target)
    with pytest.raises(BadInput, match="the plan is for a tensor of shape"):
        one.take(torch.zeros(3, 4))


def test_slices_after_one_another_are_one():
    value = torch.arange(60.0).reshape(3, 4, 5)
    for first in some_slices():
        n, m, k = first.left
        places = np.arange(n * m * k).reshape(first.left)
        for second in (
            Slice(shape=first.left, dims={1: np.array([m - 1]), 2: np.array([0, k - 1])}),
            Slice(shape=first.left, flat=places[:, :1, 1:]),
        ):
            both = first.then(second)
            assert torch.equal(both.take(value), second.take(first.take(value)))
            assert (both.shape, both.left) == ((3, 4, 5), second.left)
        with pytest.raises(BadInput, match="the second plan"):
            first.then(Slice(shape=(7, 7)))


def test_what_several_arrays_keep_is_what_all_of_them_keep():
    keeps = [
        np.array([1, 0, 1, 1], dtype=bool).reshape(4, 1),
        np.array([1, 1, 0, 1, 0], dtype=bool).reshape(1, 5),
        np.array([0, 1, 1, 1, 1], dtype=bool).reshape(1, 5),
    ]
    (one,) = slices_that_keep({"a": (4, 5)}, {"a": keeps}).values()
    whole = keeps[0] & keeps[1] & keeps[2]
    assert one.places().reshape(-1).tolist() == np.flatnonzero(whole).tolist()
    groups = np.array([[1, 0, 1], [1, 0, 1], [0, 1, 1], [0, 1, 1]], dtype=bool)  # two groups that keep other inputs
    (two,) = slices_that_keep({"a": (4, 3)}, {"a": [groups]}).values()
    assert two.left == (4, 2)
    assert two.places().tolist() == [[0, 2], [3, 5], [7, 8], [10, 11]]
    with pytest.raises(CannotPrune, match="different numbers"):
        slices_that_keep({"a": (4, 3)}, {"a": [np.tril(np.ones((4, 3), dtype=bool))]})
    with pytest.raises(BadInput, match="does not fit"):
        slices_that_keep({"a": (4, 3)}, {"b": [groups]})


# rounds


@each
def test_rounds_of_pruning_make_one_plan(name: str):
    """prune, cut, train, put back, prune more: the plans, one after the other, are the plan from the original."""
    build, example = NETWORKS[name]
    original = build()
    pruned, small = cut(original, example, sparsity=0.3)
    trained = copy.deepcopy(small.model)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.mul_(1.1).add_(0.01)
    before = snapshot(original)
    large = expand(trained, original, small.plan)
    assert_untouched(original, before)
    torch.testing.assert_close(answers(large, example), answers(trained, example), rtol=1e-10, atol=1e-12)
    again = prune(large, sparsity=0.6, granularity="channel", scope="layer", example=example, within=pruned.mask)
    for key, kept in pruned.mask.kept.items():
        assert not bool((again.mask.kept[key] & ~kept).any()), "a removed unit came back"
    smaller = shrink(again, example)
    torch.testing.assert_close(answers(smaller.model, example), answers(again.model, example), rtol=1e-9, atol=1e-12)
    # the second cut as a plan of what the first one leaves
    own = {n: {*s.places().reshape(-1).tolist()} for n, s in smaller.plan.slices.items()}
    later = {}
    for key, one in small.plan.slices.items():
        places = one.places()
        flat = np.flatnonzero(np.isin(places.reshape(-1), list(own[key])))
        later[key] = Slice(shape=one.left, flat=flat.reshape(smaller.plan.slices[key].left))
    rest = {n: s for n, s in smaller.plan.slices.items() if n not in later}
    both = small.plan.then(Plan(slices=later | rest))
    state = {n: torch.arange(float(v.numel())).reshape(v.shape) for n, v in original.state_dict().items()}
    expected, got = smaller.plan.of_state(state), both.of_state(state)
    assert all(torch.equal(expected[n], got[n]) for n in expected)


@each
def test_rewinding_loads_the_kept_part_of_other_weights(name: str):
    build, example = NETWORKS[name]
    original = build()
    pruned, small = cut(original, example)
    other = build()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())))
    rewound = copy.deepcopy(small.model)
    rewound.load_state_dict(small.plan.of_state(other.state_dict()), strict=False)
    masked = copy.deepcopy(pruned.model)
    masked.load_state_dict(other.state_dict())
    zeros = {n: (p == 0) for n, p in pruned.model.named_parameters()}
    with torch.no_grad():
        for n, p in masked.named_parameters():
            p.masked_fill_(zeros[n], 0.0)
    torch.testing.assert_close(answers(rewound, example), answers(masked, example), rtol=1e-9, atol=1e-12)


def test_a_network_that_was_cut_is_cut_again():
    for build in (residual, written):
        model, example = build(), pictures()
        for _ in range(2):
            pruned, small = cut(model, example, sparsity=0.4)
            assert small.params < sum(p.numel() for p in model.parameters())
            expected = answers(pruned.model, example)
            torch.testing.assert_close(answers(small.model, example), expected, rtol=1e-9, atol=1e-12)
            model = small.model


# optimisers


@pytest.mark.parametrize("kind", OPTIMISERS)
@each
def test_an_optimiser_goes_on_as_if_the_network_had_been_small_all_along(name: str, kind: str):
    build, example = NETWORKS[name]
    model = build()
    pruned = prune(model, sparsity=0.5, granularity="channel", scope="layer", example=example)
    masked = pruned.model.train()
    removed = {n: p == 0 for n, p in masked.named_parameters()}
    optimiser = OPTIMISERS[kind](masked.parameters())
    for _ in range(2):
        step(masked, optimiser, example, removed)
    small = shrink(Pruned(**{**vars(pruned), "model": masked}), example)
    follower = OPTIMISERS[kind](masked.parameters())
    follower.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    small.plan.apply_to_optimizer(follower, masked, small.model)
    held = {id(p) for group in follower.param_groups for p in group["params"]}
    assert held == {id(p) for p in small.model.parameters()}
    for _ in range(2):
        step(masked, optimiser, example, removed)
        step(small.model, follower, example, {})
    expected = small.plan.of_state(masked.state_dict())
    for n, value in small.model.state_dict().items():
        if n in expected and value.is_floating_point():
            torch.testing.assert_close(value, expected[n], rtol=1e-4, atol=1e-5, msg=lambda m, n=n: f"{n}: {m}")


def step(model: nn.Module, optimiser: Any, example: Tensor, removed: dict[str, Tensor]) -> None:
    optimiser.zero_grad()
    (model.train()(example) ** 2).mean().backward()
    optimiser.step()
    with torch.no_grad():
        for n, p in model.named_parameters():
            if n in removed:
                p.masked_fill_(removed[n], 0.0)


def test_an_optimiser_of_another_network_is_refused_and_not_changed():
    model, example = residual(), pictures()
    _, small = cut(model, example)
    other = torch.optim.Adam([*residual().parameters()])
    before = [id(p) for p in other.param_groups[0]["params"]]
    with pytest.raises(BadInput, match="not one of the network's"):
        small.plan.apply_to_optimizer(other, model, small.model)
    assert [id(p) for p in other.param_groups[0]["params"]] == before


def test_states_of_other_shapes_are_cut_or_refused():
    model, example = residual(), pictures()
    _, small = cut(model, example)
    factored = torch.optim.Adafactor(model.parameters(), lr=0.01)
    step(model, factored, example, {})
    small.plan.apply_to_optimizer(factored, model, small.model)
    step(small.model, factored, example, {})
    whole = torch.optim.LBFGS(model.parameters())

    def closure() -> Tensor:
        whole.zero_grad()
        loss = (model(example) ** 2).mean()
        loss.backward()
        return loss

    whole.step(closure)
    before = [id(p) for p in whole.param_groups[0]["params"]]
    with pytest.raises(BadInput, match="state"):
        small.plan.apply_to_optimizer(whole, model, small.model)
    assert [id(p) for p in whole.param_groups[0]["params"]] == before


def test_parameters_that_the_graph_does_not_need_leave_the_optimiser():
    class Spare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.never = written(), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    model, example = Spare(), pictures()
    _, small = cut(model, example)
    assert small.form == "graph"
    optimiser = torch.optim.Adam(model.parameters())
    step(model, optimiser, example, {})
    small.plan.apply_to_optimizer(optimiser, model, small.model)
    assert len(optimiser.param_groups[0]["params"]) == len(list(small.model.parameters()))
    step(small.model, optimiser, example, {})


# ties, and what a plan does not fit


def test_tied_weights_stay_one_storage():
    model, example = tied(), words()
    pruned, small = cut(model, example)
    assert pruned.model.embed.weight is pruned.model.decode.weight
    assert small.model.embed.weight is small.model.decode.weight
    assert small.model.embed.weight.shape[1] < 8
    large = expand(small.model, model, small.plan)
    assert large.embed.weight is large.decode.weight


def test_a_plan_for_another_network_is_refused():
    with pytest.raises(BadInput, match="does not have"):
        apply_plan(residual(), Plan(slices={"nothing.weight": Slice(shape=(2,))}))
    with pytest.raises(BadInput, match="of shape"):
        apply_plan(residual(), Plan(slices={"stem.weight": Slice(shape=(9, 3, 3, 3))}))


def test_modes_gradients_and_devices_of_a_cut_network():
    model = residual()
    model.norm.eval()
    model.stem.weight.requires_grad_(False)
    _, small = cut(model, pictures())
    assert (small.model.training, small.model.norm.training) == (True, False)
    assert not small.model.stem.weight.requires_grad
    assert small.model.first.weight.requires_grad
    assert small.model.first.weight.grad is None
