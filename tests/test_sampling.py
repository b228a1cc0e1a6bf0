"""Sampling: unbiased by simulation and by integration, expected counts by simulation, errors by Bernstein."""

import math

import numpy as np
import pytest
import torch

from prudent.sampling import arrivals, corrections, draws_for, relative_error

P = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05, 0.0])
MANY = 200_000


def drawn(k, *, keep_large, seed=0, p=P):
    """Many independent drawings of k units: what is kept, and the corrections."""
    rows = p.expand(MANY, -1)
    times = arrivals(rows, generator=torch.Generator().manual_seed(seed), keep_large=keep_large)
    kept = times.argsort(dim=-1).argsort(dim=-1) < k
    return kept, corrections(rows, times, kept, keep_large=keep_large)


@pytest.mark.parametrize("keep_large", [False, True])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_corrected_units_are_right_on_average(k, keep_large):
    kept, factors = drawn(k, keep_large=keep_large)
    estimate = (factors * kept)[:, :5]
    assert (kept.sum(dim=-1) == k).all()
    if k == 1 and keep_large:  # no finite variance: the mean of what is cut off can only be too small
        assert (estimate.clamp(max=50).mean(dim=0) < 1.02).all()
        return
    spread = estimate.std(dim=0) / MANY**0.5
    assert ((estimate.mean(dim=0) - 1).abs() < 5 * spread + 1e-9).all()
    products = estimate[:, :, None] * estimate[:, None, :]
    covariance = products.mean(dim=0) - 1
    off = ~torch.eye(5, dtype=torch.bool)
    if k > 2:  # (of 2 kept, products have no finite variance)
        assert (covariance[off].abs() < 6 * (products.std(dim=0) / MANY**0.5)[off] + 1e-9).all()
    # the variance of sum_j y_j, y_j = p_j g_j with g <= 1, is at most that of k - 1 draws with replacement
    y = P[:5].double() * torch.tensor([1.0, 0.2, 1.0, 0.5, 0.9], dtype=torch.float64)
    assert float((estimate * y).sum(dim=-1).var()) <= float(y.sum()) / max(1, k - 1) * 1.01


def test_order_is_that_of_first_appearances_in_a_multinomial_sequence():
    kept, _ = drawn(2, keep_large=False)
    rng = np.random.default_rng(0)
    draws = rng.choice(6, size=(20_000, 200), p=P.double().numpy() / P.double().numpy().sum())
    first_two = np.zeros((20_000, 6))
    for row, sequence in enumerate(draws):
        first_two[row, list(dict.fromkeys(sequence))[:2]] = 1
    assert np.abs(kept.double().mean(dim=0).numpy() - first_two.mean(axis=0)).max() < 0.02


def test_two_of_three_by_summation():
    """E[correction of unit 1] = 1: summed over quantiles of the other two's arrivals; the later is lost."""
    rates = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    grid = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    times = torch.cartesian_prod(-torch.log1p(-grid) / 0.3, -torch.log1p(-grid) / 0.2)
    lost = times.amax(dim=-1)
    times = torch.cat([times.amin(dim=-1, keepdim=True) / 2, times], dim=-1)  # unit 1 came some time before `lost`
    factor = corrections(rates.expand_as(times), times, times < lost[:, None])[:, 0]
    assert float((factor * -torch.expm1(-0.5 * lost)).mean()) == pytest.approx(1, abs=1e-9)
    alone = corrections(rates, torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor([True, False, False]))[0]
    assert float(alone) == pytest.approx(2)  # first with chance 1 / 2


def test_no_correction_where_nothing_is_lost_or_the_mask_is_anothers():
    p = torch.tensor([0.5, 0.3, 0.2, 0.0])
    times = torch.tensor([1.0, 2.0, 3.0, math.inf], dtype=torch.float64)
    for kept in ([1, 1, 1, 1], [1, 1, 1, 0], [0, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]):
        assert torch.equal(corrections(p, times, torch.tensor(kept).bool()), torch.ones(4, dtype=torch.float64))
    expected = torch.tensor([1 / (1 - math.exp(-1.5)), 1 / (1 - math.exp(-0.9)), 1, 1], dtype=torch.float64)
    assert torch.allclose(corrections(p, times, torch.tensor([True, True, False, False])), expected, atol=1e-6)
    expected = torch.tensor([1.0, 1 / 0.9, 1, 1], dtype=torch.float64)
    large = corrections(p, times, torch.tensor([True, True, False, False]), keep_large=True)
    assert torch.allclose(large, expected, atol=1e-6)


def test_draws_for_expected_distinct_units():
    p = torch.tensor([0.5, 0.2, 0.2, 0.1, 0.0])
    targets = torch.tensor([0.5, 1.0, 2.5, 3.999], dtype=torch.float64)
    draws = draws_for(targets, p)
    assert draws[1] == pytest.approx(1, abs=1e-6)  # one draw, one unit
    back = (1 - (1 - p.double())[None, :] ** draws[:, None]).sum(dim=-1)
    assert torch.allclose(back, targets, atol=1e-6)
    # by simulation: 5 draws
    rng = np.random.default_rng(0)
    counts = rng.multinomial(5, p.double().numpy() / p.double().numpy().sum(), size=50_000)
    distinct = (counts > 0).sum(axis=1).mean()
    assert float(draws_for(torch.tensor([distinct], dtype=torch.float64), p)[0]) == pytest.approx(5, abs=0.05)
    assert torch.isfinite(draws_for(torch.tensor([0.5]), torch.tensor([1.0, 0.0]))).all()


def test_relative_error_is_bernstein_solved_for_eps():
    draws, total = torch.tensor([1.0, 10.0, 1000.0]), torch.tensor([0.5, 7.0, 300.0])
    eps = relative_error(draws, total)
    # 2 exp(-m eps^2 / (S (2 + 2 eps / 3))) = delta, with total = S ln(2 / delta)
    assert torch.allclose(draws * eps**2 / (2 + 2 * eps / 3), total.double())
    assert torch.allclose((6 + 2 * eps) * total / (3 * eps**2), draws.double())
    assert float(relative_error(torch.tensor(0.0), torch.tensor(2.0))) == math.inf
    assert float(relative_error(torch.tensor(0.0), torch.tensor(0.0))) == 0
