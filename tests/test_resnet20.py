"""The script behind docs/resnet20.md: its weights, its log, and that its page says what was measured."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from benchmarks import resnet20
from benchmarks.resnet20 import Log, Masks, finish, published, timings
from benchmarks.resnet20_page import CANDIDATES, Outcome, Settings, Timing, page, verdict
from safetensors.torch import save_file

from prudent.batches import Batches
from prudent.building import build
from prudent.errors import BadInput
from prudent.network import macs
from prudent.speed import Race

SETTINGS = Settings(train=64, test=32, epochs=1, lr=0.01, turns=6)


def result(method: str, share: float, error: float, half: float) -> Outcome:
    proof = None if share == 1 else 1e-16
    return Outcome(
        method=method, share=share, sparsity=1 - share, macs=int(share * 1000), params=100, proof=proof,
        untrained=None, error=error, lo=error - half, hi=error + half, difference=1e-7, agreement=1.0, bytes=2000,
        seconds=1.0,
    )  # fmt: skip


def race(share: float) -> Timing:
    own = Race(
        runtime="eager", batch=1, threads=1, turns=6, level=0.95, milliseconds=2.0, lo=1.5, hi=2.5, beside=4.0,
        beside_lo=3.5, beside_hi=4.5, speedup=2.0, speedup_lo=1.75, speedup_hi=2.25,
    )  # fmt: skip
    warnings = (f"slow at {share}",) if share < 0.5 else ()
    return Timing(share=share, macs_ratio=1 / share, load=0.5, race=own, warnings=warnings)


def small_task() -> tuple[torch.nn.Module, dict[str, Batches]]:
    model = build("resnet_cifar", (3, 8, 8), 4, seed=0, options={"depth": 8, "width": 8, "shortcut": "B"}).eval()
    generator = torch.Generator().manual_seed(0)
    inputs, labels = torch.randn(64, 3, 8, 8, generator=generator), torch.arange(64) % 4
    return model, {
        split: Batches(inputs=inputs, labels=labels, size=32, split=split) for split in ("train", "validation", "test")
    }


def test_published_weights_load_without_counters(tmp_path: Path):
    donor = build("resnet_cifar", (3, 32, 32), 10, seed=7, options={})
    state = {name: value for name, value in donor.state_dict().items() if not name.endswith("num_batches_tracked")}
    save_file(state, tmp_path / "weights.safetensors")
    loaded = published(tmp_path / "weights.safetensors")
    inputs = torch.rand(2, 3, 32, 32)
    assert not loaded.training
    assert torch.equal(loaded(inputs), donor.eval()(inputs))


def test_other_weights_are_refused(tmp_path: Path):
    with pytest.raises(BadInput, match="--weights"):
        published(tmp_path / "absent.safetensors")
    donor = build("resnet_cifar", (3, 32, 32), 10, seed=7, options={})
    state = {name: value for name, value in donor.state_dict().items() if name != "layer2.0.conv1.weight"}
    save_file(state, tmp_path / "weights.safetensors")
    with pytest.raises(BadInput, match=r"layer2\.0\.conv1"):
        published(tmp_path / "weights.safetensors")


def test_the_log_gives_back_what_it_took_for_the_same_settings_only(tmp_path: Path):
    log = Log(tmp_path / "log.jsonl", SETTINGS)
    assert (log.of(Outcome), log.of(Timing), log.choice()) == ([], [], {})
    log.add(Outcome=asdict(result("random", 0.5, 0.4, 0.1)))
    log.add_all(Timing=[asdict(race(0.5)), asdict(race(0.3))])
    log.add(choice={"geometric_median": 0.5})
    again = Log(tmp_path / "log.jsonl", SETTINGS)
    assert again.of(Outcome) == [result("random", 0.5, 0.4, 0.1)]
    assert again.of(Timing) == [race(0.5), race(0.3)]
    assert again.choice() == {"geometric_median": 0.5}
    other = Log(tmp_path / "log.jsonl", replace(SETTINGS, epochs=2))
    assert (other.of(Outcome), other.of(Timing), other.choice()) == ([], [], {})


@pytest.mark.slow
def test_a_level_is_made_once_and_its_networks_have_one_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("onnxruntime")
    dense, data = small_task()
    log = Log(tmp_path / "log.jsonl", SETTINGS)
    finish(log, dense, data, SETTINGS, tmp_path, shares=(0.5,))
    outcomes, races, choice = log.of(Outcome), log.of(Timing), log.choice()
    cut = [o for o in outcomes if o.share == 0.5]
    third = max(choice, key=lambda name: choice[name])
    assert sorted(choice) == sorted(CANDIDATES)
    assert {o.method for o in cut} == {"magnitude", "random", third}
    assert len({(o.macs, o.params, o.sparsity) for o in cut}) == 1
    whole = macs(dense, data["test"].inputs[:1])
    assert 0.3 * whole < cut[0].macs <= 0.5 * whole
    assert all(o.proof is not None and o.proof <= 1e-9 and o.difference < 1e-4 for o in cut)
    assert {(t.race.runtime, t.race.batch) for t in races} == {
        (r, b) for r in ("eager", "onnxruntime") for b in (1, 32)
    }
    assert races[0].macs_ratio == whole / cut[0].macs

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("made again")

    for name in ("tuned", "one", "choose", "timings", "outcome"):
        monkeypatch.setattr(resnet20, name, refuse)
    before = (tmp_path / "log.jsonl").read_text()
    finish(log, dense, data, SETTINGS, tmp_path, shares=(0.5,))
    assert (tmp_path / "log.jsonl").read_text() == before


def test_an_interrupted_level_goes_on_with_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dense, data = small_task()
    log = Log(tmp_path / "log.jsonl", SETTINGS)
    for method, share in (("published", 1.0), ("dense", 1.0), ("magnitude", 0.5)):
        log.add(Outcome=asdict(result(method, share, 0.4, 0.1)))
    log.add(choice={"activation_mean": 0.2, "geometric_median": 0.3})
    log.add(Timing=asdict(race(0.5)))
    made: list[str] = []
    monkeypatch.setattr(
        resnet20, "one", lambda masks, method, *rest: made.append(method) or result(method, masks.share, 0.2, 0.1)
    )
    finish(log, dense, data, SETTINGS, tmp_path, shares=(0.5,))
    assert made == ["random", "geometric_median"]


def test_what_random_leaves_is_of_the_size_that_magnitude_leaves():
    dense, data = small_task()
    masks = Masks(dense, 0.6, data)
    sizes = [{name: int(kept.sum()) for name, kept in masks.of(m).mask.kept.items()} for m in ("random", "magnitude")]
    assert sizes[0] == sizes[1]
    kept = [masks.of(m).mask.kept for m in ("random", "magnitude")]
    assert any(not torch.equal(kept[0][name], kept[1][name]) for name in kept[0])


@pytest.mark.slow
def test_timings_follow_the_clock(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("onnxruntime")
    dense, data = small_task()
    ticks = iter(x * x for x in range(100_000))
    monkeypatch.setattr(resnet20.os, "getloadavg", lambda: (3.5, 0.0, 0.0))
    found = timings(Masks(dense, 0.6, data), data, SETTINGS, clock=lambda: float(next(ticks)))
    # passes take longer and longer, the pruned and dense ones in turns, so the ratio is near 1 and the times grow
    assert all(t.race.speedup == pytest.approx(1, abs=0.5) and t.load == 3.5 for t in found)
    assert all(t.race.lo <= t.race.milliseconds <= t.race.hi for t in found)


def test_the_page_says_what_was_measured():
    outcomes = [
        result("random", 0.5, 0.5, 0.05), result("magnitude", 0.5, 0.3, 0.05), result("random", 0.3, 0.5, 0.05),
        result("magnitude", 0.3, 0.45, 0.05), result("dense", 1.0, 0.1, 0.02), result("published", 1.0, 0.2, 0.02),
    ]  # fmt: skip
    text = page(SETTINGS, outcomes, [race(0.5)], {"geometric_median": 0.31})
    lines = [line for line in text.splitlines() if line.startswith("|") and " kB " in line]
    assert [line.split(" | ")[0][2:] for line in lines] == [
        "published", "dense", "magnitude", "random", "magnitude", "random"
    ]  # fmt: skip
    assert "| magnitude | 0.00 M | 50.0 % | 50.0 % | 100 |" in text
    assert "70.0 % (65.0 % to 75.0 %)" in lines[2]
    assert "geometric_median 31.0 %" in text
    assert "50.0 % has 2 of 3 networks" in text
    assert "30.0 % is not timed" in text
    assert "50.0 % is not timed" not in text
    assert "python -m benchmarks.resnet20 --train 64 --test 32 --epochs 1 --lr 0.01 --turns 6" in text
    assert "| 50.0 % | eager | 1 | 4.00 (3.50 to 4.50) | 2.00 (1.50 to 2.50) | 2.00x (1.75 to 2.25) | 2.00 |" in text


def test_the_verdict_counts_levels_and_intervals():
    outcomes = [
        result("random", 0.5, 0.5, 0.05), result("magnitude", 0.5, 0.3, 0.05), result("random", 0.3, 0.5, 0.05),
        result("magnitude", 0.3, 0.45, 0.05), result("random", 0.15, 0.5, 0.05), result("magnitude", 0.15, 0.6, 0.01),
    ]  # fmt: skip
    said = verdict(outcomes)
    assert "`magnitude` is more accurate than `random` at 2 of 3 levels, at 1 of them" in said
    assert verdict([]) == ""


def test_the_page_repeats_what_bench_warns_of():
    outcomes = [result("published", 1.0, 0.1, 0.02), result("magnitude", 0.3, 0.3, 0.02)]
    said = page(SETTINGS, outcomes, [race(0.5), race(0.3), race(0.3)], {"activation_mean": 0.3})
    assert said.count("- 30.0 %: slow at 0.3") == 1
    assert "- 50.0 %" not in said
    assert "warns of nothing" in page(SETTINGS, outcomes, [race(0.5)], {"activation_mean": 0.3})
