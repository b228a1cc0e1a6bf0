"""Dense and pruned timed side by side: the statistics with scripted clocks, the rest without any."""

import random
import statistics

import pytest
import torch
from torch import nn

import prudent.runtimes
import prudent.speed
from prudent.errors import BadInput, PrudentError, UnknownName
from prudent.intervals import median_interval
from prudent.pruning import prune
from prudent.runtimes import starter
from prudent.speed import bench, doubts, odd_widths
from prudent.surgery.shrinking import shrink
from tests.conftest import assert_untouched, chain, images, snapshot

PRUNED, DENSE = nn.Linear(4, 2), nn.Linear(4, 3)
X = torch.zeros(3, 4)


@pytest.fixture
def scripted(monkeypatch):
    """A clock that moves only while a network runs, by seconds from a script; and what was asked of the runtimes."""
    now, asked = [0.0], []

    def install(own, other):
        scripts = {id(PRUNED): own, id(DENSE): other}

        def start(model, example, runtime):
            if runtime == "compile":
                raise PrudentError("there is no compiler")

            def work(inputs, threads):
                asked.append((runtime, len(inputs), threads, torch.get_num_threads()))
                seconds = iter([99.0, 99.0, *scripts[id(model)]])  # two of warm-up

                def run():
                    now[0] += next(seconds)

                return run

            return work

        monkeypatch.setattr(prudent.speed, "starter", start)
        return asked

    install.clock = lambda: now[0]
    return install


def test_ratios_are_those_of_neighbouring_passes(scripted):
    # the machine is busy in some turns, which slows both: the times spread, the ratio does not
    busy = [1, 1, 5, 1, 8, 1, 1, 3]
    scripted([0.002 * b for b in busy], [0.005 * b for b in busy])
    speeds = bench(PRUNED, DENSE, X, runtimes=["eager"], batches=[1], turns=8, warm_up=2, clock=scripted.clock)
    (race,) = speeds.races
    assert race.milliseconds == pytest.approx(2)
    assert race.beside == pytest.approx(5)
    assert (race.lo, race.hi) == pytest.approx((2, 16))  # the lowest and highest of 8 values, at 95 %
    assert (race.speedup, race.speedup_lo, race.speedup_hi) == pytest.approx((2.5, 2.5, 2.5))
    assert speeds.warnings == ()
    assert speeds.macs_ratio == 1.5
    assert speeds.parameters_ratio == 1.5


def test_medians_and_intervals_by_definition(scripted):
    rng = random.Random(0)
    own, other = ([rng.uniform(0.001, 0.01) for _ in range(31)] for _ in range(2))
    scripted(own, other)
    (race,) = bench(
        PRUNED, DENSE, X, runtimes=["eager"], batches=[2], turns=31, warm_up=2, level=0.9, clock=scripted.clock
    ).races
    ratios = [b / a for a, b in zip(own, other, strict=True)]
    for got, values in (
        ((race.milliseconds, race.lo, race.hi), [1e3 * v for v in own]),
        ((race.beside, race.beside_lo, race.beside_hi), [1e3 * v for v in other]),
        ((race.speedup, race.speedup_lo, race.speedup_hi), ratios),
    ):
        assert got == pytest.approx((statistics.median(values), *median_interval(values, level=0.9)))
    assert (race.turns, race.level, race.batch, race.runtime) == (31, 0.9, 2, "eager")


def test_every_setting_is_measured_and_what_cannot_be_is_told(scripted):
    asked = scripted([0.1] * 6, [0.2] * 6)
    torch.set_num_threads(1)
    speeds = bench(
        PRUNED, DENSE, X, runtimes=["compile", "onnxruntime", "eager"], batches=[1, 7], threads=[1, 2], turns=6,
        warm_up=2, clock=scripted.clock,
    )  # fmt: skip
    assert [(r.runtime, r.threads, r.batch) for r in speeds.races] == [
        (runtime, threads, batch) for runtime in ("onnxruntime", "eager") for threads in (1, 2) for batch in (1, 7)
    ]
    assert all(given == of_torch for *_, given, of_torch in asked)
    assert [batch for _, batch, *_ in asked[::2]] == [1, 7, 1, 7] * 2
    assert torch.get_num_threads() == 1
    assert speeds.unmeasured == {"compile": "there is no compiler"}
    with pytest.raises(BadInput, match="none of the runtimes works here: there is no compiler"):
        bench(PRUNED, DENSE, X, runtimes=["compile"])


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ([0.4] * 8, "is slower than the dense one in eager, batch 4, 1 thread: 0.50 times its speed (0.50 to 0.50)"),
        ([0.2] * 8, "is not shown to be faster than the dense one"),
        ([0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.3], "is not shown to be faster than the dense one"),
        ([0.1] * 8, None),
    ],
)
def test_no_gain_is_said_in_words(scripted, own, said):
    scripted(own, [0.2] * 8)
    speeds = bench(PRUNED, DENSE, X, runtimes=["eager"], batches=[4], turns=8, warm_up=2, clock=scripted.clock)
    if said is None:
        assert speeds.warnings == ()
    else:
        (warning,) = speeds.warnings
        assert said in warning
        assert "for 1.50 times fewer multiply-accumulates" in warning


