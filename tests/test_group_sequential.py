"""The group-sequential p-value against sums over all sequences, and what the walk by it certifies."""

import itertools
from functools import cache

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom

import prudent.anytime
import prudent.bounds.group_sequential as looked
from prudent.anytime import certify_anytime
from prudent.bounds.group_sequential import boundary, crossing, group_sequential, looks_of
from prudent.cascades import ServedTable, Thresholds, certify_served
from prudent.certificate_documents import assumptions
from prudent.certification import certify, check
from prudent.errors import BadInput
from prudent.monitoring import Monitor
from prudent.types import Losses


@pytest.fixture
def often(monkeypatch):
    """A look after every second example, so that short sequences have several; the same boundary is found once."""
    monkeypatch.setattr(looked, "EVERY", 2)
    monkeypatch.setattr(prudent.anytime, "boundary", cache(boundary))


def limit(lost, seen, n):
    """The risk at which so few losses have the level of their look, by its definition."""
    level = 0.0125 * (seen / n) ** 0.25
    return 1.0 if lost == seen else brentq(lambda u: binom.cdf(lost, seen, u) - level, 0, 1, xtol=1e-14)


def p_values(sequences, alpha, n):
    """Of each sequence; those with the same counts at the looks have the same one, which is computed once."""
    at = [t for t in looks_of(n).tolist() if t <= sequences.shape[1]]
    _, first, back = np.unique(np.cumsum(sequences, axis=1)[:, np.array(at, dtype=int) - 1], axis=0, return_index=True,
                               return_inverse=True)  # fmt: skip
    return np.array([group_sequential(sequences[i], alpha, n=n) for i in first])[back.reshape(-1)]


def every_sequence(n):
    return np.array(list(itertools.product((0.0, 1.0), repeat=n)))


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("n", [4, 7])
@pytest.mark.parametrize("alpha", [0.15, 0.4, 0.7])
def test_it_is_the_chance_of_all_sequences_that_are_as_good(n, alpha):
    sequences, looks = every_sequence(n), looks_of(n)
    assert looks.tolist() == [*range(2, n, 2), n]
    lost = np.cumsum(sequences, axis=1)
    best = np.array([min(limit(int(row[t - 1]), int(t), n) for t in looks) for row in lost])
    chance = np.where(sequences == 1, alpha, 1 - alpha).prod(axis=1)
    expected = [chance[best <= own + 1e-9].sum() for own in best]
    assert p_values(sequences, alpha, n) == pytest.approx(expected, rel=1e-9)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("alpha", [0.1, 0.3])
@pytest.mark.parametrize("risk", [0.0, 0.15])
def test_valid_whenever_one_stops_by_enumeration(alpha, risk):
    """P(p ever falls to t) <= t at risks of alpha and above, and nearly equal at alpha: nothing is given away."""
    n = 9
    sequences = every_sequence(n)
    lowest = np.min([p_values(sequences[:, :m], alpha, n) for m in range(2, n + 1)], axis=0)
    chance = np.where(sequences == 1, alpha + risk, 1 - alpha - risk).prod(axis=1)
    for level in np.unique(lowest):
        wrong = chance[lowest <= level].sum()
        assert wrong <= level * (1 + 1e-9)
        assert risk > 0 or wrong == pytest.approx(level, rel=1e-9), "exact at the boundary"


def test_the_sum_over_paths_is_that_of_one_example_after_the_other():
    looks, most, alpha = np.array([20, 40, 55]), np.array([0, 2, 4]), 0.08
    state, crossed = np.zeros(60), 0.0
    state[0] = 1.0
    for t in range(1, 56):
        state = (1 - alpha) * state + alpha * np.r_[0.0, state[:-1]]
        for look, few in zip(looks, most, strict=True):
            if t == look:
                crossed += state[: few + 1].sum()
                state[: few + 1] = 0.0
    assert crossing(most, looks, alpha) == pytest.approx(crossed, rel=1e-12)
    assert crossing(np.array([-1, -1, -1]), looks, alpha) == 0.0


