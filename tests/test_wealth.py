"""E-processes batch by batch: the numbers of one run, saved and gone on with."""

import json

import numpy as np
import pytest

from prudent.eprocesses import log_wealth_beta_mixture, log_wealth_betting, log_wealth_fixed_bet
from prudent.errors import BadInput
from prudent.wealth import Wealth, advance, from_json, to_json

BINARY = (np.random.default_rng(0).random(400) < 0.04).astype(float)
FRACTIONS = np.random.default_rng(1).beta(0.3, 4, 400)


def whole(bet, losses):
    if bet == "fixed_bet":
        return log_wealth_fixed_bet(losses, 0.1, lam=0.3)
    if bet == "betting":
        return log_wealth_betting(losses, 0.1, delta=0.02, horizon=250)
    return log_wealth_beta_mixture(losses, 0.1)


@pytest.mark.parametrize(
    ("bet", "losses"),
    [
        ("fixed_bet", BINARY), ("fixed_bet", FRACTIONS), ("betting", BINARY), ("betting", FRACTIONS),
        ("beta_mixture", BINARY),
    ],
)  # fmt: skip
@pytest.mark.parametrize("cuts", [[], [1], [1, 2, 3, 200], list(range(1, 400, 7))])
def test_batches_give_the_numbers_of_one_run(bet, losses, cuts):
    state = Wealth(bet=bet, alpha=0.1, lam=0.3, delta=0.02, horizon=250)
    paths = []
    for batch in np.split(losses, cuts):
        state, path = advance(state, batch)
        paths.append(path)
        state = from_json(to_json(state))  # a restart after every batch
    expected = whole(bet, losses)
    np.testing.assert_allclose(np.concatenate(paths), expected, rtol=1e-12, atol=1e-12)
    assert state.n == 400
    assert state.total == pytest.approx(losses.sum(), rel=1e-12)
    assert state.log_wealth == pytest.approx(expected[-1], abs=1e-12)
    assert state.log_peak == pytest.approx(max(0, expected.max()), abs=1e-12)
    assert state.p_value == pytest.approx(min(1, np.exp(-expected.max())), rel=1e-10)


def test_the_p_value_never_rises():
    state, seen = Wealth(bet="betting", alpha=0.1), [1.0]
    for batch in np.split(np.r_[np.zeros(240), np.ones(60)], 10):
        state, _ = advance(state, batch)
        seen.append(state.p_value)
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] < 0.1
    assert state.log_wealth < 0 < state.log_peak


def test_a_state_is_not_changed_and_is_plain_json():
    state = Wealth(bet="beta_mixture", alpha=0.1)
    advance(state, np.zeros(5))
    assert state == Wealth(bet="beta_mixture", alpha=0.1)
    values = json.loads(to_json(state))
    assert values["n"] == 0
    assert from_json(json.dumps(values | {"alpha": 0.25, "total": 0})) == Wealth(bet="beta_mixture", alpha=0.25)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "changes",
    [
        {"bet": "roulette"}, {"bet": 3}, {"alpha": 0.0}, {"alpha": "0.1"}, {"lam": 3.0}, {"delta": 1}, {"horizon": 0},
        {"n": 1.5}, {"n": True}, {"total": 11}, {"total": -1}, {"squares": 11}, {"log_wealth": 2.0}, {"log_peak": -1.0},
        {"surplus": 1},
    ],
)  # fmt: skip
def test_refuses_states_that_cannot_be(changes):
    state, _ = advance(Wealth(bet="fixed_bet", alpha=0.1), np.zeros(10))
    values = json.loads(to_json(state)) | changes
    with pytest.raises(BadInput):
        from_json(json.dumps(values))


def test_other_refusals():
    for text in ("", "[]", "{}", "{", '"x"', '{"alpha": NaN}'):
        with pytest.raises(BadInput, match="state of an e-process"):
            from_json(text)
    nan = to_json(Wealth(bet="betting", alpha=0.1)).replace('"log_wealth": 0.0', '"log_wealth": NaN')
    with pytest.raises(BadInput):
        from_json(nan)
    state = Wealth(bet="beta_mixture", alpha=0.1)
    for losses in (np.zeros(0), np.array([0.5]), np.array([2.0]), np.zeros((2, 2))):
        with pytest.raises((BadInput, TypeError)):
            advance(state, losses)
