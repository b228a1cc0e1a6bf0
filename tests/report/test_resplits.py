"""The section on certificates drawn anew: its numbers against a computation of their own, and what it must say."""

import math
import re
from dataclasses import asdict

import numpy as np
import pytest
from scipy.stats import beta

from prudent.report import build_report
from prudent.report.redrawn import Saved, Wrong, redrawn_answer
from prudent.report.views import resplits as section
from prudent.resplitting import resplit
from prudent.types import Losses
from tests.report.sample import CHANNELS, WEIGHTS, Sample, run_of, write_run

SPARSITIES = {"magnitude": (0.5, 0.75, 0.875, 0.96), "channels": (0.25, 0.5, 0.75)}


def entry(method, **options):
    """Resplits of random losses, as results hold them."""
    own = SPARSITIES[method]
    rng = np.random.default_rng(len(own))
    rates = np.linspace(0.03, 0.16, len(own))
    table = Losses(
        values=(rng.random((500, len(own))) < rates).astype(float), names=tuple(f"{s}" for s in own), sparsities=own,
        loss="disagreement", split="test",
    )  # fmt: skip
    given = {"n": 300, "alphas": [0.05, 0.1, 0.2], "delta": 0.05, "bounds": ["binomial", "hoeffding", "anytime"]}
    found = resplit(table, resplits=80, **{**given, **options})
    return {"method": method, "risk": "disagreement", "seed": 0} | asdict(found)


@pytest.fixture(scope="module")
def entries():
    return {name: entry(name) for name in SPARSITIES}


@pytest.fixture(scope="module")
def drawn(entries, tmp_path_factory):
    sample = Sample(methods=(WEIGHTS, CHANNELS), seeds=(0, 1), change={"resplits": list(entries.values())})
    return write_run(tmp_path_factory.mktemp("resplits"), sample)


@pytest.fixture(scope="module")
def view(drawn):
    return section.view(run_of(drawn))


def test_absent_from_runs_that_drew_nothing_anew(run):
    assert section.view(run) is None


def test_rows_are_the_results_in_words(view, entries):
    for one, (name, given) in zip(view["methods"], entries.items(), strict=True):
        assert name in ("magnitude", "channels")
        for row, result in zip(one["rows"], given["rows"], strict=True):
            assert row["bound"] == result["bound"]
            assert float(row["alpha"].split("\u202f")[0]) == pytest.approx(100 * result["alpha"])
            assert float(row["mean"].split("\u202f")[0]) == pytest.approx(100 * result["mean"], abs=0.051)
            low, high = (float(x) for x in row["between"].removesuffix("\u202f%").split(" to "))
            assert (low, high) == pytest.approx((100 * result["low"], 100 * result["high"]), abs=0.01)
            assert int(row["violated"]) == result["violated"]
            k = result["violated"]
            limits = (beta.ppf(0.025, k, 81 - k) if k else 0.0, beta.ppf(0.975, k + 1, 80 - k))
            assert [float(x) for x in row["limits"].removesuffix("\u202f%").split(" to ")] == pytest.approx(
                [100 * x for x in limits], abs=0.011
            )
            assert float(row["examples"].replace(",", "")) == pytest.approx(result["examples"], abs=0.51)


def test_savings_are_ratios_of_the_results(view, entries):
    every = {"magnitude": 1200, "channels": 900}
    for one, (name, given) in zip(view["methods"], entries.items(), strict=True):
        for row, result in zip(one["savings"], given["frugality"], strict=True):
            assert row["every"].replace(",", "") == str(every[name])
            assert row["fewer"] == f"{every[name] / result['examples']:.0f}\u00d7"
            assert float(row["within"].split("\u202f")[0]) == pytest.approx(100 * result["within_one"], abs=0.051)
            assert float(row["behind"].replace("\u2212", "-")) == pytest.approx(result["behind"], abs=0.0051)


