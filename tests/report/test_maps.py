"""Pictures of the plane: pixels and lines against what they show, and their place on the page."""

import base64
import io
import math
import re

import numpy as np
import pytest
from PIL import Image

from prudent.report import build_report, pictures
from prudent.report.views import SECTIONS, maps
from tests.report.sample import Sample, edit, run_of, write_run

SIDE = 9
CHANNELS = ({"name": "magnitude", "sparsities": [0.25, 0.5]}, {"name": "random", "sparsities": [0.5]})


def decoded(address: str) -> np.ndarray:
    assert address.startswith("data:image/png;base64,")
    image = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    image.load()  # checks the sums
    return np.array(image.convert("RGB"))


@pytest.mark.parametrize("stops", [pictures.SIDES, pictures.DOUBT])
def test_a_picture_shows_every_value_in_its_colour_at_its_place(stops):
    values = np.random.default_rng(0).integers(0, 256, SIDE * SIDE).astype(np.uint8)
    values[:2] = 0, 255
    found = decoded(pictures.png(values.tobytes(), SIDE, stops)).astype(float)
    shares, colours = zip(*stops, strict=True)
    for channel in range(3):
        expected = np.interp(values / 255, shares, [c[channel] for c in colours]).reshape(SIDE, SIDE)
        assert np.abs(found[:, :, channel] - expected).max() <= 0.5 + 1e-9


def test_a_line_lies_where_a_plane_crosses_the_level():
    # a plane is linear, so interpolation is exact: the line is 3 x + 2 y = c
    x, y = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    values = (9 * x + 6 * y).astype(np.uint8).tobytes()
    path = pictures.crossing(values, SIDE, level=40.5)
    points = np.array(re.findall(r"([\d.]+) ([\d.]+)", path), float) - 0.5
    assert len(points) >= 2 * 6
    np.testing.assert_allclose(9 * points[:, 0] + 6 * points[:, 1], 40.5, atol=0.1)
    assert points[:, 0].max() == pytest.approx(4.5, abs=0.01)
    assert points[:, 1].max() == pytest.approx(40.5 / 6, abs=0.01)


def test_a_circle_is_closed_and_nothing_is_drawn_where_nothing_is_crossed():
    x, y = np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-1, 1, 41))
    values = np.rint(255 * np.clip(x**2 + y**2, 0, 1)).astype(np.uint8).tobytes()
    path = pictures.crossing(values, 41, level=0.25 * 255)
    segments = re.findall(r"M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)", path)
    ends = [end for a, b, c, d in segments for end in ((a, b), (c, d))]
    assert all(ends.count(end) == 2 for end in set(ends)), "every end of a piece is that of another"
    radius = [math.hypot(float(a) - 20.5, float(b) - 20.5) for a, b in ends]
    assert min(radius) > 9.9
    assert max(radius) < 10.1
    assert pictures.crossing(bytes(81), SIDE) == ""


def found_maps(level: int) -> dict:
    x = np.meshgrid(np.arange(SIDE), np.arange(SIDE))[0]
    names = {"probability": 31 * x, "entropy": 0 * x + level, "mc_mutual_information": 0 * x + 1}
    coded = {name: base64.b64encode(v.astype(np.uint8).tobytes()).decode() for name, v in names.items()}
    examples = [[-1.0, 3.0, 0], [0.0, 1.0, 1], [3.0, -1.0, 1], [9.0, 0.0, 1]]
    return {"x": [-1.0, 3.0], "y": [-1.0, 3.0], "points": SIDE, "examples": examples, "maps": coded}


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    sample = Sample(methods=CHANNELS, classes=("upper", "lower"), ood=False)
    made = write_run(tmp_path_factory.mktemp("maps"), sample)

    def add(results):
        for network in results["networks"]:
            if network["seed"] == 0:
                network["maps"] = found_maps(51 if network["method"] == "" else 153)

    edit(made, add)
    return made


def test_each_candidate_stands_beside_the_dense_network(mapped):
    run = run_of(mapped)
    view = maps.view(run)
    assert [look["label"].partition(",")[0] for look in view["looks"]] == [m.title for m, _ in run.candidates()]
    first = view["looks"][0]
    assert [row["name"] for row in first["rows"]] == [
        "What it decides", "How unsure it says it is", "Doubt under dropout",
    ]  # fmt: skip
    dense, pruned = (decoded(first["rows"][1][side]["png"])[0, 0].tolist() for side in ("dense", "pruned"))
    assert dense == list(pictures.colour_at(0.2, pictures.DOUBT))
    assert pruned == list(pictures.colour_at(0.6, pictures.DOUBT))
    assert "by itself 20 % → 60 %" in first["answer"].striptags()
    assert "dropout" not in first["answer"]


def test_examples_stand_where_they_are(mapped):
    points = maps.view(run_of(mapped))["points"]
    assert points == [
        {"x": 0.5, "y": 0.5, "class": 0}, {"x": 2.5, "y": 4.5, "class": 1}, {"x": 8.5, "y": 8.5, "class": 1},
    ]  # fmt: skip


def test_the_page_holds_them_and_runs_without_maps_lack_the_section(mapped, run):
    page = build_report(mapped)
    assert page.count('class="map"') == 3 * 3 * 2
    assert "upper to lower" in page
    section = next(s for s in SECTIONS if s.id == "maps")
    assert section.view(run) is None
