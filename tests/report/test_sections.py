"""Every number of the sections against a computation of its own from the results."""

import json
import math
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest
import scipy.stats

from prudent.planning import needed
from prudent.report.changes import changes
from prudent.report.looks import labels
from prudent.report.measures import MEASURES, has
from prudent.report.reading import Run
from prudent.report.speeds import Timing, flag
from prudent.report.views import (
    SECTIONS,
    alike,
    candidates,
    changed,
    confidence,
    cost,
    layers,
    proof,
    speed,
    strangers,
    verdict,
)
from tests.report.sample import CHANNELS, Sample, run_of, write_run

SEEDS = (0, 1, 2)


def rounded(value: float, digits: int) -> str:
    return str(Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def networks(run: Run, method: str, sparsity: float = 0.0) -> list[dict]:
    return [n for n in run.results["networks"] if (n["method"], n["requested"]) == (method, sparsity)]


def certificate(run: Run, method: str, risk: str, seed: int) -> dict:
    wanted = (method, risk, seed)
    return next(c for c in run.results["certificates"] if (c["method"], c["risk"], c["seed"]) == wanted)


def looks(run: Run, view: dict) -> list[tuple[str, float, dict]]:
    """The looks of a view with their method and asked sparsity."""
    addresses = {f"{m.index}:{i}": (m.name, m.sparsities[i]) for m, i in run.candidates()}
    return [(*addresses[look["at"]], look) for look in view["looks"]]


def test_the_headline_is_the_certificates_sentence(run, nothing):
    for one in (run, nothing):
        parts = verdict.headline(one.certificate)
        assert "".join(text for text, _ in parts) == one.certificate.sentence()
    assert [text for text, strong in verdict.headline(run.certificate) if strong] == ["10\u202f%", "75\u202f%"]


def test_emphasis_does_not_touch_the_confidence(tmp_path):
    # 95 % ends like 5 %: the limit alone is emphasised
    found = run_of(write_run(tmp_path, Sample(alpha=0.05, seeds=(0,))))
    strong = [text for text, is_strong in verdict.headline(found.certificate) if is_strong]
    assert "95\u202f%" not in strong
    assert "5\u202f%" in strong


def test_the_gauge(run):
    view = verdict.view(run)
    own = certificate(run, "magnitude", "disagreement", 0)
    k, n = own["counts"][own["selected"]], own["n"]
    upper = scipy.stats.beta.ppf(0.95, k + 1, n - k)
    gauge = view["gauge"]
    assert gauge["observed"] == rounded(100 * k / n, 1) + "\u202f%"
    assert gauge["upper"] == rounded(100 * upper, 1) + "\u202f%"
    assert view["observed"] == f"{k} of {n}"
    end = float(gauge["end"].split("\u202f")[0]) / 100
    for key, value in (("x_observed", k / n), ("x_upper", upper), ("x_limit", 0.1)):
        assert gauge[key] == pytest.approx(100 * value / end, abs=0.01)
        assert 0 <= gauge[key] <= 100


def test_the_tiles_speak_of_the_certified_network(run):
    tiles = verdict.view(run)["tiles"]
    dense, pruned = networks(run, "")[0], networks(run, "magnitude", 0.75)[0]
    assert tiles["size"]["big"] == rounded(dense["bytes"] / pruned["bytes"], 1) + "×"
    assert tiles["size"]["word"] == "smaller"
    assert tiles["speed"]["big"] == rounded(pruned["timing"]["speedup"], 2) + "×"
    assert tiles["speed"]["flag"] == "not faster"
    assert tiles["speed"]["promised"] == rounded(dense["macs_needed"] / pruned["macs_needed"], 1) + "×"
    assert tiles["error"]["from"] == rounded(100 * dense["metrics"]["error"]["value"], 1)
    assert tiles["error"]["to"] == rounded(100 * pruned["metrics"]["error"]["value"], 1)
    errors = [[n["metrics"]["error"]["value"] for n in networks(run, *which)] for which in (("",), ("magnitude", 0.75))]
    assert tiles["error"]["worse"] == f"{sum(p > d for d, p in zip(*errors, strict=True))} of 3"
    assert len(tiles["error"]["dense"]) == len(tiles["error"]["pruned"]) == 3
    assert tiles["worst"]["beyond"]


def test_peers_count_the_seeds_that_pass_there(run):
    own = certificate(run, "magnitude", "disagreement", 0)
    others = [certificate(run, "magnitude", "disagreement", s)["selected"] for s in SEEDS]
    passing = sum(s is not None and s >= own["selected"] for s in others)
    assert verdict.view(run)["peers"] == f"{passing} of 3"


def test_nothing_certified_is_a_verdict_that_says_what_is_needed(nothing):
    view = verdict.view(nothing)
    assert (view["state"], view["badge"]) == ("nothing", "Nothing certified")
    assert view["tiles"] is None
    todo = view["todo"]
    assert todo["needed"] == needed(nothing.certificate)
    own = certificate(nothing, "magnitude", "disagreement", 0)
    k, n = own["counts"][0], own["n"]
    assert float(todo["loosest"].split("\u202f")[0]) == pytest.approx(
        100 * scipy.stats.beta.ppf(0.95, k + 1, n - k), abs=0.01
    )
    for row, rate in zip(todo["rows"], (0.0002, 0.0005, 0.001), strict=True):
        enough = int(row["n"].replace(",", ""))
        most = int(scipy.stats.binom.ppf(0.05, enough, 0.002))
        most = most if scipy.stats.binom.cdf(most, enough, 0.002) <= 0.05 else most - 1
        assert scipy.stats.binom.cdf(most, enough, rate) >= 0.8
        assert row["rate"] == f"{100 * rate:g}\u202f%"


def test_candidates_are_the_sparsest_that_passed(run):
    view = candidates.view(run)
    for row, name in zip(view["rows"], ("magnitude", "random", "channels"), strict=True):
        own = certificate(run, name, "disagreement", 0)
        at = own["selected"]
        method = next(m for m in run.methods if m.name == name)
        network, dense = networks(run, name, method.sparsities[at])[0], networks(run, "")[0]
        assert row["removed"].startswith(f"{100 * network['sparsity']:g}")
        assert row["observed"] == f"{own['counts'][at]} of 300"
        for key, ratio in (
            ("disk", dense["bytes"] / network["bytes"]),
            ("macs", dense["macs"] / network["macs"]),
            ("speed", network["timing"]["speedup"]),
        ):
            assert float(row[key].removesuffix("×")) == pytest.approx(ratio, rel=0.05)
        assert row["error"] == rounded(100 * network["metrics"]["error"]["value"], 1) + "\u202f%"
        passing = [scipy.stats.binom.cdf(k, 300, 0.1) <= 0.05 / 18 for k in own["counts"]]
        walked = passing.index(False) if False in passing else len(passing)
        assert row["jointly"] == (f"{100 * own['sparsities'][walked - 1]:g}\u202f%" if walked else None)
    tags = [[text for _, text in row["tags"]] for row in view["rows"]]
    assert tags == [["smallest", "declared"], ["control"], ["fastest"]]


def test_rows_say_how_far_they_reach_together(tmp_path):
    found = run_of(write_run(tmp_path, Sample(alpha=0.09, seeds=(0,))))
    own = certificate(found, "magnitude", "disagreement", 0)
    p = [scipy.stats.binom.cdf(k, 300, 0.09) for k in own["counts"]]
    assert p[0] < p[1] < 0.05
    assert p[1] > 0.05 / 6
    view = candidates.view(found)
    assert (view["rows"][0]["removed"], view["rows"][0]["jointly"]) == ("75\u202f%", "50\u202f%")
    assert view["weaker"]


def test_of_two_fast_methods_the_faster_one_is_marked(tmp_path):
    slower = {**CHANNELS, "name": "slower", "sparsities": [0.25]}
    view = candidates.view(
        run_of(write_run(tmp_path, Sample(methods=(slower, CHANNELS), declared="slower", seeds=(0,))))
    )
    tags = [[text for _, text in row["tags"]] for row in view["rows"]]
    assert tags == [["declared"], ["smallest", "fastest"]]


def test_a_page_with_two_seeds_and_a_large_change_says_that_they_cannot_tell(tmp_path):
    found = run_of(write_run(tmp_path, Sample(seeds=(0, 1))))
    for seed, rate in ((0, 0.17), (1, 0.23)):
        found.dense(seed)["metrics"]["error"]["value"] = rate
        for i in range(4):
            found.network(found.methods[0], i, seed)["metrics"]["error"]["value"] = 0.6
    answer = cost.view(found)["answers"][0]["answer"]
    assert "For test error <b>two seeds cannot tell</b> whether 20.0" in answer


def test_no_row_that_is_larger_than_dense_is_called_smallest(tmp_path):
    found = run_of(write_run(tmp_path))
    for network in found.results["networks"]:
        network["bytes"] = 5000 if network["method"] else 4000
    view = candidates.view(found)
    assert not any("smallest" in text for row in view["rows"] for _, text in row["tags"])
    assert "None of them is smaller" in view["answer"]


@pytest.mark.parametrize("level", [0.0, 1e-9, 0.01, 0.05, 0.5, 1.0])
def test_the_walk_is_the_longest_leading_run(level):
    rng = np.random.default_rng(3)
    for _ in range(300):
        p = tuple(rng.choice([0.0, 0.001, 0.02, 0.3, 1.0], size=rng.integers(1, 6)).tolist())
        longest = max((k for k in range(len(p) + 1) if all(q <= level for q in p[:k])), default=0)
        assert candidates.walk(p, level) == (longest - 1 if longest else None)


def test_what_holds_together(run):
    """All m certificates at delta / m, from the integer counts alone."""
    view = candidates.joint(run)
    m = len(run.results["certificates"])
    assert m == view["m"] == 3 * 2 * 3
    assert view["level"] == f"{0.05 / m:.3g}"
    assert view["confidence"] == "99.72\u202f%"
    held = 0
    cells = {(r["title"], r["risk"], s): c for r in view["rows"] for s, c in zip(SEEDS, r["cells"], strict=True)}
    titles = {method.name: method.title for method in run.methods}
    for one in run.results["certificates"]:
        p = [scipy.stats.binom.cdf(k, one["n"], one["alpha"]) for k in one["counts"]]
        passing = [v <= 0.05 / m for v in p]
        walked = passing.index(False) if False in passing else len(passing)
        held += walked > 0
        cell = cells[titles[one["method"]], one["risk"], one["seed"]]
        expected = "none" if walked == 0 else f"{100 * one['sparsities'][walked - 1]:g}\u202f%"
        assert cell["jointly"] == expected
        assert cell["same"] == (one["selected"] == (walked - 1 if walked else None))
    assert view["held"] == held
    assert view["alone"] == sum(one["selected"] is not None for one in run.results["certificates"])


def test_the_cost_table(run):
    table = cost.table(run)
    measures = [m for m in MEASURES if has(run, m.key) and not m.key.startswith("mc.")]
    assert len(table["heads"]) == len(measures) >= 13
    rows = {(row["name"], row["removed"]): row["cells"] for row in table["rows"]}
    assert len(rows) == 1 + 4 + 4 + 3
    for (name, removed), cells in rows.items():
        sparsity = float(removed.split("\u202f")[0]) / 100
        own = networks(run, "" if name == "dense" else name, sparsity)
        for measure, cell in zip(measures, cells, strict=True):
            each = [n["metrics"][measure.key]["value"] for n in own]
            factor, digits = {"percent": (100, 1), "points": (100, 1), "number": (1, 3)}[measure.unit]
            assert cell["value"] == rounded(factor * math.fsum(each) / 3, digits)
            low, high = rounded(factor * min(each), digits), rounded(factor * max(each), digits)
            assert cell["between"] == f"{low} to {high}"


def test_the_cost_answers_name_where_a_clear_worsening_starts_to_last(run, plain):
    names = {"error": "test error", "ece": "calibration (ECE)", "auroc_max_prob": "telling strangers apart"}
    for one in (run, plain):
        seeds = len(one.seeds)
        limit = scipy.stats.t.ppf(0.975, seeds - 1) * math.sqrt(2 / seeds)
        view = cost.view(one)
        for method, shown in zip(one.methods, view["answers"], strict=True):
            for chart in view["charts"]:
                key = chart["measure"].key
                sign = -1 if key == "auroc_max_prob" else 1
                dense = np.array([n["metrics"][key]["value"] for n in networks(one, "")])
                clear = []
                for sparsity in method.sparsities:
                    own = np.array([n["metrics"][key]["value"] for n in networks(one, method.name, sparsity)])
                    clear.append(sign * (own.mean() - dense.mean()) / dense.std(ddof=1) > limit)
                lasting = [k for k in range(len(clear)) if all(clear[k:])]
                said = shown["answer"].striptags()
                if lasting:
                    start = f"{100 * method.sparsities[lasting[0]]:g} % on"  # striptags() makes every space a plain one
                    assert f"{names[key]} from {start}" in said or f"{names[key]} is clearly worse from {start}" in said
                else:
                    assert f"{names[key]} from" not in said
                    assert f"{names[key]} is clearly" not in said


def test_a_measure_that_ends_clearly_better_is_not_called_worse(run):
    results = json.loads(json.dumps(run.results))
    for network in results["networks"]:
        if network["method"] == "magnitude" and network["requested"] == 0.96:
            network["metrics"]["auroc_max_prob"]["value"] = 0.9999
    view = cost.view(Run(results, run.verification))
    assert "Calibration (ECE) and telling strangers apart show" in view["answers"][0]["answer"].striptags()


def test_the_cost_charts(run):
    data = cost.view(run)["data"]
    assert list(data["charts"]) == ["c-error", "c-ece", "c-auroc_max_prob"]
    for name, chart in data["charts"].items():
        key = name.removeprefix("c-")
        low, high = chart["range"]
        for method, points in zip(run.methods, chart["points"], strict=True):
            for sparsity, point in zip(method.sparsities, points, strict=True):
                each = [n["metrics"][key]["value"] for n in networks(run, method.name, sparsity)]
                assert point["value"] == pytest.approx(np.mean(each))
                assert (point["lo"], point["hi"]) == pytest.approx((min(each), max(each)))
                for value in (point["lo"], point["value"], point["hi"]):
                    height = math.log10(max(value, chart["floor"])) if chart["log"] else value
                    assert low <= height <= high
    axes = data["axes"]
    assert axes["removed"]["points"][0] == pytest.approx([-math.log2(1 - s) for s in (0.5, 0.75, 0.875, 0.96)])
    ratios = [50_000 / networks(run, "channels", s)[0]["macs"] for s in (0.25, 0.5, 0.75)]
    assert axes["executed"]["points"][2] == pytest.approx([math.log2(r) for r in ratios])
    assert axes["executed"]["points"][0] == pytest.approx([0.0] * 4)
    speeds = [np.mean([n["timing"]["speedup"] for n in networks(run, "channels", s)]) for s in (0.25, 0.5, 0.75)]
    assert axes["speed"]["points"][2] == pytest.approx(np.log2(speeds).tolist())


def test_from_five_seeds_on_intervals_are_students(plain):
    chart = cost.view(plain)["data"]["charts"]["c-error"]
    each = [n["metrics"]["error"]["value"] for n in networks(plain, "magnitude", 0.875)]
    interval = scipy.stats.t.interval(0.95, 5, np.mean(each), scipy.stats.sem(each))
    point = chart["points"][0][2]
    assert (max(0.0, interval[0]), interval[1]) == pytest.approx((point["lo"], point["hi"]))
    assert "t interval of the mean over 6 seeds" in cost.view(plain)["spread"]


def test_saved_numbers_are_unrounded(run):
    rows = cost.saved(run)["rows"]
    each = [n["metrics"]["ece"]["value"] for n in networks(run, "random", 0.96)]
    row = next(r for r in rows if r[0] == "random" and r[1] == 0.96 and r[2] == "ece")
    assert row[3] == pytest.approx(np.mean(each), rel=1e-12)
    assert "NaN" not in json.dumps(rows)


def pooled(own: list[dict]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    tables = [n["reliability"] for n in own]
    return tuple(np.sum([t[key] for t in tables], axis=0) for key in ("counts", "right", "confidence"))


def test_reliability_over_the_seeds_together(run):
    view = confidence.view(run)
    for method, points in zip(run.methods, view["data"]["points"], strict=True):
        for sparsity, bins in zip(method.sparsities, points, strict=True):
            counts, right, said = pooled(networks(run, method.name, sparsity))
            assert [b["bin"] for b in bins] == np.flatnonzero(counts).tolist()
            for b in bins:
                at = b["bin"]
                assert (b["n"], b["few"]) == (counts[at], counts[at] < 10)
                assert b["right"] == pytest.approx(right[at] / counts[at])
                assert b["said"] == pytest.approx(said[at] / counts[at])
                assert b["lo"] <= b["right"] <= b["hi"]
            gap = np.abs(said - right).sum() / counts.sum()
            assert confidence.gap(bins) == pytest.approx(gap, rel=1e-12)
    assert view["pooled"] == "600"


def test_limits_of_a_bin_are_those_of_one_seeds_predictions():
    lo, hi = confidence.limits(270, 300, seeds=3)
    exact = scipy.stats.binomtest(90, 100).proportion_ci(0.95, method="exact")
    assert (lo, hi) == pytest.approx((exact.low, exact.high))
    assert confidence.limits(1, 1, seeds=3)[1] == 1.0
    for right, n in [(0, 1), (1, 2), (2, 2), (7, 10)]:
        lo, hi = confidence.limits(right, n, seeds=3)
        assert 0 <= lo <= right / n <= hi <= 1


def test_the_last_bin_in_words(run):
    look = next(look for name, s, look in looks(run, confidence.view(run)) if (name, s) == ("magnitude", 0.75))
    counts, right, said = pooled(networks(run, "magnitude", 0.75))
    assert look["last"].startswith(f"{rounded(100 * counts[-1] / 600, 0)}\u202f% of its predictions")
    assert f"says {rounded(100 * said[-1] / counts[-1], 1)}\u202f%" in look["last"]
    assert f"right in {rounded(100 * right[-1] / counts[-1], 1)}\u202f%" in look["last"]


def test_the_table_of_the_proof(run):
    view = proof.view(run)
    for method, shown in zip(run.methods, view["methods"], strict=True):
        for i, row in enumerate(shown["rows"]):
            for risk, cell in zip(("disagreement", "error"), row["cells"], strict=True):
                own = certificate(run, method.name, risk, 0)
                k, n = own["counts"][i], own["n"]
                assert cell["count"] == str(k)
                limit = 100 * scipy.stats.beta.ppf(0.95, k + 1, n - k)
                assert limit <= float(cell["upper"].removesuffix("\u202f%")) < limit + 0.1, "rounded upwards"
                passing = [scipy.stats.binom.cdf(c, n, own["alpha"]) <= 0.05 for c in own["counts"]]
                walked = passing.index(False) if False in passing else len(passing)
                assert cell["state"] == ("passed" if i < walked else "stopped" if i == walked else "not tested")


def test_the_walks(run):
    data = proof.view(run)["data"]
    walk = data["walks"][1]["c-walk-1"]
    own = certificate(run, "random", "error", 0)
    assert walk["p"] == pytest.approx([math.log10(max(p, 1e-9)) for p in own["p_values"]])
    assert len(walk["others"]) == 2
    low, high = data["scale"]["range"]
    assert all(low <= p <= high for walks in data["walks"] for w in walks.values() for p in w["p"])
    assert data["delta"] == pytest.approx(math.log10(0.05))


def test_the_planner_passes_with_80_percent(run):
    plan = proof.view(run)["data"]["plan"]
    assert plan["alpha"] == 0.1
    for rate, height, _ in plan["line"]:
        n = round(10**height)
        allowed = max(k for k in range(-1, n + 1) if scipy.stats.binom.cdf(k, n, 0.1) <= 0.05) if n < 3000 else None
        if allowed is not None:
            assert scipy.stats.binom.cdf(allowed, n, rate) >= 0.8
    for points, method in zip(plan["points"], run.methods, strict=True):
        own = certificate(run, method.name, "disagreement", 0)
        for point, rate in zip(points, own["empirical_risks"], strict=True):
            assert (point is None) == (rate >= 0.1)
            if point is not None:
                assert [rate, point["y"]] in [[r, y] for r, y, _ in plan["line"]]


def test_a_limit_beyond_any_number_of_examples_has_no_planner(tmp_path):
    hopeless = run_of(write_run(tmp_path, Sample(alpha=1e-9)))
    view = proof.view(hopeless)
    assert view["planner"] is False
    assert view["data"]["plan"] is None


def test_speed_rows(run):
    view = speed.view(run)
    for method, shown in zip(run.methods, view["methods"], strict=True):
        for sparsity, row in zip(method.sparsities, shown["rows"], strict=True):
            own, dense = networks(run, method.name, sparsity), networks(run, "")
            for key, field in (
                ("disk", "bytes"), ("parameters", "parameters"), ("executed", "macs"), ("promised", "macs_needed"),
            ):  # fmt: skip
                ratio = np.mean([d[field] / p[field] for d, p in zip(dense, own, strict=True)])
                assert float(row[key].removesuffix("×")) == pytest.approx(ratio, rel=0.05)
            clocks = [n["timing"] for n in own]
            assert float(row["measured"].removesuffix("×")) == pytest.approx(
                np.mean([c["speedup"] for c in clocks]), rel=0.05
            )
            low, high = min(c["lo"] for c in clocks), max(c["hi"] for c in clocks)
            assert row["quartiles"] == f"{rounded(low, 2)} to {rounded(high, 2)}"
            assert 0 <= row["x"][0] <= row["x"][1] <= row["x"][2] <= 100
            assert (row["flag"] == "faster") == (method.name == "channels")


def test_faster_needs_every_seed_and_more_than_noise():
    def timed(mean, lo, hi):
        return Timing(mean=mean, lo=lo, hi=hi, always_above=lo > 1, always_below=hi < 1)

    around = timed(1.0, 0.9, 1.1)
    assert flag(timed(1.5, 1.2, 1.6), around, saves=True) == "faster"
    assert flag(timed(1.2, 0.9, 1.6), around, saves=True) == "not faster"
    assert flag(timed(9.8, 0.9, 12), around, saves=True) == "too noisy"
    assert flag(timed(9.8, 8, 12), timed(5, 0.1, 30), saves=True) == "too noisy"
    assert flag(timed(0.3, 0.2, 1.1), around, saves=True) == "too noisy"
    assert flag(timed(1.05, 1.01, 1.08), around, saves=True) == "not faster"
    assert flag(timed(0.8, 0.7, 0.85), around, saves=True) == "slower"
    assert flag(timed(0.95, 0.93, 0.99), around, saves=True) == "not faster"
    assert flag(timed(1.2, 1.15, 1.24), around, saves=True) == "faster"
    assert flag(timed(1.2, 1.15, 1.24), around, saves=False) == "not faster"
    assert flag(timed(1.5, 1.2, 1.6), around, saves=False) == "too noisy"


def test_what_strangers_are_taken_for(run):
    view = strangers.view(run)
    dense = np.sum([n["ood_decisions"] for n in networks(run, "")], axis=0)
    for name, sparsity, look in looks(run, view):
        own = np.sum([n["ood_decisions"] for n in networks(run, name, sparsity)], axis=0)
        assert own.sum() == 450
        for k, row in enumerate(look["classes"]):
            before, after = dense[k] / dense.sum(), own[k] / own.sum()
            assert row["dense"] == rounded(100 * before, 1) + "\u202f%"
            assert row["pruned"] == rounded(100 * after, 1) + "\u202f%"
            assert float(row["change"].replace("−", "-")) == pytest.approx(100 * (after - before), abs=0.051)
            assert row["large"] == (abs(after - before) >= 0.05)


def test_many_classes_are_folded_into_one_row(tmp_path):
    classes = tuple(f"class {k}" for k in range(30))
    found = run_of(write_run(tmp_path, Sample(classes=classes, seeds=(0, 1), dropout=False)))
    rows = strangers.view(found)["looks"][0]["classes"]
    assert len(rows) == 21
    assert rows[-1]["name"] == "10 other classes"
    total = sum(float(row["dense"].split("\u202f")[0]) for row in rows)
    assert total == pytest.approx(100, abs=1.1)


def test_changed_rows_fit_their_track(run):
    view = changed.view(run)
    found = {f"{method.index}:{i}": changes(run, method, i) for method, i in run.candidates()}
    for _, _, look in looks(run, view):
        for row in [*look["judged"], *look["described"]]:
            room = 100 - view["zero"] if row["side"] == "right" else view["zero"]
            assert 0 <= row["width"] <= room + 0.01
            assert row["cut"] == (abs(row["width"] - room) < 0.02 and float(row["effect"]) >= 5)
            count, _, total, word = row["seeds"].split()
            change = next(c for c in found[look["at"]] if c.measure.name == row["name"])
            assert (row["side"] == "right") == (word in ("worse", "higher")) == (change.effect > 0)
            assert int(count) == (change.worse if row["side"] == "right" else change.better)
            assert total == "3"
            assert row["beyond"] == (abs(change.effect) > 3.5131)
    assert view["without_spread"] == []
    assert changed.view(run)["luck"] == "3.5"


def test_layers_keep_what_the_results_say(run):
    for name, sparsity, look in looks(run, layers.view(run)):
        own = [n["layers"] for n in networks(run, name, sparsity)]
        for row in look["rows"]:
            share = np.mean([layer[row["name"]][1] / layer[row["name"]][0] for layer in own])
            assert row["share"] == rounded(100 * share, 1) + "\u202f%"
            assert row["width"] == pytest.approx(100 * share, abs=0.01)


def test_shared_units_are_those_of_the_results(six):
    view = alike.view(six)
    assert [one["title"] for one in view["legend"]] == [
        "Channels by mean activation", "Channels by mean activation, largest first",
    ]  # fmt: skip
    assert [(row["name"], row["removed"]) for row in view["rows"]] == [
        ("mean", "25\u202f%"), ("mean", "50\u202f%"), ("maximum", "25\u202f%"), ("maximum", "50\u202f%"),
    ]  # fmt: skip
    points = {(six.methods[line["method"]].name, p["x"]): p for line in view["data"]["lines"] for p in line["points"]}
    for row, ((name, x), point) in zip(view["rows"], points.items(), strict=True):
        sparsity = 1 - 2.0**-x
        own = [n["compared"] for n in networks(six, name, round(sparsity, 3))]
        each = [one["overlap"] for one in own]
        assert len(own) == 3
        assert row["name"] == name
        assert row["kept"] == str(own[0]["kept"])
        assert row["overlap"] == rounded(100 * np.mean(each), 1) + "\u202f%"
        assert row["between"] == f"{rounded(100 * min(each), 1)}\u202f% to {rounded(100 * max(each), 1)}\u202f%"
        assert row["chance"] == rounded(100 * (1 - sparsity), 1) + "\u202f%"
        assert row["by_layer"] == rounded(100 * (1 - sparsity + 0.01), 1) + "\u202f%"
        assert (point["value"], point["lo"], point["hi"]) == pytest.approx((np.mean(each), min(each), max(each)))
    for x, share in view["data"]["chance"]:
        assert share == pytest.approx(2.0**-x)
    assert view["data"]["chance"][0] == (0.0, 1.0)
    assert view["data"]["chance"][-1] == pytest.approx((1.0, 0.5))


def test_who_shares_more_and_less_than_chance(six):
    said = {six.methods[int(one["at"])].name: str(one["answer"]) for one in alike.view(six)["answers"]}
    assert "<b>more than chance</b> at 2 of 2 sparsities" in said["mean"]
    assert "less than chance" not in said["mean"]
    assert "<b>less than chance</b> at 2 of 2 sparsities" in said["maximum"]
    assert "Furthest above chance: <b>Channels by mean activation</b> at 50\u202f%" in said["oracle"]
    assert all("not compared" in said[name] for name in ("magnitude", "random", "apoz"))


def test_labels_differ_where_they_are_cut():
    names = ["magnitude", "another_method_1", "another_method_2", "a_name_of_its_own_length"]
    assert labels(names) == ["magnitude", "anothe\u2026ethod_1", "anothe\u2026ethod_2", "a_name_of_its\u2026"]
    assert max(len(label) for label in labels(names)) == 14


def test_sections_without_their_data_are_absent(plain, single, run, six):
    def present(one):
        return [section.id for section in SECTIONS if section.view(one) is not None]

    everything = ["cost", "confidence", "proof", "speed", "strangers", "changed", "layers", "trust"]
    assert present(run) == everything
    assert present(six) == [*everything[:-1], "alike", "trust"]
    assert present(plain) == [s for s in everything if s != "strangers"]
    assert present(single) == [s for s in everything if s != "changed"]
    assert [c["measure"].key for c in cost.view(plain)["charts"]] == ["error", "ece"]
