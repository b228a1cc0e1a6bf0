"""The table of a study against numbers by hand."""

import csv

import pytest

from prudent.tables import csv_table


def network(method, sparsity, seed, error, best):
    return {
        "method": method, "requested": sparsity, "seed": seed, "metrics": {"error": {"value": error}},
        "history": [[0, 0]] * 3, "best_epoch": best, "parameters": 10 + seed, "macs_needed": 5, "bytes": 7,
        "train_test_gap": error / 2,
    }  # fmt: skip


def rows(networks):
    return list(csv.DictReader(csv_table({"networks": networks}).splitlines()))


def test_means_and_ranges_of_few_seeds():
    found = rows(
        [network("", 0.0, s, 0.1 * s, None) for s in range(3)] + [network("m", 0.5, s, 0.2, s) for s in range(2)]
    )
    assert [(r["method"], r["sparsity"], r["seeds"]) for r in found] == [("dense", "0.0", "3"), ("m", "0.5", "2")]
    assert [float(found[0][k]) for k in ("error", "error_lo", "error_hi")] == pytest.approx([0.1, 0.0, 0.2])
    assert found[0]["best_epoch"] == ""
    assert [found[1][k] for k in ("best_epoch", "best_epoch_lo", "best_epoch_hi")] == ["0.5", "0", "1"]
    assert found[1]["epochs"] == "3"
    assert float(found[1]["train_test_gap"]) == 0.1


def test_intervals_of_many_seeds_are_t():
    from scipy import stats

    values = [0.1, 0.4, 0.2, 0.25, 0.3, 0.15]
    found = rows([network("m", 0.5, s, v, 0) for s, v in enumerate(values)])[0]
    lo, hi = stats.t.interval(0.95, 5, loc=sum(values) / 6, scale=stats.sem(values))
    assert float(found["error_lo"]) == pytest.approx(lo, rel=1e-5)
    assert float(found["error_hi"]) == pytest.approx(hi, rel=1e-5)


def test_doubts_have_columns_where_uncertain_weights_were_asked_for():
    plain = [network("m", 0.5, s, 0.1, 0) | {"mc_metrics": {"nll": {"value": 1.0 + s}}} for s in range(3)]
    assert "mc_nll" not in rows(plain)[0]
    doubted = [
        n | {"laplace_metrics": {"nll": {"value": 3.0}, "error": {"value": 0.5 * s}}} for s, n in enumerate(plain)
    ]
    found = rows(doubted)[0]
    assert [float(found[k]) for k in ("error", "mc_nll", "mc_nll_lo", "mc_nll_hi")] == [0.1, 2.0, 1.0, 3.0]
    assert [float(found[k]) for k in ("laplace_nll", "laplace_error", "laplace_error_hi")] == [3.0, 0.5, 1.0]
    partly = rows([doubted[0], plain[1]])[0]
    assert partly["laplace_nll"] == ""