@pytest.mark.parametrize(("own", "doubted"), [(0.2, True), (0.168, True), (0.165, False), (0.05, False)])
def test_speed_that_stays_behind_the_arithmetic_is_doubted(scripted, own, doubted):
    # the ratio of multiply-accumulates is 1.5, so from a speed-up of 1.2 on nothing is said
    scripted([own] * 6, [0.2] * 6)
    found = doubts(bench(PRUNED, DENSE, X, runtimes=["eager"], batches=[4], turns=6, warm_up=2, clock=scripted.clock))
    assert len(found) == doubted
    assert all("1.50 times fewer multiply-accumulates give" in sentence for sentence in found)


def test_odd_widths_are_those_that_pruning_made():
    dense = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 12, 3), nn.Conv2d(12, 24, 3), nn.Linear(5, 10))
    pruned = nn.Sequential(nn.Conv2d(3, 11, 3), nn.Conv2d(11, 12, 3), nn.Conv2d(12, 16, 3), nn.Linear(5, 9))
    assert odd_widths(pruned, dense) == {"0": 11}
    assert odd_widths(nn.Sequential(pruned), dense) == {"0.0": 11, "0.1": 12}
    assert odd_widths(dense, dense) == {}


def test_masked_networks_and_odd_widths_are_warned_of():
    model, (x, _) = chain(), images(4)
    masked = prune(model, sparsity=0.5)
    before = [snapshot(network) for network in (model, masked.model)]
    speeds = bench(masked, model, x, runtimes=["eager"], batches=[1], turns=6)
    for network, was in zip((model, masked.model), before, strict=True):
        assert_untouched(network, was)
    assert "no speed from zeros" in speeds.warnings[0]
    assert "50.0\u202f% of its weight units" in speeds.warnings[0]
    assert (speeds.macs_ratio, speeds.parameters_ratio) == (1, 1)
    small = shrink(prune(model, sparsity=0.5, granularity="channel", scope="layer"), x)
    speeds = bench(small, model, x, runtimes=["eager"], batches=[1], turns=6)
    assert speeds.odd_widths == {"0": 2, "3": 3}
    assert "2 convolutions of a width that is no multiple of 8: 0 (2), 3 (3)." in speeds.warnings[-1]
    assert speeds.macs_ratio > 1.5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"turns": 5}, "needs 6 values; got 5"),
        ({"batches": [0]}, "batches are numbers of at least 1"),
        ({"threads": []}, "threads are numbers of at least 1"),
        ({"runtimes": []}, "at least one runtime"),
    ],
)
def test_bad_requests_are_refused_before_work(options, said):
    with pytest.raises(BadInput, match=said):
        bench(PRUNED, DENSE, X, **options)


def test_networks_that_do_not_run_are_refused():
    with pytest.raises(BadInput, match="does not run on an input"):
        bench(nn.Linear(7, 2), DENSE, X, runtimes=["eager"])


def test_unknown_runtime(unchecked):
    with pytest.raises(UnknownName, match="no runtime named 'onxruntime'. Did you mean 'onnxruntime'"):
        starter(PRUNED, X, "onxruntime")


def test_compilers_that_fail_are_told_in_one_line(monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("no working C++ compiler\nand so on")

    monkeypatch.setattr(prudent.runtimes.torch, "compile", fail)
    with pytest.raises(BadInput, match=r"torch.compile does not work .*: RuntimeError: no working C\+\+ compiler$"):
        starter(PRUNED, X, "compile")(X, 1)


def test_what_is_timed_is_the_network_itself():
    pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
    model, (x, _) = chain().train(), images(4)
    seen = []
    model[11].register_forward_hook(lambda module, given, answer: seen.append(answer))
    with torch.inference_mode():
        starter(model, x, "eager")(x, 1)()
        expected = model.eval()(x)
    (answer,) = starter(model, x, "onnxruntime")(x, 1)()
    torch.testing.assert_close(seen[0], expected)  # dropout is off
    torch.testing.assert_close(torch.from_numpy(answer), expected.clone(), rtol=1e-4, atol=1e-5)
