"""Every procedure, one after the other: P(any wrong certificate) <= delta by enumeration of all outcomes."""

import numpy as np
import pytest
from scipy.stats import binom

from prudent.errors import BadInput, UnknownName
from prudent.procedures import PROCEDURES
from tests.joint_losses import assert_valid

NAMES = list(PROCEDURES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("n", "alpha", "delta"),
    [(6, 0.5, 0.05), (6, 0.5, 0.11), (6, 0.5, 0.35), (6, 0.35, 0.24), (5, 0.5, 0.19), (4, 0.4625, 0.7417)],
)
def test_any_false_rejection_has_chance_at_most_delta_by_enumeration(name, n, alpha, delta):
    assert_valid(PROCEDURES[name], n, alpha, delta)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shared", [True, False])
def test_any_false_rejection_has_chance_at_most_delta_by_simulation(name, shared):
    # 12 candidates on 150 examples; risks rise through alpha, fall below it and rise again
    risks = np.r_[np.linspace(0.02, 0.12, 7), 0.05, 0.08, 0.1, 0.1, 0.2]
    n, alpha, delta, runs = 150, 0.1, 0.1, 1500
    rng = np.random.default_rng(1)
    tail = binom.cdf(np.arange(n + 1), n, alpha)
    wrong = some = 0
    for _ in range(runs):
        lost = rng.random((n, 1 if shared else len(risks))) < risks
        rejected = PROCEDURES[name](tail[lost.sum(axis=0)], delta=delta)
        wrong += rejected[risks >= alpha].any()
        some += rejected.any()
    assert wrong / runs <= delta + 3 * np.sqrt(delta * (1 - delta) / runs)
    assert some / runs > 0.9, "valid, but useless"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("m", [1, 2, 3, 7])
def test_smaller_p_values_lose_no_rejection(name, m):
    rng = np.random.default_rng(2)
    seen = 0
    for _ in range(200):
        p = rng.random(m) ** 4
        smaller = p * np.where(rng.random(m) < 0.5, 1.0, rng.random(m))
        before, after = (PROCEDURES[name](values, delta=0.2) for values in (p, smaller))
        assert (after | ~before).all()
        seen += (after & ~before).any()
    assert seen


@pytest.mark.parametrize("name", NAMES)
def test_undefined_p_values_are_never_rejected_and_count_as_one(name):
    rng = np.random.default_rng(3)
    for _ in range(100):
        p = rng.random(6) ** 6
        gone = rng.random(6) < 0.4
        rejected = PROCEDURES[name](np.where(gone, np.nan, p), delta=0.3)
        assert not rejected[gone].any()
        assert (rejected == PROCEDURES[name](np.where(gone, 1.0, p), delta=0.3)).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("m", [1, 2, 5])
def test_answers_one_decision_for_each_candidate_and_leaves_its_input_alone(name, m):
    p = np.linspace(0.0, 1.0, m)
    p.setflags(write=False)
    rejected = PROCEDURES[name](p, delta=0.05)
    assert rejected.shape == (m,)
    assert rejected.dtype == np.bool_
    assert rejected[0]
    assert PROCEDURES[name](np.zeros(m), delta=0.05).any()
    assert not PROCEDURES[name](np.ones(m), delta=0.999).any()


@pytest.mark.parametrize("name", NAMES)
def test_one_candidate_is_a_plain_test(name):
    for p, passes in ((0.05, True), (np.nextafter(0.05, 1), False), (0.0, True), (1.0, False)):
        assert PROCEDURES[name](np.array([p]), delta=0.05).tolist() == [passes]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("p", "delta"),
    [
        (np.zeros(0), 0.1), (np.zeros((2, 2)), 0.1), (np.array(0.1), 0.1), (np.array(["a"]), 0.1),
        (np.array([0.1, -1e-9]), 0.1), (np.array([1.01]), 0.1), (np.array([np.inf]), 0.1),
        (np.array([0.1]), 0.0), (np.array([0.1]), 1.0), (np.array([0.1]), -0.1), (np.array([0.1]), float("nan")),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("unchecked")
def test_refuses(name, p, delta):
    with pytest.raises(BadInput):
        PROCEDURES[name](p, delta=delta)


@pytest.mark.parametrize("name", NAMES)
def test_names_its_source(name):
    what, source = PROCEDURES.summary(name)
    assert what.endswith(".")
    assert any(word.isdigit() and len(word) == 4 for word in source.replace(",", " ").split()), source


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("benjamini_hochberg", "false discovery rate"), ("BH", "false discovery rate"), ("fdr-by", "false discovery"),
        ("benjamini_yekutieli", "false discovery"), ("hochberg", "positively dependent"), ("Hommel", "dependent"),
        ("simes", "dependent"), ("storey", "false discovery"), ("holm-sidak", "dependent"),
    ],
)  # fmt: skip
def test_procedures_that_do_not_control_the_chance_of_a_wrong_claim_are_refused_with_the_reason(name, reason):
    for look in (PROCEDURES.__getitem__, PROCEDURES.find, PROCEDURES.module):
        with pytest.raises(UnknownName, match=reason) as refusal:
            look(name)
        assert name in str(refusal.value)
        assert "fixed_sequence" in str(refusal.value)


def test_other_names_get_the_list():
    with pytest.raises(UnknownName, match="Did you mean 'holm'"):
        PROCEDURES["holmes"]
    with pytest.raises(AttributeError, match="benjamini"):
        import prudent.procedures

        _ = prudent.procedures.benjamini
