"""Laplace approximations beside loops of gradients, hand-made Hessians and closed forms of linear networks."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import nn

from prudent.batches import Batches
from prudent.calibration import nll
from prudent.errors import BadInput, SplitMisuse
from prudent.evaluation import evaluate
from prudent.laplace.answers import PRIORS, gaussian_answers, predict_laplace, with_validated_prior
from prudent.laplace.posterior import best_by_evidence, fit_laplace, log_marginal_likelihood
from prudent.laplace.subnetworks import last_layer, most_uncertain, survivors
from prudent.loss_tables import losses
from prudent.network import prunable
from prudent.prediction import predict
from prudent.pruning import prune
from prudent.surgery.emission import graph_of
from tests.conftest import assert_untouched, batches, chain, images, snapshot


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def points(n: int = 30, *, seed: int = 0, split="train", size: int = 7) -> Batches:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    return Batches(inputs=inputs, labels=torch.randint(0, 3, (n,), generator=generator), size=size, split=split)


def everything(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: torch.arange(value.numel()) for name, value in model.named_parameters()}


def slopes_by_loop(model: nn.Module, x: torch.Tensor) -> np.ndarray:
    """(classes, all parameters), logit by logit."""
    rows = []
    for logit in model(x[None])[0]:
        parts = torch.autograd.grad(logit, list(model.parameters()), retain_graph=True)
        rows.append(torch.cat([part.reshape(-1) for part in parts]).numpy())
    return np.array(rows)


def ggn_by_loop(model: nn.Module, data: Batches) -> np.ndarray:
    total = 0.0
    for x in data.inputs:
        j = slopes_by_loop(model, x)
        p = torch.softmax(model(x[None])[0], 0).detach().numpy()
        total = total + j.T @ (np.diag(p) - np.outer(p, p)) @ j
    return total


def curvature(posterior) -> np.ndarray:
    return (posterior.vectors * posterior.eigenvalues @ posterior.vectors.T).numpy()


def test_all_weights_are_the_full_matrix_and_a_subset_is_its_block():
    model, data = network(), points()
    model.eval()
    whole = ggn_by_loop(model, data)
    posterior = fit_laplace(model, data, everything(model), prior_precision=2.0)
    np.testing.assert_allclose(curvature(posterior), whole, atol=1e-10)
    np.testing.assert_allclose(posterior.covariance, np.linalg.inv(whole + 2 * np.eye(len(whole))), atol=1e-10)
    some = {"0.weight": torch.tensor([7, 2]), "2.bias": torch.tensor([1])}
    at = [2, 7, 20 + 5 + 15 + 1]
    posterior = fit_laplace(model, data, some, prior_precision=2.0)
    np.testing.assert_allclose(curvature(posterior), whole[np.ix_(at, at)], atol=1e-10)
    assert posterior.trained.tolist() == torch.cat([p.reshape(-1) for p in model.parameters()])[at].tolist()


def test_chunks_change_nothing(monkeypatch):
    from prudent.laplace import curvature as module

    model, data = network(), points()
    whole = curvature(fit_laplace(model, data, everything(model), prior_precision=1.0))
    monkeypatch.setattr(module, "ELEMENTS", 3 * 43 * 2)
    posterior = fit_laplace(model, data, everything(model), prior_precision=1.0)
    np.testing.assert_allclose(curvature(posterior), whole)
    assert posterior.log_likelihood == pytest.approx(-30 * nll(predict(model, points(split="test"))), rel=1e-6)
    test = points(20, seed=4, split="test", size=20)
    assert predict_laplace(posterior, test).labels.tolist() == test.labels.tolist()


def test_a_linear_network_with_gaussian_noise_is_exact():
    rng = np.random.default_rng(0)
    x, noise, prior = rng.normal(size=(25, 3)), 0.3, 1.7
    y = x @ [0.5, -1.0, 2.0] + rng.normal(size=25) * noise**0.5
    precision = x.T @ x / noise + prior * np.eye(3)
    best = np.linalg.solve(precision, x.T @ y / noise)
    model = nn.Linear(3, 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(best)[None])
    data = [(torch.from_numpy(x), torch.from_numpy(y)[:, None])]
    posterior = fit_laplace(model, data, everything(model), prior_precision=prior, likelihood="regression", noise=noise)
    np.testing.assert_allclose(posterior.covariance, np.linalg.inv(precision), atol=1e-12)
    evidence = multivariate_normal(np.zeros(25), noise * np.eye(25) + x @ x.T / prior).logpdf(y)
    assert log_marginal_likelihood(posterior) == pytest.approx(evidence, abs=1e-9)
    new = rng.normal(size=(4, 3))
    mean, covariance = gaussian_answers(posterior, torch.from_numpy(new))
    np.testing.assert_allclose(mean[:, 0], new @ best, atol=1e-12)
    np.testing.assert_allclose(covariance[:, 0, 0], np.diag(new @ np.linalg.inv(precision) @ new.T), atol=1e-12)


def test_the_last_layer_has_the_hessian_of_logistic_regression():
    model, data = network(), points()
    posterior = fit_laplace(model, data, last_layer(model, data.inputs[:3]), prior_precision=0.5)
    features = torch.tanh(model[0](data.inputs)).detach()

    def loss(flat: torch.Tensor) -> torch.Tensor:
        logits = features @ flat[:15].reshape(3, 5).t() + flat[15:]
        return nn.functional.cross_entropy(logits, data.labels, reduction="sum")

    flat = torch.cat([model[2].weight.detach().reshape(-1), model[2].bias.detach()])
    hessian = torch.autograd.functional.hessian(loss, flat)
    np.testing.assert_allclose(curvature(posterior), hessian, atol=1e-10)
    assert posterior.log_likelihood == pytest.approx(-float(loss(flat)), abs=1e-10)
    assert posterior.n == 30


def test_the_marginal_likelihood_is_a_determinant_and_its_best_prior_is_a_maximum():
    model, data = network(), points(60)
    posterior = fit_laplace(model, data, everything(model))
    best, k = posterior.prior_precision, posterior.size

    def by_definition(prior: float) -> float:
        logdet = np.linalg.slogdet(ggn_by_loop(model, data) + prior * np.eye(k))[1]
        length = float((posterior.trained**2).sum())
        return posterior.log_likelihood - prior / 2 * length + k / 2 * math.log(prior) - logdet / 2

    for prior in (0.01, best, 30.0):
        assert log_marginal_likelihood(posterior, prior_precision=prior) == pytest.approx(by_definition(prior))
    at = {f: log_marginal_likelihood(posterior, prior_precision=best * f) for f in (0.999, 1.0, 1.001)}
    assert abs(at[1.001] - at[0.999]) / 0.002 < 1e-3, "the slope is 0 there"
    others = [log_marginal_likelihood(posterior, prior_precision=f) for f in np.geomspace(1e-6, 1e6, 200)]
    assert at[1.0] >= max(others)
    assert best == pytest.approx(best_by_evidence(posterior), rel=1e-9)


def test_a_strong_prior_gives_the_trained_network():
    model, data = network(), points()
    plain = predict(model, points(split="test"))
    for samples in (None, 4):
        posterior = fit_laplace(model, data, everything(model), prior_precision=1e14)
        found = predict_laplace(posterior, points(split="test"), samples=samples)
        np.testing.assert_allclose(np.broadcast_to(plain.logits, found.logits.shape), found.logits, atol=1e-4)


def test_answers_are_the_formulas():
    model, data, test = network(), points(), points(9, seed=1, split="test")
    posterior = fit_laplace(model, data, everything(model), prior_precision=1.0)
    sigma = np.linalg.inv(ggn_by_loop(model, data) + np.eye(posterior.size))
    mean, covariance = gaussian_answers(posterior, test.inputs)
    probit = predict_laplace(posterior, test).logits
    for i, x in enumerate(test.inputs):
        j = slopes_by_loop(model, x)
        f = model(x[None])[0].detach().numpy()
        np.testing.assert_allclose(mean[i], f, atol=1e-10)
        np.testing.assert_allclose(covariance[i], j @ sigma @ j.T, atol=1e-10)
        np.testing.assert_allclose(probit[i], f / np.sqrt(1 + np.pi / 8 * np.diag(j @ sigma @ j.T)), atol=1e-5)
    assert predict_laplace(posterior, test).labels.tolist() == test.labels.tolist()


def test_samples_have_the_mean_and_covariance_of_the_gaussian_over_all_examples_together():
    model, test = network(), points(4, seed=1, split="test")
    posterior = fit_laplace(model, points(), everything(model), prior_precision=1.0)
    drawn = predict_laplace(posterior, test, samples=6000, seed=3).logits.reshape(6000, 12).astype(np.float64)
    j = np.concatenate([slopes_by_loop(model, x) for x in test.inputs])
    covariance = j @ posterior.covariance.numpy() @ j.T
    mean = model(test.inputs).detach().numpy().reshape(12)
    spread = np.sqrt(np.diag(covariance))
    assert (np.abs(drawn.mean(axis=0) - mean) < 5 * spread / np.sqrt(6000)).all()
    error = 5 * np.sqrt(2 / 6000) * np.outer(spread, spread)
    assert (np.abs(np.cov(drawn.T) - covariance) < error).all(), "examples of one sample are of one network"
    again = predict_laplace(posterior, test, samples=6000, seed=3).logits
    np.testing.assert_array_equal(again.reshape(6000, 12), drawn.astype(np.float32))


@pytest.mark.parametrize("norm", [False, True])
def test_survivors_of_a_mask_are_uncertain_and_nothing_else(norm):
    pruned = prune(chain(norm=norm).double(), sparsity=0.9)
    data = Batches(inputs=images(20)[0].double(), labels=images(20)[1], split="train")
    model = pruned.model.eval()
    before = snapshot(model)
    posterior = fit_laplace(model, data, survivors(model, pruned.mask), prior_precision=1.0)
    assert_untouched(model, before)
    assert posterior.size == pruned.mask.remaining
    kept = [pruned.mask.kept[name].numpy().reshape(-1) for name in prunable(model)]
    total = 0.0
    for x, y in zip(data.inputs, data.labels, strict=True):
        assert 0 <= int(y) < 3
        logits = model(x[None])[0]
        rows = []
        for logit in logits:
            parts = torch.autograd.grad(logit, list(prunable(model).values()), retain_graph=True)
            rows.append(np.concatenate([p.numpy().reshape(-1)[k] for p, k in zip(parts, kept, strict=True)]))
        p, j = torch.softmax(logits, 0).detach().numpy(), np.array(rows)
        total = total + j.T @ (np.diag(p) - np.outer(p, p)) @ j
    np.testing.assert_allclose(curvature(posterior), total, atol=1e-9)


def test_channels_and_last_layers_of_masked_networks():
    pruned = prune(chain(), sparsity=0.5, granularity="channel")
    inside = survivors(pruned.model, pruned.mask)
    for name, indices in inside.items():
        values = dict(pruned.model.named_parameters())[name].reshape(-1)
        silent = values == 0
        assert not silent[indices].any()
    masked = prune(chain(), sparsity=0.5)
    last = last_layer(masked.model, images(3)[0], mask=masked.mask)
    assert last["11.weight"].tolist() == masked.mask.kept["11.weight"].reshape(-1).nonzero().reshape(-1).tolist()
    assert last["11.bias"].tolist() == [0, 1, 2]


def test_the_most_uncertain_have_the_smallest_curvature():
    model, data = network(), points()
    diagonal = np.diag(ggn_by_loop(model, data))
    weights = np.concatenate([np.arange(20), 25 + np.arange(15)])
    found = most_uncertain(model, data, size=6)
    chosen = [
        start + int(i) for name, start in (("0.weight", 0), ("2.weight", 25)) for i in found.get(name, torch.zeros(0))
    ]
    expected = weights[np.argsort(diagonal[weights], kind="stable")[:6]]
    assert sorted(chosen) == sorted(expected.tolist())
    pruned = prune(model, sparsity=0.5)
    some = most_uncertain(pruned.model, data, size=5, mask=pruned.mask)
    assert all(pruned.mask.kept[name].reshape(-1)[indices].all() for name, indices in some.items())


def test_validation_chooses_the_prior_that_makes_it_most_probable():
    model, data, validation = network(), points(), points(400, seed=2, split="validation")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        chances = torch.softmax(3 * model(validation.inputs), 1)
        validation.labels.copy_(torch.multinomial(chances, 1, generator=generator)[:, 0])
        model[2].weight.mul_(6.0)  # twice too sure, so that some doubt helps
        model[2].bias.mul_(6.0)
    posterior = fit_laplace(model, data, everything(model), prior_precision=1.0)
    chosen = with_validated_prior(posterior, validation)
    every = {
        p: nll(predict_laplace(fit_laplace(model, data, everything(model), prior_precision=p), validation))
        for p in PRIORS[::4]
    }
    own = nll(predict_laplace(chosen, validation))
    assert own <= min(every.values()) + 1e-7
    assert PRIORS[0] < chosen.prior_precision < PRIORS[-1]
    assert own < nll(predict(model, validation)) - 0.01


def test_all_that_is_made_of_predictions_works_on_them():
    model, data = chain().eval(), batches()
    posterior = fit_laplace(model, data, last_layer(model, images(3)[0]))
    test = predict_laplace(posterior, batches(split="test", seed=1), samples=20)
    strange = predict_laplace(posterior, [torch.rand(30, 1, 8, 8)], split="ood", samples=20)
    found = evaluate(test, dense=predict(model, batches(split="test", seed=1)), ood=strange)
    assert {"mutual_information", "variation_ratio", "auroc_entropy", "ece", "disagreement"} <= set(found)
    split = batches(split="certification", seed=2)
    table = losses(
        [predict_laplace(posterior, split)], dense=predict(model, split), loss="disagreement", sparsities=[0.0]
    )
    assert table.models == (posterior.fingerprint,)


def test_the_fingerprint_tells_posteriors_apart():
    model, data = network(), points()
    one, two = (fit_laplace(model, data, everything(model), prior_precision=p) for p in (1.0, 2.0))
    other = fit_laplace(model, data, last_layer(model, data.inputs), prior_precision=1.0)
    assert len({one.fingerprint, two.fingerprint, other.fingerprint}) == 3
    assert fit_laplace(model, data, everything(model), prior_precision=1.0).fingerprint == one.fingerprint


def test_a_network_that_is_a_graph():
    model = chain()
    graph, _ = graph_of(model, images(4)[0])
    inside = [fit_laplace(m, batches(), last_layer(m, images(4)[0])) for m in (model, graph)]
    assert [list(p.subnetwork) for p in inside] == [["11.weight", "11.bias"]] * 2
    np.testing.assert_allclose(curvature(inside[0]), curvature(inside[1]), atol=1e-4)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.reader, self.head = nn.LSTM(8, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.reader(x.squeeze(1))[0][:, -1])


class Across(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 3)

    def forward(self, x):
        y = self.head(x.flatten(1))
        return y - y.mean(0)


class Rounding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 3)

    def forward(self, x):
        return self.head(x.flatten(1)) * float(x.sum().item() > 0)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (Recurrent(), "cannot differentiate 'reader' .LSTM. by example"),
        (nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64, track_running_stats=False), nn.Linear(64, 3)), "by its batch"),
        (Across(), "says something else to an example by itself"),
        (Rounding(), "which Rounding does not allow: RuntimeError"),
    ],
    ids=["recurrent", "batch norm", "across", "item"],
)
def test_layers_that_cannot_be_differentiated_by_example(model, why):
    with pytest.raises(BadInput, match=why) as error:
        fit_laplace(model, batches(), {"head.bias" if hasattr(model, "head") else "2.bias": torch.tensor([0])})
    assert "\n" not in str(error.value)


def test_memory_is_estimated_first():
    def never(*_):
        raise AssertionError("data were read")

    class Unread(list):
        __iter__ = never

    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 200), nn.ReLU(), nn.Linear(200, 3))
    with pytest.raises(BadInput, match=r"13,603 weights takes about 6\.9 GiB, memory allows 2\.0 GiB.*size=7327"):
        fit_laplace(model, Unread(), everything(model))
    with pytest.raises(AssertionError, match="data were read"):
        fit_laplace(model, Unread(), everything(model), memory=2**33)


def test_refusals():
    model, data = network(), points()
    inside = last_layer(model, data.inputs)
    with pytest.raises(BadInput, match="prior_precision is positive and finite; got 0"):
        fit_laplace(model, data, inside, prior_precision=0.0)
    with pytest.raises(SplitMisuse, match="fitting a Laplace approximation may use the train or validation split"):
        fit_laplace(model, points(split="test"), inside)
    with pytest.raises(BadInput, match="it has no 'head'"):
        fit_laplace(model, data, {"head": torch.tensor([0])})
    for bad in (torch.tensor([0, 0]), torch.tensor([15]), torch.tensor([0.5]), torch.tensor([-1])):
        with pytest.raises(BadInput, match="has 15 elements: name some by distinct flat indices"):
            fit_laplace(model, data, {"2.weight": bad})
    with pytest.raises(BadInput, match="at least one uncertain weight"):
        fit_laplace(model, data, {"2.weight": torch.tensor([], dtype=torch.int64)})
    with pytest.raises(BadInput, match=r"labels are whole numbers in 0 \.\. 2"):
        fit_laplace(model, [(data.inputs, data.labels + 1)], inside)
    with pytest.raises(BadInput, match=r"targets of shape \(30, 3\)"):
        fit_laplace(model, [(data.inputs, data.labels)], inside, likelihood="regression")
    with pytest.raises(BadInput, match=r"1 \.\. 35 weights; got size=36"):
        most_uncertain(model, data, size=36)
    posterior = fit_laplace(model, data, inside, prior_precision=1.0)
    with pytest.raises(BadInput, match="samples must be 2 or more; got 1"):
        predict_laplace(posterior, points(split="test"), samples=1)
    with pytest.raises(SplitMisuse, match="chosen on validation examples"):
        with_validated_prior(posterior, data)
    with pytest.raises(BadInput, match="nothing to predict"):
        predict_laplace(posterior, [], split="test")
    with torch.no_grad():
        model[2].weight.zero_()
        model[2].bias.zero_()
    with pytest.raises(BadInput, match=r"no prior precision .* choose prior_precision"):
        fit_laplace(model, data, inside)
