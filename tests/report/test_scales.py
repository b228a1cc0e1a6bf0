"""Axes and the ways numbers are written."""

import math

import pytest

from prudent.report.reading import Method
from prudent.report.scales import linear_scale, log_scale, ratio_text, ratio_ticks, round_step, sparsity_ticks
from prudent.report.writing import capital, cut, joined, number, one_in, p_value, signed, times


def test_sparsity_ticks_halve_what_is_kept():
    assert [text for _, text in sparsity_ticks(0.984)] == ["0", "50", "75", "87.5", "93.75", "96.9", "98.4"]
    assert [at for at, _ in sparsity_ticks(0.984)] == pytest.approx([0, 1, 2, 3, 4, 5, 6], abs=0.02)
    assert [text for _, text in sparsity_ticks(0.9)] == ["0", "25", "50", "75", "87.5"]


@pytest.mark.parametrize("values", [[0.001, 0.3], [0.02, 0.021], [0.0, 0.5], [0.0], [1e-5, 0.9]])
def test_log_scale_holds_everything_with_readable_ticks(values):
    (low, high), ticks, floor = log_scale(values, factor=100)
    assert all(low <= math.log10(max(v, floor)) <= high for v in values)
    assert 1 <= len(ticks) <= 12
    for at, text in ticks:
        assert float(text) == pytest.approx(100 * 10**at)


@pytest.mark.parametrize("values", [[0.56, 0.985], [0.9, 0.9], [0.5, 1.0], [0.0, 0.001]])
def test_linear_scale_holds_everything_with_readable_ticks(values):
    (low, high), ticks = linear_scale(values, top=1.0)
    assert low <= min(values)
    assert max(values) <= high <= 1.0
    assert 2 <= len(ticks) <= 8
    for at, text in ticks:
        assert float(text) == pytest.approx(at)


@pytest.mark.parametrize(("step", "rounded"), [(0.03, 0.05), (0.1, 0.1), (1.7, 2), (6, 10), (0.0012, 0.002)])
def test_round_steps(step, rounded):
    assert round_step(step) == pytest.approx(rounded)


def test_ratio_ticks():
    assert ratio_ticks(-0.2, 3.1) == [(0.0, "1×"), (1.0, "2×"), (2.0, "4×"), (3.0, "8×")]
    assert ratio_text(-1) == "½×"
    assert len(ratio_ticks(0, 12)) <= 7


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (times, 1.273, "1.27×"), (times, 9.586, "9.6×"), (times, 57.34, "57×"), (times, 0.98, "0.98×"),
        (p_value, 1.53e-6, "2\u202f·\u202f10⁻⁶"), (p_value, 0.00221, "0.0022"), (p_value, 0.1964, "0.196"),
        (p_value, 0.99999, "1"), (p_value, 0.0, "0"), (one_in, 0, "certain"), (one_in, 2, "1 in 100"),
        (one_in, 6, "1 in 10⁶"), (number, 0.9375, "93.75"), (capital, "test error", "Test error"),
    ],
)  # fmt: skip
def test_words(function, value, text):
    assert function(value) == text


def test_signed_differences():
    assert [signed(v, 1) for v in (0.44, -1.25, 0.04, -0.04)] == ["+0.4", "−1.3", "0.0", "0.0"]


def test_names_are_joined_and_cut():
    assert joined(["a"]) == "a"
    assert joined(["a", "b", "c"]) == "a, b and c"
    assert cut("abcdef", 4) == "abc…"
    assert cut("abcd", 4) == "abcd"


def test_units_of_a_method():
    method = Method(
        index=0, name="a", title="A", granularity="channel", scope="layer", score="magnitude", control_of=None,
        sparsities=(0.5,),
    )  # fmt: skip
    assert method.units == "channels"
