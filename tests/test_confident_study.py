"""The real study of MNIST, end to end: no bound's certificates are wrong more often than delta and luck allow."""

import json
import os
from pathlib import Path

import pytest
from scipy.stats import binom

from prudent.parsing import embedded
from prudent.studies import study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    if not (Path(os.environ.get("PRUDENT_DATA", "absent")) / "mnist").is_dir():
        pytest.skip("MNIST is not in $PRUDENT_DATA")
    run = study(embedded()["confident_mnist"], out=tmp_path_factory.mktemp("runs"), executor="inline")
    return json.loads((run / "results.json").read_text())["resplits"][0]


def test_a_thousand_certificates_of_each_bound_at_each_alpha_are_wrong_no_more_often_than_delta(entry):
    assert (entry["resplits"], entry["n"], entry["pool"], entry["delta"]) == (1000, 5000, 15000, 0.05)
    # with this many rows, one in 10,000 each keeps the chance of a false alarm below 1 in 100
    most = binom.isf(1e-4, 1000, 0.05)
    assert len(entry["rows"]) == 60
    assert all(row["violated"] <= most for row in entry["rows"])
    assert any(row["violated"] for row in entry["rows"]), "where none can be wrong nothing is tested"


def test_they_reach_nearly_as_far_as_the_pool_allows(entry):
    """A lower limit on power: what a certificate of 5,000 examples reaches, beside knowing all 15,000."""
    reachable = dict(map(tuple, entry["reachable"]))
    for row in entry["rows"]:
        if row["bound"] == "binomial" and row["alpha"] >= 0.015:
            assert row["mean"] >= reachable[row["alpha"]] - 0.06


def test_the_anytime_walk_takes_about_a_tenth_of_the_examples(entry):
    every = entry["n"] * entry["candidates"]
    for one in entry["frugality"]:
        assert one["examples"] * 9 <= every
        assert one["behind"] <= 0.5
        assert one["within_one"] >= 0.9
