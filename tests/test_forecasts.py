"""Planning of one claim about several risks or classes: each at the whole of delta, and all must pass."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from prudent.certification import certify
from prudent.cli import run
from prudent.errors import BadInput
from prudent.forecasts import forecast, forecast_jointly
from tests.test_certification import table


def test_one_risk_of_one_group_is_planned_as_by_itself():
    for rate in (None, 0.0, 0.02, 0.06):
        alone = forecast("error", alpha=0.05, delta=0.1, n=500, rate=rate)
        joint = forecast_jointly(["error"], alphas=[0.05], delta=0.1, n=500, rate=rate)
        assert joint["parts"] == [alone]
        assert joint["least_examples"] == alone["least_examples"]
        assert joint["examples_for_rate"] == alone["examples_for_rate"]


@pytest.mark.parametrize("groups", [2, 10])
def test_what_may_be_lost_is_what_certify_lets_pass(groups):
    n, alpha, delta = 120, 0.1, 0.1
    found = forecast_jointly(["error"], alphas=[alpha], delta=delta, groups=groups, n=groups * n + 1)
    most = found["parts"][0]["most_losses"]

    def selected(losses):
        parts = [replace(table([losses], n), group=f"class {k}") for k in range(groups)]
        return certify(parts, alpha=alpha, delta=delta).selected

    assert selected(most) == 0
    assert selected(most + 1) is None
    least = found["least_examples"] // groups
    assert (1 - alpha) ** least <= delta < (1 - alpha) ** (least - 1)


@pytest.mark.parametrize(("groups", "risks"), [(1, 2), (10, 1), (5, 2)])
def test_all_pass_eight_times_in_ten_with_so_many(groups, risks):
    alpha, delta, rate = 0.1, 0.05, 0.04
    found = forecast_jointly(["error"] * risks, alphas=[alpha] * risks, delta=delta, groups=groups, rate=rate)
    n = found["examples_for_rate"] // groups
    k = forecast("error", alpha=alpha, delta=delta, n=n)["most_losses"]
    each = binom.cdf(k, n, rate)
    assert each ** (groups * risks) >= 0.8, "if they are independent"
    assert 1 - groups * risks * (1 - each) >= 0.8 - 1e-9, "whatever depends on what"
    draws = np.random.default_rng(0).binomial(n, rate, (4000, groups * risks))
    assert (draws <= k).all(axis=1).mean() >= 0.8 - 0.02
    # nearly as many are needed: a fifth less does not do
    fewer = int(0.8 * n)
    allowed = forecast("error", alpha=alpha, delta=delta, n=fewer)["most_losses"]
    assert binom.cdf(allowed, fewer, rate) ** (groups * risks) < 0.8


def test_the_risk_that_needs_most_decides():
    found = forecast_jointly(["error", "disagreement"], alphas=[0.1, 0.02], delta=0.05, n=200)
    assert [part["least_examples"] for part in found["parts"]] == [29, 149]
    assert found["least_examples"] == 149
    assert found["possible"]
    assert not forecast_jointly(["error", "disagreement"], alphas=[0.1, 0.02], delta=0.05, n=100)["possible"]
    assert forecast_jointly(["error"], alphas=[0.05], delta=0.05, groups=3, rate=0.05)["examples_for_rate"] is None


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--by-class", "10", "--alpha", "0.1"], 0, "at least 290 examples, if nothing is lost"),
        (["--by-class", "10", "--alpha", "0.1", "--n", "2000"], 0, "of 200 examples of a class at most 12 may be lost"),
        (["--by-class", "10", "--alpha", "0.1", "--n", "200"], 3, "nothing can be certified by error"),
        (["--risk", "error", "--risk", "disagreement", "--alpha", "0.1", "--alpha", "0.02"], 0, "at least 149"),
        (["--risk", "error", "--risk", "negative_flip", "--rate", "0.01"], 0, "whose true risks are all 1"),
        (["--risk", "error", "--risk", "negative_flip", "--rate", "0.06"], 0, "no number of examples"),
    ],
)
def test_plan_of_several(arguments, status, text, capsys):
    assert run(["plan", *arguments]) == status
    assert text in capsys.readouterr().out
    assert run(["plan", *arguments, "--json"]) == status
    assert len(json.loads(capsys.readouterr().out)["parts"]) >= 1


def test_refusals(capsys):
    with pytest.raises(BadInput, match="one group at least"):
        forecast_jointly([], alphas=[], delta=0.05)
    with pytest.raises(BadInput, match="2 risks, 1 alphas"):
        forecast_jointly(["error"] * 2, alphas=[0.1], delta=0.05)
    with pytest.raises(BadInput, match="got 5 for 10 classes"):
        forecast_jointly(["error"], alphas=[0.1], delta=0.05, groups=10, n=5)
    three = ["--risk", "error", "--risk", "brier", "--risk", "error"]
    assert run(["plan", *three, "--alpha", "0.1", "--alpha", "0.2"]) == 2
    assert "3 risks need as many --alpha" in capsys.readouterr().err
