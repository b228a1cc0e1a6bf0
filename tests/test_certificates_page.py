"""docs/certificates.md says what the studies' results say, and covers both studies."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from benchmarks.certificates import BOUNDS, HEIGHT, RIGHT, WIDTH, page, picture

ROOT = Path(__file__).parents[1]


def results():
    rows = [
        {"bound": bound, "alpha": alpha, "mean": round(alpha * (10 - i), 4), "violated": 10 * i + k}
        for k, alpha in enumerate((0.01, 0.05))
        for i, bound in enumerate(BOUNDS)
    ]
    entry = {
        "rows": rows, "n": 4500, "pool": 9500, "candidates": 19, "resplits": 1000, "delta": 0.05,
        "reachable": [[0.01, None], [0.05, 0.6]],
        "frugality": [{"alpha": 0.01, "examples": 4275.0, "walked": 8550.0, "within_one": 0.994}],
    }  # fmt: skip
    return {
        "study": {"name": "s", "about": "About it."},
        "certificates": [{"claim": "The claim."}],
        "resplits": [entry],
    }


def test_the_tables_hold_the_numbers_in_their_places():
    written = page([results()], ["s.svg"]).replace("\u202f", " ")
    cells = [re.findall(r"[^|]+", line) for line in written.splitlines() if line.startswith("| ")]
    table = [[cell.strip() for cell in row] for row in cells]
    assert ["1 %", "10.0 %", "9.0 %", "8.0 %", "7.0 %", "6.0 %", "5.0 %", "0.0 %"] in table
    assert ["5 %", "50.0 %", "45.0 %", "40.0 %", "35.0 %", "30.0 %", "25.0 %", "60.0 %"] in table
    assert ["5 %", "1", "11", "21", "31", "41", "51"] in table
    assert ["1 %", "4,275", "20x", "2.0x", "99 %"] in table
    assert "where 50 are allowed" in written
    assert "- The claim." in written
    assert "](s.svg)" in written


def test_lines_go_through_their_points():
    root = ET.fromstring(picture(results()["resplits"][0]))
    lines = [line.get("points").split() for line in root.iter("{http://www.w3.org/2000/svg}polyline")]
    assert len(lines) == 1 + len(BOUNDS)
    assert [len(points) for points in lines] == [1, 2, 2, 2, 2, 2, 2]
    x, y = map(float, lines[0][0].split(","))
    assert x == WIDTH - RIGHT, "the highest limit is at the right end"
    heights = [float(points[-1].split(",")[1]) for points in lines]
    assert heights == sorted(heights), "0.6 above 0.5 above 0.45 ..."
    assert 0 < y < HEIGHT


@pytest.mark.parametrize("name", ["confident_mnist", "confident_cifar10"])
def test_the_page_in_the_docs_covers_both_studies(name):
    written = (ROOT / "docs" / "certificates.md").read_text()
    section = written.split(f"## {name}\n")[1].split("\n## ")[0]
    assert len(re.findall(r"^\| [\d.]+.%", section, re.MULTILINE)) == 30, "ten limits in each of three tables"
    wrong = section.split("Wrong certificates")[1].split("Forward examples")[0]
    counts = [int(count) for row in re.findall(r"^\| [\d.]+.% (.*)\|$", wrong, re.MULTILINE)
              for count in re.findall(r"\d+", row)]  # fmt: skip
    assert len(counts) == 60
    assert 0 < max(counts) <= 50
    ET.parse(ROOT / "docs" / f"{name}.svg")
