"""Pruning to a latency: a scripted machine whose times are known exactly, and a real one for what must always hold."""

import math
import time
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import prudent.deadlines
import prudent.speed
from prudent.deadlines import prune_to_latency
from prudent.errors import BadInput, UnknownName
from prudent.layer_times import sites_of, widths_left
from prudent.models.mobilenet_v2 import mobilenet_v2
from prudent.models.resnet_cifar import resnet_cifar
from prudent.models.vit import vit
from prudent.network import macs
from prudent.pacing import STEPS, least_step
from prudent.probing import Probe, Timing
from prudent.pruning import prune
from prudent.rounding import rounded_widths
from prudent.surgery.cutting import plan_of
from prudent.surgery.plans import Plan, apply_plan
from prudent.surgery.shrinking import shrink
from tests.conftest import assert_untouched, snapshot

REST = 0.25
X = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def blocks(width: int) -> int:
    return -(-width // 8)


def alone(inputs: int, outputs: int, kernel: int, positions: int) -> float:
    """Milliseconds of a layer on a machine that computes in blocks of 8 channels."""
    return 1e-4 * blocks(inputs) * blocks(outputs) * kernel**2 * positions


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 40, 3, padding=1)
        self.inner = nn.Conv2d(40, 56, 3, padding=1)
        self.outer = nn.Conv2d(56, 40, 3, padding=1)
        self.head = nn.Linear(40, 5)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.outer(torch.relu(self.inner(x))))
        return self.head(x.mean((2, 3)))


def of_modules(model: nn.Module, batch: int) -> float:
    """What the machine takes for a network of this class, read off its modules."""
    convolutions = sum(
        alone(m.in_channels, m.out_channels, 3, 64 * batch) for m in model.modules() if isinstance(m, nn.Conv2d)
    )
    return convolutions + alone(model.head.in_features, 5, 1, batch)


@pytest.fixture
def machine(monkeypatch):
    """Install a machine: what cut networks take is `REST` and their layers, changed by a function."""
    now, asked = [0.0], []

    def probe(layer, widths, *, runtime, threads, budget, turns):
        asked.append((layer, tuple(widths)))
        positions = layer.size[0] * layer.size[1] * layer.batch
        times = {w: 6 * alone(layer.inputs, w, layer.kernel, positions) for w in widths}
        timings = tuple(Timing(width=w, fastest=t, median=t, turns=turns) for w, t in times.items())
        return Probe(layer=layer, runtime=runtime, threads=threads, machine="scripted", timings=timings)

    def install(change=lambda milliseconds, cut: milliseconds):
        def start(model, example, runtime):
            def work(inputs, threads):
                cut = model.stem.out_channels < 40 or model.inner.out_channels < 56
                milliseconds = change(REST + of_modules(model, len(inputs)), cut)

                def run():
                    now[0] += milliseconds / 1e3

                return run

            return work

        monkeypatch.setattr(prudent.speed, "starter", start)
        monkeypatch.setattr(prudent.deadlines, "starter", start)
        monkeypatch.setattr(prudent.deadlines, "probe", probe)
        return asked

    install.clock = lambda: now[0]
    return install


def paced(machine, model, **options):
    return prune_to_latency(model, X, turns=6, clock=machine.clock, wall=lambda: 0.0, **options)


def best_by_trying_all(model: nn.Module, budget: float) -> tuple[int, float]:
    """The least step whose network, cut and rounded by the machine's known blocks, is fast enough; and its time."""
    for step in range(1, STEPS):
        mask = prune(model, sparsity=step / STEPS, granularity="channel", minimum=1, example=X).mask
        fractions = {}
        for name, kept in mask.kept.items():
            total, wanted = kept.numel(), int(kept.sum())
            near = [w for w in {wanted, *(wanted - wanted % b for b in (4, 8, 16, 32))} if w >= 0.75 * wanted and w]
            width = wanted if wanted == total else min(near, key=lambda w: (blocks(w) / w, -w))
            fractions[name] = (total - width) / total
        small = shrink(prune(model, fractions=fractions, granularity="channel", example=X), X)
        spent = REST + of_modules(small.model, 1)
        if spent <= budget:
            return step, spent
    raise AssertionError("none is fast enough")


@pytest.mark.parametrize("share", [0.85, 0.5, 0.3])
def test_the_densest_network_within_the_budget(machine, share):
    machine()
    model = Residual()
    before = snapshot(model)
    dense = REST + of_modules(model, 1)
    found = paced(machine, model, milliseconds=share * dense)
    assert_untouched(model, before)
    step, spent = best_by_trying_all(model, share * dense)
    assert found.dense == pytest.approx(dense)
    assert found.race.milliseconds == pytest.approx(found.predicted) == pytest.approx(spent)
    assert found.race.milliseconds <= share * dense
    assert of_modules(found.shrunk.model, 1) + REST == pytest.approx(spent)
    expected = prune(model, sparsity=step / STEPS, granularity="channel", minimum=1, example=X).mask
    for name, (wanted, width) in found.rounded.items():
        assert wanted == int(expected.kept[name].sum())
        assert width < wanted
        assert int(found.pruned.mask.kept[name].sum()) == width
    assert set(found.pruned.mask.kept) == set(expected.kept)