def test_charts_hold_the_results(view, entries):
    assert len(view["data"]["methods"]) == 2
    for own, given in zip(view["data"]["methods"], entries.values(), strict=True):
        rows = {(row["bound"], row["alpha"]): row for row in given["rows"]}
        for line, bound in zip(own["lines"], ("binomial", "hoeffding", "anytime"), strict=True):
            assert line["banded"] == (bound != "hoeffding")
            for point, alpha in zip(line["points"], (0.05, 0.1, 0.2), strict=True):
                row = rows[bound, alpha]
                assert point["x"] == pytest.approx(math.log10(alpha))
                assert 1 - 2 ** -point["mean"] == pytest.approx(row["mean"])
                assert 1 - 2 ** -point["low"] == pytest.approx(row["low"])
                assert 1 - 2 ** -point["high"] == pytest.approx(row["high"])
                assert point["share"] == row["violated"] / 80
                assert point["lo"] <= point["share"] <= point["hi"] <= own["wrong"]["range"][1]
        assert [y for _, y in own["reachable"]] == pytest.approx(
            [-math.log2(1 - (s or 0.0)) for _, s in given["reachable"]]
        )
        every, walked, anytime = (way["points"] for way in own["examples"]["ways"])
        for k, one in enumerate(given["frugality"]):
            assert 10 ** every[k]["y"] == pytest.approx(given["n"] * given["candidates"])
            assert 10 ** walked[k]["y"] == pytest.approx(one["walked"])
            assert 10 ** anytime[k]["y"] == pytest.approx(one["examples"])
        low, high = own["wrong"]["range"]
        assert low < 0.05 < high, "the line of delta is inside"


def test_the_page_says_what_was_used_again_and_how_much_narrower_it_is(drawn, view):
    page = build_report(drawn)
    words = " ".join(re.sub(r"<[^>]+>", "", page).split())
    assert "The test examples are used again here: 300 examples are drawn 80 times" in words
    assert "the certificate at the top of this page used no test example" in words
    # sqrt((500 - 300) / 499) of the spread of independent examples
    assert view["narrower"] == "63\u202f%"
    assert "their mean spreads 63 % as widely" in words
    assert all(f'id="{chart}"' in page for chart in ("c-reach", "c-wrong", "c-examples"))
    assert "Resplits, and wrong certificates" in page


def test_without_the_anytime_walk_there_is_no_chart_of_examples(tmp_path):
    only = {"bounds": ["binomial"], "alphas": [0.1]}
    change = {"resplits": [entry(name, **only) for name in SPARSITIES]}
    page = build_report(write_run(tmp_path, Sample(methods=(WEIGHTS, CHANNELS), seeds=(0,), change=change)))
    assert 'id="c-wrong"' in page
    assert 'id="c-examples"' not in page


def test_independent_draws_are_not_called_narrower(tmp_path):
    change = {"resplits": [entry(name, replacement=True) for name in SPARSITIES]}
    folder = write_run(tmp_path, Sample(methods=(WEIGHTS, CHANNELS), seeds=(0,), change=change))
    assert "as widely as that of fresh ones" not in build_report(folder)


@pytest.mark.parametrize(
    ("violated", "lo", "hi", "said", "unsaid"),
    [
        (0, 0.0, 0.0037, "<b>none was wrong</b>, at any limit and by any bound; 5\u202f% may be.", "do not rely"),
        (
            28,
            0.0187,
            0.0402,
            "<b>2.8\u202f% were wrong</b> where most were (anytime bound, limit 10\u202f%",
            "do not rely",
        ),
        (90, 0.073, 0.109, "More than luck allows", "none was wrong"),
    ],
)
def test_the_answer(violated, lo, hi, said, unsaid):
    wrong = Wrong(resplits=1000, violated=violated, lo=lo, hi=hi, delta=0.05, bound="anytime", alpha=0.1)
    saved = Saved(alpha=0.03, every=125000, walked=65115.0, anytime=7701.4, within=0.87)
    text = str(redrawn_answer("A <b>", wrong, saved))
    assert said.lower() in text.lower()
    assert unsaid not in text
    assert "A &lt;b&gt;: of 1,000 certificates" in text
    assert "sends 7,701 examples through networks; all candidates would take 125,000, and 65,115 until" in text
    assert "7,701" not in str(redrawn_answer("A", wrong, None))
