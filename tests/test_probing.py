"""Which widths a machine likes: choices from given timings, rounds with scripted clocks, the cache."""

import json

import numpy as np
import pytest
import torch

import prudent.probing
from prudent.errors import BadInput, PrudentError, UnknownName
from prudent.probed_layers import REPEATS, Layer, inputs_of, piece, piece_as_onnx
from prudent.probing import Probe, Timing, good_widths, in_rounds, machine_of, probe

CONV = Layer(kind="conv2d", inputs=4, size=(6, 5), batch=2)


def probed(times: dict[int, float]) -> Probe:
    timings = tuple(Timing(width=w, fastest=t, median=2 * t, turns=9) for w, t in times.items())
    return Probe(layer=CONV, runtime="eager", threads=1, machine="a machine", timings=timings)


def test_blocks_of_channels_are_found():
    # a runtime that computes in blocks of 8: 9 channels cost what 16 do
    blocks = probed({w: float(-(-w // 8)) for w in range(1, 33)})
    chosen = good_widths(blocks, [32, 31, 27, 24, 17, 16, 9, 8], least=0.5)
    assert chosen == {32: 32, 31: 24, 27: 24, 24: 24, 17: 16, 16: 16, 9: 8, 8: 8}


@pytest.mark.parametrize("seed", range(5))
def test_choice_by_definition(seed):
    rng = np.random.default_rng(seed)
    times = {int(w): float(rng.uniform(1, 5)) for w in rng.choice(np.arange(2, 40), 12, replace=False)}
    for wanted in range(min(times), 45):
        got = good_widths(probed(times), [wanted], least=0.6)[wanted]
        allowed = [w for w in times if 0.6 * wanted <= w <= wanted]
        if allowed:
            assert times[got] / got == min(times[w] / w for w in allowed)
        else:
            assert got == max(w for w in times if w <= wanted)
        assert got <= wanted


def test_of_equal_costs_the_wider():
    assert good_widths(probed({8: 1.0, 16: 2.0, 12: 1.5}), [16], least=0.1) == {16: 16}


def test_widths_below_every_candidate_are_refused():
    with pytest.raises(BadInput, match="no probed width is at most 7; the smallest is 8: probe smaller ones too"):
        good_widths(probed({8: 1.0}), [9, 7])
    with pytest.raises(BadInput, match=r"fraction in \(0, 1\]; got 0"):
        good_widths(probed({8: 1.0}), [9], least=0)


class Clock:
    """Moves only when somebody works."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def work(self, name: str, seconds: list[float]):
        script = iter([50.0, 50.0, *seconds])

        def run() -> None:
            self.calls.append(name)
            self.now += next(script)

        return run


def test_rounds_begin_with_another_each_time_and_keep_times_apart():
    clock = Clock()
    works = [clock.work("a", [1, 2, 3, 4]), clock.work("b", [10, 20, 30, 40]), clock.work("c", [5, 6, 7, 8])]
    times = in_rounds(works, turns=4, budget=1e9, clock=clock, wall=clock)
    assert times == [[1, 2, 3, 4], [10, 20, 30, 40], [5, 6, 7, 8]]
    assert "".join(clock.calls) == "aabbcc" + "abc" + "bca" + "cab" + "abc"


@pytest.mark.parametrize(("budget", "rounds"), [(1, 3), (205, 3), (216, 4), (228, 6), (1000, 10)])
def test_no_round_begins_after_the_budget(budget, rounds):
    # warming up takes 200 seconds, a round 5
    clock = Clock()
    works = [clock.work("a", [2.0] * 10), clock.work("b", [3.0] * 10)]
    times = in_rounds(works, turns=10, budget=budget, clock=clock, wall=clock)
    assert [len(own) for own in times] == [rounds, rounds]


KINDS = [
    CONV,
    Layer(kind="conv2d", inputs=4, kernel=5, stride=2, groups=2, size=(9, 8), batch=3),
    Layer(kind="conv2d", inputs=4, kernel=1, size=(3, 3)),
    Layer(kind="depthwise", inputs=5, stride=2, size=(7, 7), batch=2),
    Layer(kind="linear", inputs=7, batch=5),
]


@pytest.mark.parametrize("layer", KINDS, ids=lambda layer: f"{layer.kind}{layer.kernel}")
@pytest.mark.parametrize("width", [2, 6])
def test_the_piece_has_the_width_and_is_the_same_in_onnx(layer, width):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
    network, x = piece(layer, width), inputs_of(layer)
    weights = [parameter.shape for name, parameter in network.named_parameters() if name.endswith("weight")]
    assert sum(shape[0] == width for shape in weights) >= REPEATS
    assert x.shape[:2] == (layer.batch, layer.inputs)
    with torch.no_grad():
        expected = network(x).numpy()
    running = onnxruntime.InferenceSession(piece_as_onnx(layer, width), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(running.run(None, {"input": x.numpy()})[0], expected, rtol=1e-4, atol=1e-6)
    side = -(-layer.size[0] // layer.stride)
    assert expected.shape[:3] == ((layer.batch, layer.inputs, side) if layer.kind != "linear" else (5, 7))


def test_global_random_numbers_are_not_touched():
    before = torch.get_rng_state()
    piece(CONV, 3), inputs_of(CONV)
    assert torch.equal(before, torch.get_rng_state())


@pytest.fixture
def timed(monkeypatch):
    """Every width w takes w seconds, then w + 0.5, ...; each measurement is noted."""
    noted = []

    def rounds(works, *, turns, budget, clock):
        widths = [work.args[0][0].out_channels for work in works]
        noted.append(widths)
        return [[width + 0.5, float(width), width + 0.25] for width in widths]

    monkeypatch.setattr(prudent.probing, "in_rounds", rounds)
    return noted


def test_a_probe_is_remembered(timed, tmp_path):
    cache = tmp_path / "deep" / "widths.json"
    first = probe(CONV, [8, 4, 8], runtime="eager", cache=cache)
    assert first.timings == (
        Timing(width=4, fastest=4000, median=4250, turns=3),
        Timing(width=8, fastest=8000, median=8250, turns=3),
    )
    assert (first.layer, first.runtime, first.threads) == (CONV, "eager", 1)
    assert "torch" in first.machine
    assert probe(CONV, [8, 4], runtime="eager", cache=cache) == first
    assert probe(CONV, [4], runtime="eager", cache=cache).timings == first.timings[:1]
    assert timed == [[4, 8]]
    # times of different moments are not mixed: with one more width all are measured again, together
    probe(CONV, [6], runtime="eager", cache=cache)
    assert timed == [[4, 8], [4, 6, 8]]
    probe(CONV, [4, 6, 8], runtime="eager", cache=cache)
    assert len(timed) == 2


def test_another_layer_runtime_or_machine_is_measured_afresh(timed, tmp_path, monkeypatch):
    cache = tmp_path / "widths.json"
    other = Layer(kind="conv2d", inputs=4, size=(6, 5), batch=3)
    for layer, threads in ((CONV, 1), (other, 1), (CONV, 2), (CONV, 1), (other, 1)):
        probe(layer, [4], runtime="eager", threads=threads, cache=cache)
    assert len(timed) == 3
    monkeypatch.setattr(prudent.probing, "machine_of", lambda runtime: "another")
    assert probe(CONV, [4], runtime="eager", cache=cache).machine == "another"
    assert len(timed) == 4
    assert len(json.loads(cache.read_text())["probes"]) == 4
    assert machine_of("eager") != machine_of("onnxruntime") or machine_of("eager") == "another"


@pytest.mark.parametrize(
    "content", ["", "[]", '{"schema": 1}', '{"schema": 9, "probes": {}}', '{"schema": 1, "probes": 3}', "\x00\xff"]
)
def test_a_cache_that_is_none_is_refused(timed, tmp_path, content):
    cache = tmp_path / "widths.json"
    cache.write_text(content)
    with pytest.raises(BadInput, match="no file of probes|has format 9"):
        probe(CONV, [4], runtime="eager", cache=cache)
    assert cache.read_text() == content
    assert timed == []


def test_a_damaged_entry_is_refused(timed, tmp_path):
    cache = tmp_path / "widths.json"
    probe(CONV, [4], runtime="eager", cache=cache)
    cache.write_text(cache.read_text().replace('"fastest"', '"quickest"'))
    with pytest.raises(BadInput, match="cannot be read .*: remove the file"):
        probe(CONV, [4], runtime="eager", cache=cache)
    with pytest.raises(PrudentError, match="cannot read"):
        probe(CONV, [4], runtime="eager", cache=tmp_path)


@pytest.mark.parametrize(
    ("widths", "options", "said"),
    [
        ([], {}, "got none"),
        ([4, 0], {}, "got 0"),
        ([4], {"budget": 0}, "seconds above 0"),
        ([4], {"budget": float("nan")}, "seconds above 0"),
        ([4], {"turns": 2}, "3 turns"),
        ([4], {"threads": 0}, "1 thread or more"),
    ],
)
def test_bad_requests_are_refused_before_work(timed, widths, options, said):
    with pytest.raises(BadInput, match=said):
        probe(CONV, widths, runtime="eager", **options)
    assert timed == []


def test_layers_that_cannot_be():
    for wrong in ({"kernel": 2}, {"inputs": 0}, {"size": (0, 3)}, {"stride": 0}, {"batch": 0}, {"groups": 3}):
        with pytest.raises(BadInput):
            Layer(**{"kind": "conv2d", "inputs": 4, **wrong})
    with pytest.raises(BadInput, match="only a conv2d has groups"):
        Layer(kind="linear", inputs=4, groups=2)
    with pytest.raises(BadInput, match="multiples of the 2 groups; got 5"):
        probe(Layer(kind="conv2d", inputs=4, groups=2), [4, 5], runtime="eager")


def test_unknown_words(unchecked):
    with pytest.raises(UnknownName, match="no kind of layer named 'conv'"):
        Layer(kind="conv", inputs=3)
    with pytest.raises(UnknownName, match="no runtime named 'compile'"):
        probe(CONV, [4], runtime="compile")


def test_really_measured():
    pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
    for runtime in ("eager", "onnxruntime"):
        found = probe(CONV, [3, 5], runtime=runtime, turns=3)
        assert [(timing.width, timing.turns) for timing in found.timings] == [(3, 3), (5, 3)]
        assert all(0 < timing.fastest <= timing.median for timing in found.timings)
        assert set(good_widths(found, [5, 6]).values()) <= {3, 5}
