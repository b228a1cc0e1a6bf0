"""Gradients and products with the Hessian against finite differences in float64, and the scores made of them."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from prudent.batches import Batches
from prudent.errors import BadInput, CannotPrune
from prudent.gradients import hessian_product, mean_gradient
from prudent.network import batch_statistics, evaluating, prunable
from prudent.scores.force import force
from prudent.scores.grasp import grasp
from prudent.scores.snip import snip
from prudent.scores.taylor import taylor
from tests.conftest import batches, chain, images

STEP = 1e-5


def smooth() -> nn.Sequential:
    """A small network without corners, in float64, with a batch normalisation whose running statistics are far off."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, stride=2), nn.BatchNorm2d(2), nn.Tanh(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(18, 3)
    ).double()
    with torch.no_grad():
        model[1].running_mean.fill_(0.7)
        model[1].running_var.fill_(3.0)
    return model


def examples(n: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, labels = images(n)
    return inputs.double(), labels


def halves() -> list[tuple[torch.Tensor, torch.Tensor]]:
    inputs, labels = examples()
    return [(inputs[:6], labels[:6]), (inputs[6:], labels[6:])]


def loss(model: nn.Module, data, temperature: float = 1.0) -> float:
    with torch.no_grad():
        sums = [cross_entropy(model(x) / temperature, y, reduction="sum") for x, y in data]
    return float(sum(sums)) / sum(len(y) for _, y in data)


def differences(model: nn.Module, function) -> dict[str, torch.Tensor]:
    """Central differences of a function of the weights, weight by weight."""
    found = {}
    for name, weight in prunable(model).items():
        slopes = torch.zeros_like(weight).flatten()
        flat = weight.data.view(-1)
        for i in range(len(flat)):
            value = float(flat[i])
            ends = []
            for shift in (STEP, -STEP):
                flat[i] = value + shift
                ends.append(function())
            flat[i] = value
            slopes[i] = (ends[0] - ends[1]) / (2 * STEP)
        found[name] = slopes.view_as(weight)
    return found


def test_snip_is_the_slope_under_batch_statistics():
    model, data = smooth(), halves()
    scores = snip(model, data)
    with batch_statistics(model):
        slopes = differences(model, lambda: loss(model, data))
    for name, weight in prunable(model).items():
        torch.testing.assert_close(scores[name], (weight.detach() * slopes[name]).abs(), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("power", [1, 2])
def test_taylor_is_the_slope_in_evaluation_mode(power):
    model, data = smooth(), halves()
    scores = taylor(model, data, power=power)
    with evaluating(model):
        slopes = differences(model, lambda: loss(model, data))
    for name, weight in prunable(model).items():
        expected = (weight.detach() * slopes[name]).abs() ** power
        torch.testing.assert_close(scores[name], expected, rtol=1e-5, atol=1e-9)


def test_snip_and_taylor_differ_where_running_statistics_do():
    model, data = smooth(), halves()
    assert not torch.allclose(snip(model, data)["0.weight"], taylor(model, data)["0.weight"], rtol=0.1)


@pytest.mark.parametrize("temperature", [1.0, 200.0])
def test_hessian_product_is_the_slope_of_the_gradient(temperature):
    model, data = smooth(), halves()
    generator = torch.Generator().manual_seed(1)
    direction = {
        name: torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        for name, weight in prunable(model).items()
    }
    with batch_statistics(model):
        found = hessian_product(model, data, direction, score="grasp", temperature=temperature)
        ends = []
        for shift in (STEP, -2 * STEP):
            with torch.no_grad():
                for name, weight in prunable(model).items():
                    weight.add_(direction[name], alpha=shift)
            ends.append(mean_gradient(model, data, score="grasp", temperature=temperature))
    for name in found:
        torch.testing.assert_close(found[name], (ends[0][name] - ends[1][name]) / (2 * STEP), rtol=1e-5, atol=1e-10)


def test_grasp_is_half_the_loss_of_squared_gradient_norm():
    # without any Hessian: the derivative of |g|^2 / 2 by w is H g, taken here by differences
    model, data = smooth(), halves()
    scores = grasp(model, data, temperature=2.0)

    def half_norm() -> float:
        gradient = mean_gradient(model, data, score="grasp", temperature=2.0)
        return sum(float((g**2).sum()) for g in gradient.values()) / 2

    with batch_statistics(model):
        slopes = differences(model, half_norm)
    for name, weight in prunable(model).items():
        torch.testing.assert_close(scores[name], weight.detach() * slopes[name], rtol=1e-4, atol=1e-9)


def test_grasp_keeps_the_weights_that_carry_the_gradient():
    # the sign: removing the lowest scores must leave a larger gradient than removing the highest
    model, data = smooth(), halves()
    scores = grasp(model, data)
    lost = []
    for sign in (1, -1):
        pruned = smooth()
        with torch.no_grad():
            for name, weight in prunable(pruned).items():
                order = (sign * scores[name]).flatten().argsort()
                weight.view(-1)[order[: len(order) // 5]] = 0
        with batch_statistics(pruned):
            gradient = mean_gradient(pruned, data, score="grasp", temperature=200.0)
        lost.append(sum(float((g**2).sum()) for g in gradient.values()))
    assert lost[0] > lost[1]


def test_the_mean_is_over_examples_not_over_batches():
    model, (inputs, labels) = smooth(), examples()
    with evaluating(model):
        whole = mean_gradient(model, [(inputs, labels)], score="taylor")
        uneven = mean_gradient(model, [(inputs[:9], labels[:9]), (inputs[9:], labels[9:])], score="taylor")
    for name in whole:
        torch.testing.assert_close(whole[name], uneven[name])


def test_attention_has_a_second_derivative():
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.last = nn.Linear(8, 3)

        def forward(self, x):
            x = x[:, 0]
            return self.last(self.attention(x, x, x, need_weights=False)[0].mean(1))

    torch.manual_seed(0)
    scores = grasp(Attending(), batches(8))
    assert all(torch.isfinite(score).all() and score.any() for score in scores.values())


class Counted:
    """Batches that count how often they are read."""

    def __init__(self, data: Batches) -> None:
        self.data, self.passes = data, 0

    def __iter__(self):
        self.passes += 1  # a generator: counted when something is read, not when an iterator is asked for
        yield from self.data


@pytest.mark.parametrize(
    ("score", "passes"), [(snip, 1), (taylor, 1), (grasp, 2), (force, 10)], ids=lambda x: getattr(x, "__name__", "")
)
def test_passes_over_the_data(score, passes):
    data = Counted(batches())
    score(chain(norm=True), data)
    assert data.passes == passes


def test_one_pass_of_an_iterator_is_enough_for_snip_and_refused_where_it_is_not():
    assert snip(chain(), iter(batches()))
    with pytest.raises(BadInput, match="more than once"):
        grasp(chain(), iter(batches()))
    with pytest.raises(BadInput, match="more than once"):
        force(chain(), iter(batches()))
    assert force(chain(), iter(batches()), steps=1)


def test_batches_that_the_network_cannot_take_are_refused_in_a_line():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    with pytest.raises(BadInput, match="a batch of 1 examples has no cross-entropy: ValueError: Expected more than 1"):
        snip(model, batches(17))
    inputs, labels = images(4)
    with pytest.raises(BadInput, match="a batch of 4 examples"):
        taylor(model, [(inputs, labels + 9)])


def test_options_out_of_range():
    with pytest.raises(BadInput, match="got temperature=0"):
        grasp(chain(), batches(), temperature=0)
    with pytest.raises(BadInput, match="got power=0"):
        taylor(chain(), batches(), power=0)


def test_weights_that_the_loss_does_not_see_score_zero():
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(64, 3), nn.Linear(2, 2)

        def forward(self, x):
            return self.used(x.flatten(1))

    for score in (snip, taylor, grasp):
        scores = score(Idle(), batches())
        assert not scores["idle.weight"].any()
        assert scores["used.weight"].any()


def test_frozen_weights_are_counted():
    model = chain()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(CannotPrune, match="'0.weight' is frozen .*and 3 more"):
        snip(model, batches())
