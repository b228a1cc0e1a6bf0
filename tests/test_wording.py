import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prudent.wording import exact_percent, fixed, percent, percent_above, plural, size

N = "\u202f"


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(2.25, 1, "2.3"), (0.125, 2, "0.13"), (-2.25, 1, "-2.3"), (1e-9, 2, "0.00"), (12.0, 0, "12")],
)
def test_fixed_rounds_halves_away_from_zero(value, digits, text):
    assert fixed(value, digits) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.875, "87.5"),
        (0.05, "5"),
        (0.0, "0"),
        (1.0, "100"),
        (0.96900335, "96.9"),
        (0.99999, "99.999"),
        (1e-6, "0.0001"),
    ],
)
def test_percent(share, text):
    assert percent(share) == f"{text}{N}%"


@given(st.floats(min_value=0, max_value=1))
def test_percent_never_turns_something_into_nothing_or_all(share):
    if 1e-15 < share < 1 - 1e-15:
        assert percent(share) not in (f"0{N}%", f"100{N}%")


def test_exact_percent_changes_no_digit_of_a_claim():
    assert exact_percent(0.05) == f"5{N}%"
    assert exact_percent(0.05, complement=True) == f"95{N}%"
    assert exact_percent(1e-5, complement=True) == f"99.999{N}%"
    assert exact_percent(0.00004) == f"0.004{N}%"
    assert exact_percent(0.30000000000000004) == f"30.000000000000004{N}%"


def test_numpys_floats_are_written_like_any_other():
    assert exact_percent(np.float64(0.05)) == f"5{N}%"
    assert percent_above(np.float64(0.05), 1) == f"5.0{N}%"


def test_size_and_plural():
    assert size(36762) == "35.9 KiB"
    assert size(3 * 1024**2) == "3.0 MiB"
    assert plural(1, "seed") == "1 seed"
    assert plural(1200, "seed") == "1,200 seeds"
