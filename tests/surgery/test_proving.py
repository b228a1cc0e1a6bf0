"""The proof finds what is wrong, also where the answers make that hard to see."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prudent.errors import CannotPrune
from prudent.pruning import prune
from prudent.surgery.plans import Plan, Slice, apply_plan
from prudent.surgery.proving import CannotTell, compare, prove
from prudent.surgery.shrinking import shrink
from tests.conftest import assert_untouched, snapshot
from tests.surgery.networks import pictures, residual, written

pytestmark = pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning")  # copies of graphs, in torch
X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))


class Answering(nn.Module):
    """A linear layer and some function of its answer."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.function = nn.Linear(3, 2), function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.layer(x))


def pair(ours: Callable[[Tensor], Any], theirs: Callable[[Tensor], Any]) -> tuple[nn.Module, nn.Module]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        masked = Answering(ours)
    small = copy.deepcopy(masked)
    small.function = theirs
    return masked, small


WRONG = {
    "nan": (lambda y: y, lambda y: y * math.nan),
    "partly nan": (lambda y: y, lambda y: torch.where(y > 0, y, math.nan)),
    "infinite": (lambda y: y, lambda y: torch.where(y > 0, y, math.inf)),
    "other infinity": (lambda y: (y, y * 0 - math.inf), lambda y: (y, y * 0 + math.inf)),
    "a little": (lambda y: y, lambda y: y * (1 + 3e-9)),
    "beside a large answer": (lambda y: (y * 1e10, y), lambda y: (y * 1e10, y + 0.1)),
    "in order": (lambda y: (y, -y), lambda y: (-y, y)),
    "in shape": (lambda y: y, lambda y: y[:, :1]),
    "in number": (lambda y: (y, y), lambda y: (y,)),
    "whole numbers": (lambda y: (y, y.argmax(1)), lambda y: (y, y.argmin(1))),
    "imaginary part": (lambda y: torch.complex(y, y), lambda y: torch.complex(y, y + 1)),
}
MUTE = {
    "zeros": lambda y: y * 0,
    "constants": lambda y: y * 0 + torch.arange(2.0),
    "whole numbers": lambda y: y.argmax(1),
    "truth values": lambda y: y > 0,
    "nothing": lambda y: (),
    "no tensor": lambda y: 3,
    "not a number": lambda y: y * math.nan,
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_answer_is_found(kind: str):
    masked, small = pair(*WRONG[kind])
    with pytest.raises(CannotPrune, match="differs from the masked one"):
        prove(masked, small, X)


@pytest.mark.parametrize("kind", MUTE)
def test_answers_from_which_nothing_can_be_told_prove_nothing(kind: str):
    with pytest.raises(CannotPrune, match="cannot be proved"):
        prove(*pair(MUTE[kind], MUTE[kind]), X)


def test_right_answers_of_any_kind_are_fine():
    for function in (
        lambda y: {"a": y, "b": (y.argmax(1), None, y > 0)},
        lambda y: torch.cat([y, y * 0 - math.inf], 1),
        lambda y: torch.complex(y, -y),
        lambda y: (y * 1e12, y * 1e-12),
        lambda y: (y, (y + 1) - y - 1),  # nothing but rounding
    ):
        assert prove(*pair(function, function), X).difference <= 1e-15
    masked, small = pair(lambda y: (y, (y + 1) - y - 1), lambda y: (y, (y + 2) - y - 2))
    assert prove(masked, small, X).difference <= 1e-9


def test_the_difference_is_the_largest_one_relative_to_the_answers_own_size():
    masked, small = pair(lambda y: (y, 1000 * y), lambda y: (y + 1e-12, 1000 * y))
    with torch.no_grad():
        largest = max(float(masked.double()(x)[0].abs().max()) for x in [X.double()])
    difference, tolerance, inputs = compare(masked, small, X, random_inputs=1)
    assert difference <= 1e-12 / largest * 1.01  # random inputs may give larger answers
    assert difference > 1e-13
    assert (tolerance, inputs) == (1e-9, 8)


def test_nothing_of_either_network_or_the_random_state_changes():
    masked, small = pair(lambda y: y, lambda y: y)
    masked.train()
    before = snapshot(masked), snapshot(small)
    prove(masked, small, X)
    assert_untouched(masked, before[0])
    assert_untouched(small, before[1])


def silent_head() -> nn.Module:
    model = residual()
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.zero_()
    return model


def test_a_network_that_answers_zeros_is_proved_with_other_weights():
    pruned = prune(silent_head(), sparsity=0.5, granularity="channel", scope="layer", example=pictures())
    small = shrink(pruned, pictures())
    assert small.model.head.weight.shape == (3, 4)
    masked = copy.deepcopy(pruned.model)
    wrong = dict(small.plan.slices)
    wrong["head.weight"] = Slice(shape=(3, 8), dims={1: np_other(wrong["head.weight"])})
    plan = Plan(slices=wrong, attributes=small.plan.attributes)
    with pytest.raises(CannotPrune, match="differs"):
        prove(masked, apply_plan(masked, plan), pictures(), plan=plan)


def test_a_residual_branch_that_starts_at_zero_is_proved_with_other_weights():
    model = residual()
    with torch.no_grad():
        model.second.weight.zero_()
    pruned = prune(model, sparsity=0.5, granularity="channel", scope="layer", example=pictures())
    small = shrink(pruned, pictures())
    wrong = dict(small.plan.slices)
    wrong["inner.weight"] = Slice(shape=(6,), dims={0: np_other(wrong["inner.weight"])})
    plan = Plan(slices=wrong, attributes=small.plan.attributes)
    cut = apply_plan(pruned.model, plan)
    assert prove(pruned.model, cut, pictures()).difference < 1e-12  # the zeros hide it
    with pytest.raises(CannotPrune, match="differs"):
        prove(pruned.model, cut, pictures(), plan=plan)


def np_other(one: Slice) -> Any:
    """Other indices, as many."""
    ((dim, kept),) = one.dims.items()
    return (kept + 1) % one.shape[dim]


class Batched(nn.Module):
    """Answers for as many examples as it was told."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x[:4])


def test_a_graph_runs_on_other_numbers_of_examples():
    pruned = prune(written(nn.Dropout2d(0.3)), sparsity=0.5, granularity="channel", scope="layer", example=pictures())
    small = shrink(pruned, pictures())
    assert small.form == "graph"
    for n in (1, 3, 9):
        expected = copy.deepcopy(pruned.model).double().eval()(pictures(n, seed=5).double())
        got = copy.deepcopy(small.model).double().eval()(pictures(n, seed=5).double())
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)


def test_a_graph_with_the_number_of_examples_in_it_is_refused():
    masked = residual().eval()
    fixed = torch.fx.symbolic_trace(Batched(residual().eval()))
    with pytest.raises(CannotPrune, match="batches of 4 only"):
        prove(masked, fixed, pictures(4))


def test_random_inputs_have_the_mean_and_spread_of_the_example() -> None:
    """Far from the inputs it was made for, a deep network answers with little but rounding."""
    seen: list[Tensor] = []

    class Listening(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return super().forward(x)

    example = 200 + 5 * torch.randn(64, 3, generator=torch.Generator().manual_seed(3))
    layer = Listening(3, 2)
    prove(layer, layer, example, random_inputs=6400)
    drawn = torch.cat([x for x in seen[1:] if x.dtype == torch.float64 and not torch.equal(x, example.double())])
    assert float(drawn.mean()) == pytest.approx(float(example.double().mean()), abs=0.3)
    assert float(drawn.std()) == pytest.approx(float(example.double().std()), rel=0.02)


def test_a_network_that_amplifies_rounding_is_told_from_a_wrong_cut() -> None:
    """The logistic map, 40 times: rounding doubles each time, so 1e-9 cannot be shown, and no halving would help."""

    class Chaos(nn.Module):
        def __init__(self, extra: float) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.tensor([4.0]))
            self.extra = extra

        def forward(self, x: Tensor) -> Tensor:
            value = torch.sigmoid(x)
            for _ in range(40):
                value = self.gain * (1 + self.extra) * value * (1 - value)
            return value

    example = X
    with pytest.raises(CannotTell, match="itself by .* last digit: rounding"):
        prove(Chaos(0.0), Chaos(-1e-15), example)
    with pytest.raises(CannotPrune, match="does not keep its channels apart") as wrong:
        prove(nn.Linear(3, 2), nn.Linear(3, 2), example)
    assert not isinstance(wrong.value, CannotTell)
