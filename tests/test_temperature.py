"""Temperature scaling against reference vectors, torch's gradients and a network whose temperature is known."""

import math

import numpy as np
import pytest
import torch

from prudent import temperature as module
from prudent.calibration import nll
from prudent.errors import BadInput, SplitMisuse
from prudent.temperature import fit_temperature, nll_at, scaled
from prudent.types import Predictions
from tests.conftest import predictions


def of(logits, y, split="validation"):
    return Predictions(logits=np.array(logits, np.float32), labels=np.array(y), split=split)


def test_against_reference(oracle):
    v = oracle("temperature_scaling")
    p = of(v["inputs"]["logits"], v["inputs"]["y"])
    found = fit_temperature(p)
    assert found == pytest.approx(v["expected"]["T"], abs=v["tolerance"])
    assert nll_at(p, temperature=1.0) == pytest.approx(v["expected"]["nll_before"], abs=1e-12)
    assert nll_at(p, temperature=found) == pytest.approx(v["expected"]["nll_after"], abs=1e-12)


def test_inside_the_mean_and_not_around_it(oracle):
    v = oracle("temperature_scaling_mc_dropout")
    logits, y, expected = np.array(v["inputs"]["logits_sample_input_class"]), v["inputs"]["y"], v["expected"]
    p = of(logits, y)
    assert fit_temperature(p) == pytest.approx(expected["T_inside_mean"], abs=v["tolerance"])
    assert nll_at(p, temperature=fit_temperature(p)) == pytest.approx(expected["nll_inside"], abs=1e-10)
    assert nll_at(p, temperature=1.0) == pytest.approx(expected["nll_inside_T1"], abs=1e-10)
    assert fit_temperature(of(logits.mean(axis=0), y)) == pytest.approx(expected["T_on_mean_logits"], abs=1e-5)
    pooled = of(np.log(p.probabilities), y)
    assert fit_temperature(pooled) == pytest.approx(expected["T_on_log_mean_prob"], abs=1e-5)


@pytest.mark.parametrize("members", [None, 3])
def test_the_gradient_is_0_there_and_no_grid_point_is_better(members):
    p = predictions(200, 4, members=members, split="validation", seed=3, scale=0.7)
    rng = np.random.default_rng(0)
    mean = p.probabilities
    labels = np.array([rng.choice(4, p=row) for row in mean])
    p = Predictions(logits=p.logits * 3, labels=labels, split="validation")
    found = fit_temperature(p)
    log_t = torch.tensor(math.log(found), dtype=torch.float64, requires_grad=True)
    probabilities = torch.softmax(torch.tensor(p.logits, dtype=torch.float64) / log_t.exp(), -1)
    joined = probabilities if members is None else probabilities.mean(0)
    loss = -joined[torch.arange(200), torch.tensor(labels)].log().mean()
    loss.backward()
    assert abs(float(log_t.grad)) < 1e-6
    best = float(loss.detach())
    assert best == pytest.approx(nll_at(p, temperature=found), abs=1e-12)
    assert all(nll_at(p, temperature=t) >= best - 1e-12 for t in np.geomspace(0.01, 100, 300))


def test_a_known_temperature_is_found():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(40_000, 3)) * 1.5
    weights = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (rng.random((40_000, 1)) > weights.cumsum(axis=1)).sum(axis=1)
    assert fit_temperature(of(logits * 2.5, labels)) == pytest.approx(2.5, rel=0.03)


@pytest.mark.parametrize("members", [None, 3])
def test_scaled_predictions_say_what_was_fitted(members):
    p = predictions(60, 3, members=members, split="validation")
    q = scaled(p, temperature=2.0)
    assert nll(q) == pytest.approx(nll_at(p, temperature=2.0), abs=1e-12)
    assert q.split == "validation"
    if members is None:
        assert (q.decisions == p.decisions).all()


def test_blocks_change_nothing(monkeypatch):
    p = predictions(50, 3, members=2, split="validation")
    whole = nll_at(p, temperature=1.3)
    assert whole == pytest.approx(nll(scaled(p, temperature=1.3)), abs=1e-7)
    monkeypatch.setattr(module, "BLOCK", 6 * 7)
    assert nll_at(p, temperature=1.3) == pytest.approx(whole, abs=1e-13)


def test_refusals():
    with pytest.raises(SplitMisuse, match="validation examples; these are from 'certification'"):
        fit_temperature(predictions(20, 3, split="certification"))
    with pytest.raises(BadInput, match="the lower the better"):
        fit_temperature(of(np.eye(3) * 4, [0, 1, 2]))
    with pytest.raises(BadInput, match="the higher the better"):
        fit_temperature(of(np.eye(3) * 4, [1, 2, 0]))
    with pytest.raises(BadInput, match="no temperature"):
        fit_temperature(of(np.zeros((3, 2)), [0, 1, 0]))
    with pytest.raises(BadInput, match="positive and finite; got 0"):
        scaled(predictions(3, 2), temperature=0.0)
    with pytest.raises(BadInput, match="true labels"):
        fit_temperature(Predictions(logits=np.zeros((3, 2), np.float32), split="validation"))
