"""Plans for losses that are no counts, against the bound itself on losses drawn by hand."""

import json

import numpy as np
import pytest

from prudent.bet_forecasts import examples_by_bets, least_examples_by_bets, most_lost_by_bets, shares
from prudent.bounds.betting import betting
from prudent.cli import run
from prudent.errors import BadInput
from prudent.forecasts import forecast, forecast_jointly

DELTA = 0.1
LEVELS = {"accuracy_drop": (0.05, (1 + 0.05) / 2), "brier": (0.4, 0.2)}
"""Alpha in the risk's own units, and on the scale from 0 to 1."""


def passing(draw, level, *, draws=150, seed=1):
    """How often the bound passes on losses that `draw` makes."""
    rng = np.random.default_rng(seed)
    return np.mean([betting(draw(rng), level) <= DELTA for _ in range(draws)])


@pytest.mark.parametrize("risk", LEVELS)
def test_the_least_number_is_where_the_bound_passes_without_losses(risk):
    _, level = LEVELS[risk]
    n = least_examples_by_bets(risk, level=level, delta=DELTA)
    none = 0.5 if risk == "accuracy_drop" else 0.0
    assert betting(np.full(n, none), level) <= DELTA < betting(np.full(n - 1, none), level)


@pytest.mark.parametrize(("risk", "rate", "changed"), [("accuracy_drop", 0.0, 0.1), ("accuracy_drop", 0.02, None),
                                                       ("brier", 0.2, None)])  # fmt: skip
def test_so_many_examples_pass_about_as_often_as_was_asked_for(risk, rate, changed):
    _, level = LEVELS[risk]
    n = examples_by_bets(risk, rate, level=level, delta=DELTA, power=0.8, changed=changed)
    chances = shares(risk, rate, changed)

    def draw(size):
        return lambda rng: rng.choice([0.0, 0.5, 1.0], size, p=chances)

    assert passing(draw(n), level) >= 0.8 - 0.12
    assert passing(draw(int(0.6 * n)), level) < 0.8


@pytest.mark.parametrize("risk", LEVELS)
def test_so_many_losses_pass_in_most_orders(risk):
    n, (_, level) = 400, LEVELS[risk]
    k = most_lost_by_bets(risk, n, level=level, delta=DELTA, power=0.8)
    none = 0.5 if risk == "accuracy_drop" else 0.0

    def draw(lost):
        return lambda rng: rng.permutation(np.r_[np.ones(lost), np.full(n - lost, none)])

    assert passing(draw(k), level) >= 0.8 - 0.12
    assert passing(draw(k + 6), level) < 0.8
    assert most_lost_by_bets(risk, 3, level=level, delta=DELTA, power=0.8) is None


@pytest.mark.parametrize(("rate", "changed"), [(0.03, None), (0.03, 0.2), (-0.1, 0.1), (0.0, None)])
def test_shares_have_the_mean_and_the_changes_that_were_said(rate, changed):
    wrong_to_right, same, right_to_wrong = shares("accuracy_drop", rate, changed)
    assert right_to_wrong - wrong_to_right == pytest.approx(rate)
    assert right_to_wrong + wrong_to_right == pytest.approx(abs(rate) if changed is None else changed)
    assert wrong_to_right + same + right_to_wrong == pytest.approx(1)
    low, between, high = shares("brier", 0.3)
    assert (between, 2 * high, low + high) == pytest.approx((0.0, 0.3, 1.0))


def test_the_forecast_names_its_assumption_and_what_cannot_be():
    found = forecast("brier", alpha=0.4, delta=DELTA, n=300, rate=0.1)
    assert found["most_losses"] > 0
    assert "worst case" in found["assumed"]
    assert forecast("accuracy_drop", alpha=0.02, delta=DELTA, rate=0.02)["examples_for_rate"] is None
    more = forecast("accuracy_drop", alpha=0.05, delta=DELTA, rate=0.01, changed=0.3)["examples_for_rate"]
    assert more > forecast("accuracy_drop", alpha=0.05, delta=DELTA, rate=0.01)["examples_for_rate"]
    joint = forecast_jointly(["error", "accuracy_drop"], alphas=[0.1, 0.05], delta=DELTA, n=500)
    assert joint["possible"]


@pytest.mark.parametrize(
    ("risk", "change", "message"),
    [
        ("error", {"rate": 2.0}, "lies in"), ("error", {"rate": float("nan")}, "lies in"), ("error", {"n": 0}, "whole"),
        ("error", {"power": 1.0}, "power in"), ("error", {"bound": "mcdiarmid"}, "certified by 'binomial'"),
        ("calibration", {"bound": "binomial"}, "certified by 'mcdiarmid'"), ("calibration", {"n": 0}, "whole"),
        ("calibration", {"rate": -0.1}, "lies in"), ("error", {"changed": 0.1}, "belongs to 'accuracy_drop'"),
        ("accuracy_drop", {"rate": 0.1, "changed": 0.05}, "share of changed"), ("brier", {"rate": 2.5}, "lies in"),
        ("brier", {"bound": "hoeffding_bentkus"}, "planned by the bound 'betting'"), ("brier", {"alpha": 2.0}, "alpha"),
    ],
)  # fmt: skip
def test_what_is_no_plan_is_refused(risk, change, message):
    with pytest.raises(BadInput, match=message):
        forecast(risk, **({"alpha": 0.1, "delta": 0.1} | change))


def test_plan_on_the_command_line(capsys):
    assert run(["plan", "--risk", "accuracy_drop", "--alpha", "0.05", "--n", "400", "--rate", "0.01"]) == 0
    said = capsys.readouterr().out
    assert "by betting" in said
    assert "by simulation, if" in said
    assert run(["plan", "--risk", "brier", "--alpha", "0.3", "--n", "5", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["most_losses"] is None
    assert run(["plan", "--alpha", "1e-12"]) == 0
    assert "more examples than are searched for" in capsys.readouterr().out
