"""Every network of the zoo is pruned and cut: exact, declared as changing, or refused; never a crash, never silent."""

import copy
from fnmatch import fnmatchcase
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from prudent.errors import CannotPrune, PrudentError
from prudent.examples import Inputs
from prudent.networks import load, save
from prudent.pruning import Pruned, prune
from prudent.surgery.shrinking import Shrunk, shrink
from tests.conftest import assert_untouched, snapshot
from tests.surgery.zoo import CASES, Case

pytestmark = [
    # recurrent layers and torch.nn.utils.prune set plain attributes while they are traced, and are warned about
    pytest.mark.filterwarnings("ignore:The tensor attribute"),
    pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning"),  # copies of graphs, in torch
    pytest.mark.filterwarnings("ignore:RNN module weights:UserWarning"),
]
SLOW = ("deep_mlp", "deep_convolutions", "resnet_56")
cases = pytest.mark.parametrize(
    "case", [pytest.param(c, id=c.name, marks=[pytest.mark.slow] if c.name in SLOW else []) for c in CASES]
)

REFUSED = {
    "weight_norm": "parametrize.remove_parametrizations",
    "spectral_norm": "parametrize.remove_parametrizations",
    "prune_masks": "torch.nn.utils.prune.remove",
    "compiled": "cut model._orig_mod instead",
    "data_parallel": "cut model.module instead",
    "matmul_parameter": "no linear or convolution layer",
    "tied_storage": "shares its memory",  # a copy would untie them
    "in_place": "fill at residual.py",  # written into while it is read: not understood
    "gram_matrix": "two dimensions that could shrink become one",  # a product of a tensor with itself
}
"""Networks that a perfect tool would cut and prudent does not, with words of the answer."""
STRICTER = {
    "roll": ("stem.0",),  # shifted by a constant
    "index_select": ("stem.0",),  # chosen by number
    "unfold_matmul": ("stem.0",),  # channels and kernel places are one dimension
    "einsum_convolution": ("first",),  # used raw, so it has no score
    "language_model": ("attention.query", "attention.key"),  # rotary halves tie features of one head
}
"""Layers that a perfect tool would make smaller and prudent leaves whole."""


GRAPHS = (
    "option_a",
    "hard_coded_view",
    "slice_channels",
    "split_unequal",
    "timm_reshape",
    "timm_constants",
    "head_first_attention",
    "head_first_ranges",
    "fused_attention",
    "hugging_face_attention",
    "einsum_attention",
    "grouped_query_repeat",
    "grouped_query_expand",
    "rotary_attention",
    "rotary_neighbours",
    "decoder_view",
    "decoder_unflatten",
    "multihead_attention",
    "multihead_across",
    "vision_transformer",
    "transformer_encoder",
    "language_model",
    "discarded_branch",
    "unfold_matmul",
)
"""Networks whose code says sizes that cannot be changed, so that they come out as graphs; others stay what they are."""


def example_of(case: Case) -> Inputs:
    return Inputs(case.args(), case.kwargs())


