"""Contrast (WCAG 2.2) and distance under three deficiencies of colour vision (Machado et al. 2009, severity 100)."""

import itertools

import numpy as np
import pytest
from colorspacious import cspace_convert, deltaE

from prudent.report.palette import DARK, LIGHT, METHODS, css, styles
from prudent.report.reading import Method

THEMES = {"light": LIGHT, "dark": DARK}
VISIONS = (None, "deuteranomaly", "protanomaly", "tritanomaly")
LINES = (*METHODS, "control", "dense")


def rgb(color: str) -> np.ndarray:
    return np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def luminance(color: np.ndarray) -> float:
    linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(a: np.ndarray, b: np.ndarray) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def seen(color: str, vision: str | None) -> np.ndarray:
    if vision is None:
        return rgb(color)
    space = {"name": "sRGB1+CVD", "cvd_type": vision, "severity": 100}
    return np.clip(cspace_convert(rgb(color), space, "sRGB1"), 0, 1)


def distance(a: str, b: str) -> float:
    """Least CAM02-UCS distance over all kinds of vision."""
    return min(float(deltaE(seen(a, v), seen(b, v), input_space="sRGB1")) for v in VISIONS)


def test_contrast_of_a_known_pair():
    assert contrast(rgb("#ffffff"), rgb("#000000")) == pytest.approx(21)
    assert contrast(rgb("#777777"), rgb("#ffffff")) == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", THEMES)
def test_text_is_readable_everywhere(theme):
    colors = THEMES[theme]
    for text in ("ink", "soft", "faint", "good", "warn", "bad", *METHODS):
        for ground in ("page", "surface", "raised"):
            assert contrast(rgb(colors[text]), rgb(colors[ground])) >= 4.5, (text, ground)
    for text, ground in [
        ("good", "good-tint"), ("warn", "warn-tint"), ("bad", "bad-tint"), ("ink", "good-tint"), ("soft", "good-tint"),
        ("faint", "good-tint"), ("ink", "track"), ("soft", "track"), ("good", "track"), ("warn", "track"),
        *((method, "good-tint") for method in METHODS),
    ]:  # fmt: skip
        assert contrast(rgb(colors[text]), rgb(colors[ground])) >= 4.5, (text, ground)


@pytest.mark.parametrize("theme", THEMES)
def test_graphics_stand_out(theme):
    colors = THEMES[theme]
    for graphic in ("control", "dense", "focus", "good"):
        for ground in ("page", "surface", "good-tint"):
            assert contrast(rgb(colors[graphic]), rgb(colors[ground])) >= 3, (graphic, ground)


@pytest.mark.parametrize("theme", THEMES)
def test_lines_differ_for_every_kind_of_vision(theme):
    colors = THEMES[theme]
    for a, b in itertools.combinations(LINES, 2):
        solid = {a, b} <= {*METHODS[:5], "control", "dense"}
        assert distance(colors[a], colors[b]) >= (10 if solid else 9.5), (a, b)
        # by eyes that see all colours ten lines are told apart with more to spare
        assert deltaE(rgb(colors[a]), rgb(colors[b]), input_space="sRGB1") >= 14, (a, b)
    # the three lines of most studies, with dense, stay further apart
    for a, b in itertools.combinations(("m1", "m2", "control", "dense"), 2):
        assert distance(colors[a], colors[b]) >= 18, (a, b)


@pytest.mark.parametrize("theme", THEMES)
def test_certified_and_caution_differ_for_every_kind_of_vision(theme):
    assert distance(THEMES[theme]["good"], THEMES[theme]["warn"]) >= 25


def test_both_themes_have_the_same_roles():
    assert LIGHT.keys() == DARK.keys()
    assert all(f"--{name}:" in css() for name in LIGHT)


def method(index: int, control_of: str | None = None) -> Method:
    return Method(
        index=index, name=f"m{index}", title=f"M {index}", granularity="weight", scope="global", score="magnitude",
        control_of=control_of, sparsities=(0.5,),
    )  # fmt: skip


def test_twenty_methods_are_drawn_twenty_ways():
    found = styles([method(i) for i in range(20)])
    assert len(set(found)) == 20
    assert [s.color for s in found[:10]] == list(METHODS)
    assert found[10].color == "m1"
    assert found[10].dash != found[0].dash


def test_ten_methods_differ_in_colour_and_in_marker():
    found = styles([method(i) for i in range(10)])
    for theme in (LIGHT, DARK):
        assert len({theme[style.color] for style in found}) == 10
    assert len({style.marker for style in found}) == 10
    assert {style.dash for style in found[:5]} == {"solid"}
    assert len({style.dash for style in found[5:]}) == 1
    assert found[5].dash != "solid"


def test_controls_are_hollow_grey_and_differ():
    found = styles([method(0), method(1, "m0"), method(2, "m0")])
    assert [s.color for s in found] == ["m1", "control", "control"]
    assert all(s.marker.endswith("-open") for s in found[1:])
    assert found[1].marker != found[2].marker