@pytest.mark.parametrize("n", [1, 70, 300, 1000])
@pytest.mark.parametrize("alpha", [1e-6, 0.01, 0.5, 0.999])
def test_however_small_it_is_never_below_the_sum_over_paths(n, alpha):
    rng = np.random.default_rng(n)
    for _ in range(20):
        looks = np.unique(rng.integers(1, n + 1, 4))
        most = np.minimum(np.maximum.accumulate(rng.integers(-1, max(2, n // 3), len(looks))), looks)
        chance, crossed, before = np.ones(1), 0.0, 0
        for look, limit in zip(looks, most, strict=True):
            step = binom.pmf(np.arange(look - before + 1), look - before, alpha)
            chance, before = np.convolve(chance, step), look
            crossed += chance[: limit + 1].sum()
            chance[: limit + 1] = 0
        # the smallest here are of the size of 1e-300, and each counts
        found = crossing(most, looks, alpha)
        assert crossed * (1 - 1e-9) - 1e-307 <= found <= crossed * (1 + 1e-9) + 1e-39


@pytest.mark.parametrize(
    ("n", "alpha", "delta"), [(300, 0.1, 0.05), (1000, 0.02, 0.1), (5000, 0.03, 0.05), (64, 0.1, 0.01)]
)
def test_the_boundary_is_what_p_values_cross(n, alpha, delta):
    looks, most = boundary(n, alpha=alpha, delta=delta)
    assert crossing(most, looks, alpha) <= delta
    assert (np.diff(most) >= 0).all()
    rng = np.random.default_rng(0)
    for rate in (0.2 * alpha, 0.6 * alpha, 0.9 * alpha):
        losses = (rng.random(n) < rate).astype(float)
        lost = np.cumsum(losses)[looks - 1]
        for t, k, few in zip(looks[::7], lost[::7], most[::7], strict=True):
            passed = (lost[looks <= t] <= most[looks <= t]).any()
            assert (group_sequential(losses[:t], alpha, n=n) <= delta) == passed, (t, k, few)


def test_it_keeps_most_of_what_all_examples_would_show():
    for n, alpha in ((5000, 0.01), (5000, 0.03), (500, 0.1)):
        _, most = boundary(n, alpha=alpha, delta=0.05)
        whole = int(binom.ppf(0.05, n, alpha)) - 1
        assert binom.cdf(whole, n, alpha) <= 0.05 < binom.cdf(whole + 1, n, alpha)
        assert 0.85 * whole <= most[-1] <= whole


def test_simulated_walks_at_the_boundary_are_wrong_as_often_as_delta():
    n, alpha, delta, draws = 640, 0.05, 0.1, 4000
    looks, most = boundary(n, alpha=alpha, delta=delta)
    lost = np.cumsum(np.random.default_rng(1).random((draws, n)) < alpha, axis=1)[:, looks - 1]
    wrong = (lost <= most).any(axis=1).mean()
    assert wrong <= delta + 4 * np.sqrt(delta * (1 - delta) / draws)
    assert wrong >= 0.8 * delta, "and hardly less: its level is used"


def test_before_the_first_look_nothing_is_known():
    assert group_sequential(np.zeros(63), 0.1, n=1000) == 1.0
    assert group_sequential(np.zeros(64), 0.1, n=1000) < 0.01
    assert len(looks_of(10**6)) <= looked.LOOKS
    assert looks_of(1).tolist() == [1]


@pytest.mark.parametrize(("change", "message"), [({"n": 50}, "were planned"), ({"alpha": 1.0}, "alpha lies")])
def test_refusals(change, message):
    given = {"alpha": 0.1, "n": 100} | change
    with pytest.raises(BadInput, match=message):
        group_sequential(np.zeros(80), **given)
    with pytest.raises(BadInput, match="0 and 1 only"):
        group_sequential(np.full(80, 0.5), 0.1)
    with pytest.raises(BadInput, match="a boundary needs"):
        boundary(0, alpha=0.1, delta=0.1)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize(("batch", "futility"), [(1, 0.3), (3, 0.0), (7, 0.0)])
def test_the_walk_is_valid_by_enumeration_of_all_sequences(batch, futility):
    """P(certified) <= delta at and above the boundary, over all 2^7 outcomes of one candidate."""
    n, alpha, delta, total = 7, 0.3, 0.3, {0.3: 0.0, 0.4: 0.0}
    for outcome in every_sequence(n):
        found = certify_anytime(lambda j, s, outcome=outcome: outcome[s], n=n, sparsities=(0.5,), alpha=alpha,
                                delta=delta, batch=batch, futility=futility)  # fmt: skip
        if found.certificate.selected is not None:
            for rate in total:
                total[rate] += float(np.where(outcome == 1, rate, 1 - rate).prod())
    assert 0.02 < total[0.4] < total[0.3] <= delta


@pytest.mark.usefixtures("often")
def test_the_walk_over_two_candidates_that_share_examples_is_valid():
    """The first has a risk of 0.2, the second one of 0.5 that includes it: all outcomes of both, at alpha = 0.4."""
    n, alpha, delta, wrong = 5, 0.4, 0.3, 0.0
    for kinds in itertools.product(range(3), repeat=n):  # 0: none loses, 1: the second alone, 2: both
        lost = np.array([[kind == 2, kind > 0] for kind in kinds], dtype=float)
        found = certify_anytime(lambda j, s, lost=lost: lost[s, j], n=n, sparsities=(0.1, 0.2), alpha=alpha,
                                delta=delta, batch=2)  # fmt: skip
        if found.certificate.selected == 1:
            wrong += float(np.prod(np.array([0.5, 0.3, 0.2])[list(kinds)]))
    assert 0 < wrong <= delta


def test_certificates_of_the_walk_follow_from_their_losses_and_any_batch_gives_the_same():
    values = (np.random.default_rng(0).random((1000, 3)) < [0.02, 0.05, 0.3]).astype(float)

    def run(batch, **options):
        return certify_anytime(lambda j, s: values[s, j], n=1000, sparsities=(0.1, 0.2, 0.3), alpha=0.1, delta=0.1,
                               batch=batch, futility=0.0, **options)  # fmt: skip

    found = run(64)
    assert found.certificate.bound == "group_sequential"
    assert found.certificate.selected == 1
    check(found.certificate, found.losses)
    again = certify(found.losses, alpha=0.1, delta=0.1, bound="group_sequential")
    assert again == found.certificate
    for i in (0, 1):
        own = found.losses.column(i)
        assert found.certificate.p_values[i] == group_sequential(own, 0.1, n=1000)
        assert found.certificate.p_values[i] > group_sequential(own, 0.1), "as if so few had been planned"
    for batch in (1, 50, 1000):
        other = run(batch)
        assert other.certificate.sizes[:2] == found.certificate.sizes[:2]
        assert other.certificate.p_values[:2] == found.certificate.p_values[:2]
    assert "How many examples there would be at most was fixed beforehand." in assumptions(found.certificate)
    mixture = run(64, bound="beta_mixture").certificate
    assert not any("at most was fixed" in said for said in assumptions(mixture))
    assert mixture.bound == "beta_mixture"
    assert mixture.selected == 1
    with pytest.raises(BadInput, match="group_sequential or beta_mixture"):
        run(64, bound="binomial")


def test_numbers_that_are_none_are_refused_in_one_line():
    values = np.zeros((200, 1))
    losses = Losses(values=values, names=("a",), sparsities=(0.1,), loss="error", split="certification")
    assert certify([losses, losses], alpha=np.array([0.1, 0.2]), delta=0.1).alpha == 0.2
    for given in ({"alpha": "0.1", "delta": 0.1}, {"alpha": 0.1, "delta": "0.1"}, {"alpha": None, "delta": 0.1}):
        with pytest.raises(BadInput, match="is a number; got"):
            certify(losses, **given)
    with pytest.raises(BadInput, match="a monitor bets by"):
        Monitor(alpha=0.1, delta=0.1, bet="fixed_bet")
    with pytest.raises(BadInput, match="alpha lies in"):
        certify_served(Thresholds(values=(1.0,)), ServedTable(margins=np.ones(3), differs=np.zeros(3, bool)),
                       alpha=2.0, delta=0.1)  # fmt: skip