def fresh(case: Case) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Inputs that neither tracing nor the proof has seen, in float64."""
    generator = torch.Generator().manual_seed(11)

    def drawn(value: Any) -> Any:
        if isinstance(value, Tensor) and value.is_floating_point():
            return torch.randn(value.shape, generator=generator, dtype=torch.float64)
        return value

    return tree_map(drawn, (case.args(), case.kwargs()))


def answers(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        found = tree_leaves(model(*copy.deepcopy(args), **copy.deepcopy(kwargs)))
    return [t for t in found if isinstance(t, Tensor)]


def cut(case: Case, **options: Any) -> tuple[nn.Module, Pruned, Shrunk]:
    model, example = case.build(), example_of(case)
    before = snapshot(model)
    try:
        pruned = prune(model, sparsity=0.5, scope="layer", example=example, **options)
    finally:
        assert_untouched(model, before)
    masked = snapshot(pruned.model)
    small = shrink(pruned, example)
    assert_untouched(pruned.model, masked)
    return model, pruned, small


def assert_same(pruned: Pruned, small: Shrunk, case: Case) -> None:
    args, kwargs = fresh(case)
    expected = answers(copy.deepcopy(pruned.model).double().eval(), args, kwargs)
    got = answers(copy.deepcopy(small.model).double().eval(), args, kwargs)
    assert len(expected) == len(got)
    assert len(got) > 0
    for a, b in zip(expected, got, strict=True):
        assert a.shape == b.shape
        # 1e-8, since constants in the code are single there and double in a graph that is cast
        torch.testing.assert_close(b.double(), a.double(), rtol=1e-8, atol=1e-8 * max(1.0, float(a.abs().max())))


def untouched_layers(model: nn.Module, small: nn.Module, patterns: tuple[str, ...]) -> list[str]:
    before = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    after = {name: tuple(value.shape) for name, value in small.state_dict().items()}
    smaller = {name for name, shape in before.items() if name in after and after[name] != shape}
    named = {*smaller, *(name.rpartition(".")[0] for name in smaller)}
    return [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in named)]


@cases
def test_channels_of_the_zoo(case: Case, tmp_path):
    if case.expect == "refused" or case.name in REFUSED:
        with pytest.raises(PrudentError, match=REFUSED.get(case.name)) as refusal:
            cut(case, granularity="channel")
        assert "\n" not in str(refusal.value)
        return
    model, pruned, small = cut(case, granularity="channel")
    assert not small.changing
    assert small.form == ("graph" if case.name in GRAPHS else "module")
    assert_same(pruned, small, case)
    assert tuple(untouched_layers(model, small.model, case.exact)) == STRICTER.get(case.name, ())
    assert untouched_layers(model, small.model, case.frozen) == list(case.frozen) or case.expect == "partly"
    saved_and_loaded(case, model, small, tmp_path)
    save(pruned, tmp_path / "masked")
    masked = load(tmp_path / "masked", build=case.build)
    assert isinstance(masked, Pruned)
    if pruned.mask.cover is not None:  # by the order of layers units are numbered
        assert list(masked.mask.kept) == list(pruned.mask.kept)
    for name, value in pruned.model.state_dict().items():
        assert torch.equal(masked.model.state_dict()[name], value)


def saved_and_loaded(case: Case, model: nn.Module, small: Shrunk, folder: Any) -> None:
    """A graph needs no builder; both compute bit by bit what was saved."""
    save(small, folder)
    again = load(folder, build=None if small.form == "graph" else case.build)
    assert isinstance(again, Shrunk)
    args, kwargs = case.args(), case.kwargs()
    # whichever type of numbers the network has, the answer is the same
    expected = answers(copy.deepcopy(small.model).eval(), args, kwargs)
    for a, b in zip(expected, answers(again.model.eval(), args, kwargs), strict=True):
        assert torch.equal(a, b)
    state = {name: value for name, value in model.state_dict().items() if name in small.plan.slices}
    for name, value in again.plan.of_state(state).items():
        assert torch.equal(value, small.plan.of_state(state)[name])


@pytest.mark.parametrize("case", [c for c in CASES if c.changing], ids=lambda c: c.name)
def test_normalisations_change_only_when_asked(case: Case):
    """With the opt-in their layers shrink, what changes is named, and single precision is enough to see it."""
    model, pruned, small = cut(case, granularity="channel", changing=True)
    if not small.changing:  # softmax, local response: units stay; lengths over channels: zeros add nothing to them
        assert_same(pruned, small, case)
        return
    # the table of a tied embedding is the output's too
    assert untouched_layers(model, small.model, case.changing) == (["embed"] if case.name == "language_model" else [])
    assert all(isinstance(reason, str) and reason for reason in small.changing)
    with pytest.raises(AssertionError):
        assert_same(pruned, small, case)


HEADS = [c for c in CASES if "attention" in c.name or c.name.startswith(("timm", "grouped_query", "multihead"))]


@pytest.mark.parametrize(
    "case", [c for c in HEADS if c.name not in ("spatial_attention", "channel_attention")], ids=lambda c: c.name
)
def test_heads_of_the_zoo(case: Case, tmp_path):
    if case.name == "rotary_attention":  # queries and keys are turned by constants of a head's width
        with pytest.raises(CannotPrune):
            cut(case, granularity="head")
        return
    model, pruned, small = cut(case, granularity="head")
    assert_same(pruned, small, case)
    assert small.sparsity == 0.5
    assert untouched_layers(model, small.model, ("embed", "left", "right")) != []  # the widths around it stay
    saved_and_loaded(case, model, small, tmp_path)