def test_wrong_predictions_are_corrected_by_measurement(machine):
    model = Residual()
    dense = REST + of_modules(model, 1)
    for factor in (1.5, 0.6):  # what is cut takes longer than its layers promise, or less
        machine(lambda spent, cut, factor=factor: factor * spent if cut else spent)
        found = paced(machine, model, milliseconds=0.6 * dense)
        assert found.attempts > 1
        assert 0.4 * dense < found.race.milliseconds <= 0.6 * dense
        assert found.race.milliseconds == pytest.approx(factor * (REST + of_modules(found.shrunk.model, 1)))


def test_a_dense_network_timed_on_a_busy_machine_does_not_make_the_small_one_smaller_than_need_be(machine):
    """Its time looks 20 times what it is, so that predictions allow nothing but the smallest network."""
    machine(lambda milliseconds, cut: milliseconds if cut else 20 * milliseconds)
    whole = REST + of_modules(Residual(), 1)
    found = paced(machine, Residual(), milliseconds=0.7 * whole)
    assert 0.75 * best_by_trying_all(Residual(), 0.7 * whole)[1] <= found.race.milliseconds <= 0.7 * whole
    assert 1 < found.attempts <= 6


def test_a_budget_that_cannot_be_met_says_how_far_one_can_go(machine):
    machine()
    model = Residual()
    with pytest.raises(BadInput, match=r"0.260 ms cannot be met: the dense network takes .* the fastest that was cut"):
        paced(machine, model, milliseconds=0.26)
    machine(lambda spent, cut: 2.0 if cut else spent)
    with pytest.raises(BadInput, match="2.00 ms: ask for that"):
        paced(machine, model, milliseconds=1.0)


def test_what_does_not_pay_is_warned_of(machine):
    model = Residual()
    dense = REST + of_modules(model, 1)
    machine(lambda spent, cut: 0.75 * dense + 0.25 * spent if cut else spent)
    found = paced(machine, model, milliseconds=0.85 * dense)
    assert found.race.speedup < 0.8 * found.macs_ratio
    assert any(f"give {found.race.speedup:.2f} times the speed" in warning for warning in found.warnings)
    machine()
    found = paced(machine, model, milliseconds=0.5 * dense)
    assert not any("pays less" in warning for warning in found.warnings)


def test_batch_threads_and_time_for_the_search(machine):
    asked = machine()
    model = Residual()
    dense = REST + of_modules(model, 5)
    ticks = iter(range(1000))
    late = prune_to_latency(
        model, X, milliseconds=0.6 * dense, batch=5, seconds=0.5, turns=6, clock=machine.clock, wall=lambda: next(ticks)
    )
    hurried, batches = len(asked), {layer.batch for layer, _ in asked}
    assert late.race.milliseconds <= 0.6 * dense
    assert (late.race.batch, batches) == (5, {5})
    asked.clear()
    paced(machine, model, milliseconds=0.6 * dense, batch=5)
    assert hurried < len(asked)


def test_bad_requests_are_refused_before_work(monkeypatch, unchecked):
    model = Residual()
    monkeypatch.setattr(prudent.deadlines, "starter", lambda *given: pytest.fail("work began"))
    for options, said in (
        ({"milliseconds": 0.0}, "above 0; got 0"),
        ({"milliseconds": math.nan}, "above 0; got nan"),
        ({"milliseconds": 1.0, "batch": 0}, "at least 1"),
        ({"milliseconds": 1.0, "seconds": 0.0}, "seconds above 0"),
        ({"milliseconds": 1.0, "turns": 3}, "needs 6 values"),
    ):
        with pytest.raises(BadInput, match=said):
            prune_to_latency(model, X, **options)
    with pytest.raises(UnknownName, match="no runtime named 'onxruntime'"):
        prune_to_latency(model, X, milliseconds=1.0, runtime="onxruntime")
    with pytest.raises(UnknownName, match="latency budget named 'weight'. Known: channel, head"):
        prune_to_latency(model, X, milliseconds=1.0, granularity="weight")


def test_a_budget_that_the_dense_network_meets_is_refused(machine):
    machine()
    with pytest.raises(BadInput, match=r"less than the dense network takes, .* in onnxruntime; got 100.00 ms"):
        paced(machine, Residual(), milliseconds=100)


