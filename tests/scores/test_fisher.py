"""The Fisher information from gradients of single examples."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from prudent.errors import BadInput
from prudent.network import evaluating, prunable
from prudent.scores import fisher as module
from prudent.scores.fisher import fisher
from tests.conftest import batches, chain, images

THRESHOLD = 32.5


def by_loop(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """One backward pass for each example."""
    weights = prunable(model)
    total = {name: torch.zeros_like(weight, dtype=torch.float64) for name, weight in weights.items()}
    with evaluating(model):
        for x, y in zip(inputs, labels, strict=True):
            loss = cross_entropy(model(x[None]), y[None])
            for name, g in zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True):
                total[name] += g.double() ** 2
    return {n: 0.5 * w.detach().double() ** 2 * total[n] / len(labels) for n, w in weights.items()}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name in found:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("norm", [False, True])
def test_by_one_backward_pass_for_each_example(norm):
    model = chain(norm=norm)
    assert_same(fisher(model, batches(30, size=8)), by_loop(model, *images(30)))


def test_chunks_change_nothing(monkeypatch):
    model = chain()
    expected = by_loop(model, *images(20))
    monkeypatch.setattr(module, "AT_ONCE", 3 * sum(w.numel() for w in prunable(model).values()) + 1)
    assert_same(fisher(model, batches(20, size=16)), expected)


def test_it_is_not_the_square_of_the_mean_gradient():
    model = chain()
    inputs, labels = images(1)
    twice = [(torch.cat([inputs, inputs]), torch.tensor([0, 1]))]
    weights = list(prunable(model).values())
    with evaluating(model):
        mean = torch.autograd.grad(cross_entropy(model(twice[0][0]), twice[0][1]), weights)
    found = fisher(model, twice)
    for name, weight, g in zip(found, weights, mean, strict=True):
        assert (found[name] >= 0.5 * weight.detach() ** 2 * g**2 * (1 - 1e-4)).all()  # Jensen
    assert any(
        (found[name] > 1.5 * 0.5 * weight.detach() ** 2 * g**2).any()
        for name, weight, g in zip(found, weights, mean, strict=True)
    )


def test_closed_form_of_logistic_regression():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).double()
    inputs, labels = images(25)
    inputs = inputs.double()
    slope = model(inputs).detach().softmax(1) - nn.functional.one_hot(labels, 3)
    information = torch.einsum("no,ni->oi", slope**2, inputs.flatten(1) ** 2) / 25
    expected = 0.5 * model[1].weight.detach() ** 2 * information
    torch.testing.assert_close(fisher(model, [(inputs, labels)])["1.weight"], expected)


def test_a_network_that_decides_by_values_is_taken_one_by_one():
    class Deciding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = nn.Linear(64, 3), nn.Linear(64, 3)

        def forward(self, x):
            x = x.flatten(1)
            return self.a(x) if float(x.sum()) > THRESHOLD else self.b(x)

    model, (inputs, labels) = Deciding(), images(10)
    expected = {name: torch.zeros(3, 64, dtype=torch.float64) for name in ("a.weight", "b.weight")}
    for x, y in zip(inputs, labels, strict=True):
        name = "a" if float(x.sum()) > THRESHOLD else "b"
        g = torch.autograd.grad(cross_entropy(model(x[None]), y[None]), [getattr(model, name).weight])[0]
        expected[f"{name}.weight"] += g.double() ** 2 / 10
    found = fisher(model, [(inputs, labels)])
    for name, information in expected.items():
        assert information.any()
        torch.testing.assert_close(found[name], 0.5 * model.get_parameter(name).detach().double() ** 2 * information)


def test_tied_weights_have_one_gradient():
    torch.manual_seed(0)
    a, b = nn.Linear(6, 6), nn.Linear(6, 6)
    b.weight = a.weight
    model = nn.Sequential(a, nn.Tanh(), b)
    inputs, labels = torch.randn(9, 6), torch.arange(9) % 6
    assert_same(fisher(model, [(inputs, labels)]), by_loop(model, inputs, labels))


def test_labels_outside_of_the_classes_are_refused():
    inputs, labels = images(4)
    with pytest.raises(BadInput, match="has no cross-entropy"):
        fisher(chain(), [(inputs, labels + 7)])
