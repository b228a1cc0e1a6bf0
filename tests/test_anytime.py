"""Anytime certification: what it selects, what it costs, and how often it is wrong."""

import itertools

import numpy as np
import pytest
from scipy.stats import betabinom, binom

from prudent.anytime import certify_anytime, log_beta_binomial
from prudent.certification import certify
from prudent.errors import BadInput
from prudent.types import Losses


def run(values, *, alpha=0.1, delta=0.1, **options):
    m = values.shape[1]
    asked = []
    options = {"bound": "beta_mixture", "futility": 0.01} | options

    def evaluate(candidate, examples):
        asked.append((candidate, examples.start, examples.stop))
        return values[examples, candidate]

    found = certify_anytime(
        evaluate, n=len(values), sparsities=tuple(i / m for i in range(m)), alpha=alpha, delta=delta, **options
    )
    return found, asked


@pytest.mark.parametrize(("name", "every"), [("anytime_stop_every40", 40), ("anytime_stop_none", None)])
def test_stops_where_the_oracle_stops(oracle, name, every):
    vector = oracle(name)
    values = np.zeros((400, 1))
    if every:
        values[every - 1 :: every] = 1.0
    given = vector["inputs"]
    found, _ = run(values, alpha=given["alpha"], delta=given["delta"], batch=7)
    assert found.certificate.sizes == (vector["expected"]["n_stop"],)
    assert found.certificate.counts == (vector["expected"]["errors"],)
    assert found.certificate.selected == 0


def test_stops_at_the_first_candidate_that_is_not_certified_and_asks_for_no_more():
    values = np.zeros((500, 4))
    values[::2, 2] = 1.0
    found, asked = run(values, batch=20)
    assert found.certificate.selected == 1
    assert found.certificate.states == ("passed", "passed", "stopped", "not tested")
    assert {candidate for candidate, _, _ in asked} == {0, 1, 2}
    assert found.evaluated[3] == 0
    assert found.certificate.p_values[3] == 1.0
    assert found.forward_examples == sum(stop - start for _, start, stop in asked) == sum(found.evaluated)
    assert found.evaluated[2] < 100, "every second example lost: hopeless after few"


def test_examples_are_asked_for_in_order_and_once():
    values = (np.random.default_rng(0).random((300, 2)) < 0.05).astype(float)
    _, asked = run(values, batch=32)
    for _candidate, calls in itertools.groupby(asked, key=lambda call: call[0]):
        own = list(calls)
        assert own[0][1] == 0
        assert all(before[2] == after[1] for before, after in itertools.pairwise(own))


def test_the_certificate_follows_from_the_losses_and_only_by_an_e_value():
    values = (np.random.default_rng(1).random((400, 3)) < 0.03).astype(float)
    found, _ = run(values)
    again = certify(found.losses, alpha=0.1, delta=0.1, bound="beta_mixture")
    assert again == found.certificate
    with pytest.raises(BadInput, match="decided by looking"):
        certify(found.losses, alpha=0.1, delta=0.1, bound="binomial")


@pytest.mark.parametrize("futility", [0.0, 0.3])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("rate", [0.3, 0.4])
def test_valid_by_enumeration_of_all_sequences(rate, batch, futility):
    """P(certified) <= delta at and above the boundary, over all 2^9 outcomes of one candidate."""
    n, alpha, delta = 9, 0.3, 0.3
    total = power = 0.0
    for outcome in itertools.product((0.0, 1.0), repeat=n):
        values = np.array(outcome)[:, None]
        found, _ = run(values, alpha=alpha, delta=delta, batch=batch, futility=futility)
        k = int(sum(outcome))
        if found.certificate.selected is not None:
            total += rate**k * (1 - rate) ** (n - k)
            power += 0.02**k * 0.98 ** (n - k)
    assert total <= delta
    assert power > 0.5, "a test that never certifies proves nothing"


def test_a_candidate_given_up_would_rarely_have_passed():
    """With futility 0.05 the selection is at most a step behind the one without, and costs less."""
    rng, later, cost = np.random.default_rng(2), 0, [0, 0]
    rates = np.linspace(0.02, 0.2, 8)
    for _ in range(30):
        values = (rng.random((400, 1)) < rates).astype(float)
        eager, patient = (run(values, futility=f, batch=16)[0] for f in (0.05, 0.0))
        chosen = [-1 if f.certificate.selected is None else f.certificate.selected for f in (eager, patient)]
        assert chosen[0] <= chosen[1], "giving up can only lose candidates"
        later += chosen[1] - chosen[0]
        cost = [cost[0] + eager.forward_examples, cost[1] + patient.forward_examples]
    assert later <= 10
    assert cost[0] < cost[1]


def test_ten_times_fewer_examples_than_evaluating_everything():
    rng = np.random.default_rng(3)
    rates = 0.01 + 0.3 * np.clip(np.linspace(-1, 1, 20), 0, None) ** 3
    for _ in range(5):
        values = (rng.random((5000, 1)) < rates).astype(float)
        found, _ = run(values, alpha=0.05, delta=0.05)
        full = Losses(values=values, names=found.losses.names, sparsities=found.losses.sparsities, loss="error",
                      split="certification")  # fmt: skip
        best = certify(full, alpha=0.05, delta=0.05).selected
        assert values.size >= 10 * found.forward_examples
        assert best - found.certificate.selected in (0, 1)


def test_the_last_count_that_can_pass_is_not_given_up():
    """At the very end the rule agrees with the bound: k_max losses pass, one more does not."""
    n, alpha, delta = 200, 0.1, 0.05
    for late in range(30):
        values = np.zeros((n, 1))
        values[:late, 0] = 1.0
        found, _ = run(values, alpha=alpha, delta=delta, futility=0.0, batch=10)
        p = found.certificate.p_values[0]
        assert (found.certificate.selected == 0) == (p <= delta)
        if late == 0:
            assert found.certificate.selected == 0
    assert binom.cdf(29, n, alpha) > delta


@pytest.mark.parametrize(
    ("change", "message"),
    [({"n": 0}, "at least one"), ({"batch": 0}, "at least one"), ({"sparsities": ()}, "at least one"),
     ({"alpha": 1.0}, "alpha lies"), ({"delta": 0.0}, "delta lies"), ({"futility": 1.0}, "futility lies"),
     ({"names": ("a", "b")}, "as many names"), ({"sparsities": (0.5, 0.2)}, "densest to the sparsest"),
     ({"loss": "brier"}, "lies in"), ({"loss": "top_k_error"}, "needs the options"), ({"n": 10.0}, "whole numbers"),
     ({"bound": "hoeffding"}, "group_sequential or beta_mixture")],
)  # fmt: skip
def test_bad_input_is_refused_before_anything_is_evaluated(change, message):
    def never(candidate, examples):
        raise AssertionError("evaluated")

    given = {"n": 10, "sparsities": (0.5,), "alpha": 0.1, "delta": 0.1} | change
    with pytest.raises(BadInput, match=message):
        certify_anytime(never, **given)


def test_losses_in_between_are_refused():
    with pytest.raises(BadInput, match="losses of 0 and 1"):
        run(np.full((10, 1), 0.5))


def test_the_predictive_chance_is_that_of_scipy():
    for k, n, a, b in ((0, 10, 0.5, 3.5), (4, 10, 2.5, 30.5), (10, 10, 1.5, 1.5), (300, 9000, 20.5, 600.5)):
        assert log_beta_binomial(k, n, a, b) == pytest.approx(betabinom.logcdf(k, n, a, b), rel=1e-8, abs=1e-12)