@pytest.mark.parametrize("ceiling", [STEPS, 90, 1])
@pytest.mark.parametrize("limit", [-1.0, 20.0, 63.5, 126.0, 500.0])
def test_bisection_finds_what_a_scan_finds(limit, ceiling):
    steps = {j: SimpleNamespace(layers=float(STEPS - j)) if j < ceiling else None for j in range(STEPS)}
    for missed, met in ((0, STEPS), (30, STEPS), (10, 70)):
        fits = [j for j in range(missed + 1, met) if steps[j] is not None and steps[j].layers <= limit]
        there = [j for j in range(missed + 1, met) if steps[j] is not None]
        expected = fits[0] if fits else there[-1] if there and met == STEPS else None
        assert least_step(steps.get, limit, missed, met, lambda: False) == expected


def arithmetic(sites, widths) -> int:
    total = 0
    for site in sites:
        inputs, outputs, groups = widths[site.weight]
        positions = site.layer.size[0] * site.layer.size[1] * site.layer.batch
        reads = 1 if site.layer.kind == "depthwise" else inputs // groups
        total += reads * outputs * site.layer.kernel**2 * positions
    return total


class Grouped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 24, 3), nn.Conv2d(24, 24, 3, groups=4, stride=2), nn.Conv2d(24, 6, 1)

    def forward(self, x):
        return self.c(torch.relu(self.b(torch.relu(self.a(x))))).mean((2, 3))


@pytest.mark.parametrize(
    ("model", "size"),
    [
        (Residual(), 8),
        (Grouped(), 9),
        (resnet_cifar((3, 16, 16), 10, depth=8), 16),
        pytest.param(mobilenet_v2((3, 32, 32), 10), 32, marks=pytest.mark.slow),
    ],
    ids=["residual", "grouped", "resnet", "mobilenet"],
)
def test_all_arithmetic_has_a_place_before_and_after_the_cut(model, size):
    x = torch.rand(2, 3, size, size)
    sites = sites_of(model, x)
    assert arithmetic(sites, widths_left(Plan(slices={}), sites)) == macs(model, x)
    pruned = prune(model, sparsity=0.5, granularity="channel", scope="layer", example=x)
    plan = plan_of(pruned.model, pruned.mask)
    left = widths_left(plan, sites)
    small = apply_plan(pruned.model, plan).state_dict()
    assert all(small[weight].shape[0] == outputs for weight, (_, outputs, _) in left.items())
    assert arithmetic(sites, left) == 2 * shrink(pruned, x).macs


def test_projections_of_attention_have_a_place():
    model = nn.TransformerEncoderLayer(12, 3, 20, batch_first=True).eval()
    sites = sites_of(model, torch.rand(2, 5, 12))
    assert [(s.weight, s.layer.inputs, s.width, s.layer.batch) for s in sites] == [
        ("self_attn.in_proj_weight", 12, 36, 10), ("self_attn.out_proj.weight", 12, 12, 10),
        ("linear1.weight", 12, 20, 10), ("linear2.weight", 20, 12, 10),
    ]  # fmt: skip


def test_rounding_leaves_alone_what_it_does_not_know():
    asked = []

    def never(layer, widths):
        asked.append(widths)
        times = tuple(Timing(width=w, fastest=float(blocks(w)), median=1.0, turns=3) for w in widths)
        return Probe(layer=layer, runtime="eager", threads=1, machine="", timings=times)

    model, x = vit((3, 16, 16), 10, patch=4), torch.rand(2, 3, 16, 16)
    sites = sites_of(model, x)
    heads = prune(model, sparsity=0.4, granularity="head", scope="layer", example=x)
    widths = widths_left(plan_of(heads.model, heads.mask), sites)
    same = {name: int(kept.sum()) for name, kept in heads.mask.kept.items()}
    assert rounded_widths(heads.mask, sites, widths, {}, never) == same
    assert asked == []  # heads are of one size
    model = Residual()
    sites = sites_of(model, X)
    names = {"inner.weight": 0.25}  # 42 of 56 stay
    mask = prune(model, fractions=names, granularity="channel", example=X).mask
    widths = widths_left(plan_of(model, mask), sites)
    assert rounded_widths(mask, sites, widths, {}, never) == {"stem.weight": 40, "inner.weight": 40}
    assert rounded_widths(mask, sites, widths, {}, never, least=1.0) == {"stem.weight": 40, "inner.weight": 42}


def test_really_measured():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 5),
    )  # fmt: skip
    x = torch.rand(2, 3, 32, 32)
    processor = time.thread_time  # which stands still while others have the processor
    with pytest.raises(BadInput, match=r"takes, (\S+) ms") as told:
        prune_to_latency(model, x, milliseconds=1e6, runtime="eager", turns=6, clock=processor)
    dense = float(str(told.value).split("takes, ")[1].split(" ms")[0])
    found = prune_to_latency(model, x, milliseconds=0.7 * dense, runtime="eager", seconds=3, turns=15, clock=processor)
    assert 0 < found.race.lo <= found.race.milliseconds <= found.budget
    assert found.shrunk.proof.difference <= found.shrunk.proof.tolerance
    assert found.predicted > 0
    assert 0 < found.shrunk.sparsity < 1
