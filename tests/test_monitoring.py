"""The monitor: never more false alarms than promised, and an alarm soon where the risk has risen."""

import itertools
import math

import numpy as np
import pytest
from scipy.integrate import quad

from prudent import monitoring
from prudent.errors import BadInput
from prudent.monitoring import EVERY, Monitor, monitor_from_json, monitor_to_json, share, watch


def evidence_by_definition(losses, alpha, every):
    """E after the last loss: each bet's mixture over rates above alpha by quadrature, shares of 1 for those to come."""
    n, total = len(losses), 0.0
    for j in range((n - 1) // every + 1):
        own = losses[j * every :]
        k, m = sum(own), len(own)

        def ratio(t, k=k, m=m):
            return (t / alpha) ** k * ((1 - t) / (1 - alpha)) ** (m - k)

        total += share(j) * quad(ratio, alpha, 1.0, epsabs=0, epsrel=1e-10)[0] / (1 - alpha)
    return total + 1 / ((n - 1) // every + 2)


def test_evidence_is_the_mixture_of_likelihood_ratios(monkeypatch):
    monkeypatch.setattr(monitoring, "EVERY", 10)
    rng = np.random.default_rng(0)
    for n in (1, 9, 10, 11, 35):
        losses = (rng.random(n) < 0.3).astype(float)
        found = watch(Monitor(alpha=0.2, delta=0.05), losses)
        assert math.exp(found.log_evidence) == pytest.approx(evidence_by_definition(losses.tolist(), 0.2, 10), rel=1e-8)
        assert (found.n, found.lost) == (n, losses.sum())


def test_shares_sum_to_one():
    assert sum(share(j) for j in range(50)) + 1 / 51 == pytest.approx(1)


@pytest.mark.parametrize("rate", [0.3, 0.2])
def test_false_alarms_by_enumeration_of_all_sequences(monkeypatch, rate):
    """P(an alarm within 9 losses) <= delta for a risk of at most alpha; new bets begin within."""
    monkeypatch.setattr(monitoring, "EVERY", 4)
    monkeypatch.setattr(monitoring, "MOST", 2)
    n, alpha, delta, total, caught = 9, 0.3, 0.4, 0.0, 0.0
    for outcome in itertools.product((0.0, 1.0), repeat=n):
        k = int(sum(outcome))
        if watch(Monitor(alpha=alpha, delta=delta), np.array(outcome)).alarm:
            total += rate**k * (1 - rate) ** (n - k)
            caught += 0.9**k * 0.1 ** (n - k)
    assert total <= delta
    assert caught > 0.8, "a monitor that never calls proves nothing"


def test_batches_give_what_one_run_gives():
    losses = (np.random.default_rng(1).random(2600) < 0.04).astype(float)
    whole = watch(Monitor(alpha=0.05, delta=0.05), losses)
    pieces = Monitor(alpha=0.05, delta=0.05)
    for piece in np.split(losses, [1, 999, 1000, 1001, 2100]):
        pieces = monitor_from_json(monitor_to_json(watch(pieces, piece)))
    assert pieces.log_evidence == pytest.approx(whole.log_evidence, rel=1e-12)
    assert (pieces.n, pieces.lost, pieces.alarm_at, pieces.begun) == (whole.n, whole.lost, whole.alarm_at, whole.begun)


def test_a_rise_is_found_soon_also_after_a_long_quiet_time():
    rng = np.random.default_rng(2)
    for quiet in (0, 20 * EVERY):
        delays = []
        for _ in range(10):
            start = watch(Monitor(alpha=0.05, delta=0.05), (rng.random(quiet + 1) < 0.02).astype(float))
            after = watch(start, (rng.random(4000) < 0.15).astype(float))
            assert after.alarm
            delays.append(after.alarm_at - quiet)
        assert np.median(delays) < 500


def test_the_state_stays_small_and_the_alarm_raised():
    quiet = watch(Monitor(alpha=0.05, delta=0.05), np.zeros(40 * EVERY))
    assert len(quiet.bets) == monitoring.MOST
    assert quiet.begun == 40
    alarmed = watch(watch(quiet, np.ones(200)), np.zeros(1000))
    assert alarmed.alarm
    assert alarmed.n > alarmed.alarm_at > 40 * EVERY


def test_fractional_losses_need_the_other_bet():
    losses = np.full(50, 0.5)
    with pytest.raises(BadInput, match="beta_mixture"):
        watch(Monitor(alpha=0.05, delta=0.05), losses)
    assert watch(Monitor(alpha=0.05, delta=0.05, bet="betting"), losses).alarm


@pytest.mark.parametrize("losses", [np.zeros(0), np.array([1.5]), np.array([np.nan])])
def test_what_is_no_stream_of_losses_is_refused(losses):
    with pytest.raises(BadInput, match="losses"):
        watch(Monitor(alpha=0.05, delta=0.05), losses)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"alpha": 0.05}', '{"alpha": 2, "delta": 0.1, "bets": []}'])
def test_what_is_no_state_is_refused(text):
    with pytest.raises(BadInput, match="state of a monitor|lies in"):
        monitor_from_json(text)


def test_parameters_out_of_range():
    with pytest.raises(BadInput, match="alpha lies"):
        Monitor(alpha=0.0, delta=0.1)
