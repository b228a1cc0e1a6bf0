"""The page in a real browser. Nothing is downloaded: Playwright from PyPI drives the chromium of the system."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest

from prudent.report import build_report
from tests.report.sample import SIX, TWELVE, Sample, edit, write_run
from tests.report.suite_sample import with_suite
from tests.report.test_page import hostile

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

pytestmark = pytest.mark.browser


@dataclass
class Seen:
    """An open page and everything that it said or asked for."""

    page: Any
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"there is no browser at {CHROMIUM}")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, headless=True, args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def pages(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files: certified, nothing certified, many seeds without strangers, hostile names, six and twelve methods."""
    place = tmp_path_factory.mktemp("pages")
    evil = shutil.copytree(folder, place / "evil-run")
    edit(evil, hostile)
    runs = {
        "certified": folder,
        "nothing": write_run(place / "nothing-run", Sample(alpha=0.002)),
        "plain": write_run(place / "plain-run", Sample(seeds=tuple(range(6)), ood=False, dropout=False)),
        "evil": evil,
        "six": write_run(
            place / "six-run", Sample(methods=SIX, compare_with="oracle", alpha=0.25, seeds=(0, 1), dropout=False)
        ),
        "suite": write_run(place / "suite-run"),
        "twelve": write_run(place / "twelve-run", Sample(methods=TWELVE, alpha=0.25, seeds=(0, 1), dropout=False)),
    }
    edit(runs["suite"], with_suite)
    for name, run in runs.items():
        (place / f"{name}.html").write_text(build_report(run))
    return {name: place / f"{name}.html" for name in runs}


def open_page(browser: Any, path: Path, *, address: str = "", width: int = 1440, **options: Any) -> Seen:
    """A file in a fresh context, once its script says that it is ready."""
    phone = width < 600
    context = browser.new_context(
        viewport={"width": width, "height": 900}, reduced_motion="reduce", is_mobile=phone, has_touch=phone, **options
    )
    seen = Seen(context.new_page())
    seen.page.on("console", lambda m: seen.messages.append(f"{m.type}: {m.text}"))
    seen.page.on("pageerror", lambda e: seen.messages.append(f"error: {e}"))
    seen.page.on("dialog", lambda d: (seen.dialogs.append(d.message), d.dismiss()))
    seen.page.on(
        "request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else seen.requests.append(r.url)
    )
    seen.page.goto(path.as_uri() + address)
    if options.get("java_script_enabled", True):
        seen.page.wait_for_selector("html[data-ready='1']", timeout=60_000)
    return seen


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Seen]]:
    """`open_page` of this browser; what it opened is closed afterwards."""
    pages = []

    def remember(path: Path, **options: Any) -> Seen:
        pages.append(open_page(browser, path, **options))
        return pages[-1]

    yield remember
    for seen in pages:
        seen.page.context.close()


@pytest.fixture(scope="module")
def _desk(browser: Any, pages: dict[str, Path]) -> Seen:
    seen = open_page(browser, pages["certified"], color_scheme="light")
    scroll(seen.page)
    return seen


@pytest.fixture
def desk(_desk: Seen) -> Any:
    """The certified page, open on a desk for many tests, as it looks at first. It must stay quiet."""
    _desk.page.evaluate("setLook({ method: 0, candidate: 1, axis: 'removed' }); scrollTo(0, 0)")
    yield _desk.page
    quiet(_desk)


def scroll(page: Any) -> None:
    """To the end, until every chart is drawn."""
    for y in range(0, page.evaluate("document.documentElement.scrollHeight"), 600):
        page.evaluate(f"scrollTo(0, {y})")
        # a chart is drawn when it is seen near the screen, and that takes frames, not time
        page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.wait_for_function("[...document.querySelectorAll('.plot')].every(n => n.querySelector('svg'))", timeout=20_000)


def quiet(seen: Seen) -> None:
    assert (seen.messages, seen.requests, seen.dialogs) == ([], [], [])


@pytest.mark.parametrize(
    ("name", "scheme", "width"),
    [
        ("certified", "light", 1440),
        ("certified", "dark", 390),
        pytest.param("nothing", "dark", 1440, marks=pytest.mark.slow),
        pytest.param("plain", "light", 390, marks=pytest.mark.slow),
        pytest.param("six", "dark", 420, marks=pytest.mark.slow),
        pytest.param("suite", "light", 1440, marks=pytest.mark.slow),
        ("suite", "dark", 390),
    ],
)
def test_drawn_quiet_fitting_and_accessible(pages, opened, name, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    seen = opened(pages[name], width=width, color_scheme=scheme)
    scroll(seen.page)
    quiet(seen)
    # compared with the width that was asked for: a phone's own grows with what overflows
    assert seen.page.evaluate("document.documentElement.scrollWidth") == width
    seen.page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert seen.page.evaluate("document.documentElement.scrollWidth") == width
    found = axe.Axe().run(seen.page, options={"runOnly": RULES, "resultTypes": ["violations"]}).response
    problems = [(v["id"], len(v["nodes"]), v["nodes"][0]["target"]) for v in found["violations"]]
    assert problems == []


BOXES = """id => {
  const chart = document.getElementById(id);
  const box = (node) => { const r = node.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
  const every = (selector) => [...chart.querySelectorAll(selector)].filter((n) => n.textContent.trim()).map(box);
  return {
    chart: box(chart),
    plot: box(chart.querySelector('.bglayer .bg') ?? chart.querySelector('.nsewdrag')),
    words: every('.annotation-text'),
    x: every('.xtick text'),
    y: every('.ytick text'),
  };
}"""
"""Where the texts of a chart are: the plot itself, names and remarks, ticks; each (left, top, right, bottom)."""


def apart(boxes: list[list[float]], slack: float = 1.0) -> bool:
    """Whether no two boxes share more than a line of so many pixels."""
    return not any(
        min(a[2], b[2]) - max(a[0], b[0]) > slack and min(a[3], b[3]) - max(a[1], b[1]) > slack
        for a, b in combinations(boxes, 2)
    )


def candidates_fit(page: Any) -> None:
    """The table of candidates does not scroll sideways, and the keys of its rows are in sight."""
    wide, room = page.evaluate(
        "(() => { const n = document.querySelector('.choices .scroll'); return [n.scrollWidth, n.clientWidth]; })()"
    )
    assert wide <= room
    lefts = page.evaluate("[...document.querySelectorAll('.pick .key')].map((k) => k.getBoundingClientRect().left)")
    edge = page.evaluate("document.querySelector('.choices .scroll').getBoundingClientRect().left")
    assert len(lefts) == 1 + page.evaluate("METHODS.length")
    assert min(lefts) >= edge
    # as cards each value has its own heading
    narrow = page.evaluate("innerWidth") < 600
    assert page.locator(".pick thead").is_visible() is not narrow
    heading = "getComputedStyle(document.querySelector('.pick td[data-h]'), '::before').content"
    assert page.evaluate(heading) == ('"Removed"' if narrow else "none")


@pytest.mark.parametrize("width", [700, 1300])
def test_luck_and_worse_stand_apart_with_two_seeds(pages, opened, width):
    page = opened(pages["six"], width=width).page
    places = """[...document.querySelectorAll('.chg .hd s')].filter((s) => s.checkVisibility()).map((s) => {
        const b = s.getBoundingClientRect(); return [b.left, b.right]; })"""
    shown = sorted(page.evaluate(places))
    assert len(shown) == 3
    assert all(right[0] - left[1] >= 4 for left, right in pairwise(shown))


@pytest.mark.parametrize(
    ("name", "scheme", "width"),
    [
        ("six", "dark", 420),
        pytest.param("twelve", "dark", 1300, marks=pytest.mark.slow),
        pytest.param("six", "light", 1300, marks=pytest.mark.slow),
        pytest.param("twelve", "light", 420, marks=pytest.mark.slow),
    ],
)
def test_no_text_of_a_chart_lies_on_another_or_on_a_line_or_is_cut_off(pages, opened, name, scheme, width):
    page = opened(pages[name], color_scheme=scheme, width=width).page
    candidates_fit(page)
    scroll(page)
    charts = page.evaluate("Object.keys(DATA.cost.charts).concat(DATA.alike ? ['c-alike'] : [])")
    for axis in ("removed", "parameters", "executed"):
        page.evaluate(f"setLook({{ method: 0, candidate: 1, axis: '{axis}' }})")
        page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        for chart in charts:
            found = page.evaluate(BOXES, chart)
            left, top, right, bottom = found["chart"]
            assert len(found["words"]) >= 2
            assert len(found["x"]) >= 2, (axis, chart)
            for words in (found["words"] + found["x"] + found["y"], found["x"], found["y"]):
                assert apart(words), (axis, chart)
            for box in found["words"] + found["x"] + found["y"]:
                assert left - 1 <= box[0], (axis, chart, box)
                assert box[2] <= right + 1, (axis, chart, box)
                assert top - 1 <= box[1], (axis, chart, box)
                assert box[3] <= bottom + 1, (axis, chart, box)
            # names stand beside the plot, remarks above it
            beside = [box[0] >= found["plot"][2] - 1 for box in found["words"]]
            over = [box[3] <= found["plot"][1] + 4 for box in found["words"]]
            assert all(a or b for a, b in zip(beside, over, strict=True)), (axis, chart)


@pytest.mark.parametrize("width", [pytest.param(1300, marks=pytest.mark.slow), 390])
def test_potentials_follow_the_look_with_their_control(pages, opened, width):
    page = opened(pages["suite"], width=width).page
    scroll(page)
    drawn = """document.getElementById('c-potential').data.filter((t) => t.mode === 'markers')
               .map((t) => [t.marker.symbol, t.marker.size, t.x[0]])"""
    page.evaluate("setLook({ method: 0, candidate: 1 })")
    *others, control, own = page.evaluate(drawn)
    assert (own[1], control[1]) == (9, 9)
    assert control[0].endswith("open")
    assert [other[1] for other in others] == [6]
    page.evaluate("setLook({ method: 2, candidate: 0 })")
    sizes = [size for _, size, _ in page.evaluate(drawn)]
    assert sizes == [6, 6, 9], "channels have no control"
    for chart in ("c-potential", "c-severity", "c-noise"):
        found = page.evaluate(BOXES, chart)
        assert apart(found["x"]), chart
        assert apart(found["y"]), chart
        left, _, right, _ = found["chart"]
        assert all(left - 1 <= box[0] and box[2] <= right + 1 for box in found["words"] + found["x"] + found["y"]), (
            chart
        )


def test_twelve_lines_are_drawn_in_twelve_ways(pages, opened):
    page = opened(pages["twelve"], width=1300).page
    scroll(page)
    drawn = page.evaluate(
        """document.getElementById('c-error').data.filter((t) => t.meta !== undefined)
           .map((t) => [t.line.color, t.line.dash, t.marker.symbol].join(' '))"""
    )
    keys = page.evaluate(
        """[...document.querySelectorAll('#cost .legend .key')].slice(0, 12)
           .map((k) => k.style.color + [...k.querySelectorAll('path')].map((p) => p.outerHTML).join(''))"""
    )
    assert len(drawn) == len(set(drawn)) == 12
    assert len(keys) == len(set(keys)) == 12
    assert len({line.partition(" ")[0] for line in drawn[:-1]}) >= 10


@pytest.mark.parametrize("width", [40, 60, 90, 140, 300])
def test_tick_labels_never_touch_and_the_last_one_stays(desk, width):
    ticks = [[0, "0"], [0.4, "25"], [1, "50"], [2, "75"], [3, "87.5"], [4, "93.75"], [5, "96.9"]]
    kept = desk.evaluate("([ticks, width]) => thinned(ticks, [0, 5], width)", [ticks, width])
    sizes = desk.evaluate("(ticks) => ticks.map(([, text]) => textWidth(text))", ticks)
    boxes = [(at / 5 * width - size / 2, at / 5 * width + size / 2) for (at, _), size in zip(ticks, sizes, strict=True)]
    shown = [i for i, text in enumerate(kept) if text]
    assert shown[-1] == len(ticks) - 1
    assert all(boxes[i][1] < boxes[j][0] for i, j in pairwise(shown))
    for i in set(range(len(ticks))) - set(shown):
        right = min(j for j in shown if j > i)
        assert boxes[i][1] + 8 > boxes[right][0], "left out although there is room"


@pytest.mark.parametrize(
    ("wanted", "gap", "low", "high"),
    [([3, 3, 3], 2, 0, 10), ([9, 9.5, 10], 2, 0, 10), ([0, 0, 0, 10], 3, 0, 10), ([1, 5, 9], 1, 0, 10), ([5], 3, 0, 9)],
)
def test_names_are_pushed_apart_in_their_order(desk, wanted, gap, low, high):
    at = desk.evaluate("([wanted, gap, low, high]) => spread(wanted, gap, low, high)", [wanted, gap, low, high])
    assert all(b - a >= gap - 1e-9 for a, b in pairwise(at))
    assert low <= at[0]
    assert at[-1] <= high
    if all(b - a >= gap for a, b in pairwise(wanted)):
        assert at == wanted


def test_keyboard_reaches_the_slider_and_moves_every_view(desk):
    page = desk
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(70):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "look-i":
            break
    assert page.evaluate("document.activeElement.id") == "look-i"

    def shown() -> list[str]:
        parts = [page.inner_text(f"#{name}") for name in ("confidence", "strangers", "changed", "layers")]
        return [*parts, page.inner_html("#c-rel"), page.inner_html("#c-error"), page.inner_html("#c-walk-0")]

    before = shown()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(500)
    assert all(a != b for a, b in zip(before, shown(), strict=True))
    assert page.get_attribute("#look-i", "aria-valuetext") == "87.5\u202f% removed, stopped here"
    assert page.url.endswith("#look=magnitude:2:removed")


def test_the_address_restores_the_view(pages, opened):
    page = opened(pages["certified"], address="#look=channels:2:speed").page
    assert page.inner_text("#look-o").startswith("75")
    assert page.input_value("#look-m") == "2"
    assert page.is_checked('#xaxis [value="speed"]')
    assert page.locator("[data-look='2:2']:visible").count() > 3
    assert page.locator("[data-look='0:1']:visible").count() == 0
    page.evaluate("location.hash = '#look=random:0:parameters'")
    page.wait_for_function("document.querySelector('#look-m').value === '1'")
    page.evaluate("location.hash = '#look=nobody:0:removed'")
    page.wait_for_timeout(100)
    assert page.input_value("#look-m") == "1"


def test_the_menu_keeps_the_nearest_sparsity(desk):
    page = desk
    page.select_option("#look-m", "2")
    assert page.inner_text("#look-o b").startswith("75")
    page.locator("[data-candidate='0']:visible").click()
    assert page.inner_text("#look-o b").startswith("25")


def test_definitions_open_and_close_by_keyboard(desk):
    page = desk
    page.focus(".v-main .term")
    page.keyboard.press("Enter")
    assert page.locator(".pop:popover-open").count() == 1
    page.keyboard.press("Escape")
    assert page.locator(".pop:popover-open").count() == 0


def test_hover_is_linked_over_the_charts_and_a_click_looks(desk):
    page = desk
    page.evaluate("document.querySelector('#cost').scrollIntoView()")
    page.wait_for_timeout(300)
    x, y = page.evaluate(
        """(() => {
          const marks = [...document.querySelectorAll('#c-error .scatterlayer .trace .points path')]
            .map((n) => n.getBoundingClientRect()).filter((r) => r.width > 4);
          const last = marks.at(-2);
          return [last.x + last.width / 2, last.y + last.height / 2];
        })()"""
    )
    page.mouse.move(x - 30, y - 30)
    page.mouse.move(x, y, steps=4)
    page.wait_for_timeout(400)
    labels = [page.locator(f"#{c} .hoverlayer .hovertext").count() for c in ("c-error", "c-ece", "c-auroc_max_prob")]
    assert labels == [1, 1, 1]
    before = page.url
    page.mouse.click(x, y)
    page.wait_for_function(f"location.href !== {before!r}")


def test_every_axis_draws(desk):
    def marks() -> list[float]:
        return desk.evaluate(
            "[...document.querySelectorAll('#c-error .points path')].map((n) => n.getBoundingClientRect().x)"
        )

    drawn = {}
    for axis in ("removed", "parameters", "executed", "speed"):
        desk.check(f'#xaxis [value="{axis}"]', force=True)
        desk.wait_for_timeout(300)
        drawn[axis] = tuple(round(x) for x in marks())
        assert len(drawn[axis]) > 10
        assert desk.url.endswith(f":{axis}")
    assert len(set(drawn.values())) == 4


def test_themes_are_kept(pages, opened):
    page = opened(pages["certified"], color_scheme="light").page
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.check("#theme [value=dark]", force=True)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    page.reload()
    page.wait_for_selector("html[data-ready='1']")
    assert page.is_checked("#theme [value=dark]")


def test_it_prints_on_light_paper(pages, opened, tmp_path):
    seen = opened(pages["certified"], color_scheme="dark")
    pdf = seen.page.pdf(path=str(tmp_path / "page.pdf"), format="A4", print_background=True, prefer_css_page_size=True)
    assert len(pdf) > 50_000
    assert seen.page.evaluate("document.querySelectorAll('.plot svg').length") > 10
    assert seen.page.evaluate("document.documentElement.classList.contains('printing')") is False
    quiet(seen)


def test_numbers_are_saved_as_csv(desk):
    page = desk
    with page.expect_download() as waiting:
        page.click("#save-csv")
    lines = Path(waiting.value.path()).read_text().splitlines()
    assert lines[0] == '"network","sparsity","measure","mean","lo","hi","interval"'
    assert any(line.startswith('"channels",0.75,"error",') for line in lines)
    assert waiting.value.suggested_filename.endswith(".csv")


def test_hostile_names_do_nothing(pages, opened):
    seen = opened(pages["evil"])
    page = seen.page
    scroll(page)
    for method in ("0", "1", "2"):
        page.select_option("#look-m", method)
        for candidate in range(3):
            page.evaluate(f"setLook({{ candidate: {candidate} }})")
    page.evaluate("drawCharts()")
    page.wait_for_timeout(400)
    quiet(seen)
    assert page.locator("img, .plot script, main script, svg[onload]").count() == 0
    assert "<script>alert(1)</script>" in page.inner_text("#strangers")


def test_without_script_the_verdict_and_the_tables_are_there(pages, opened):
    page = opened(pages["certified"], java_script_enabled=False).page
    assert "75\u202f% sparsity" in page.inner_text("h1")
    assert page.locator("#look:visible, .tools:visible").count() == 0
    assert page.locator("#proof table:visible").count() == 1
    assert page.locator("#changed table:visible").count() == 1
    assert "Maximum" not in page.inner_text("body")


def test_a_browser_that_cannot_unpack_the_charts_says_so(pages, browser):
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script("delete window.DecompressionStream")
    page.goto(pages["certified"].as_uri())
    page.wait_for_selector("html[data-ready='1']")
    assert "cannot unpack the charts" in page.inner_text("#c-error")
    assert "75\u202f%" in page.inner_text("#look-o")
    context.close()


def test_the_charts_in_sight_are_there_when_the_page_has_loaded(browser, pages):
    context = browser.new_context(viewport={"width": 1440, "height": 2400})
    page = context.new_page()
    page.add_init_script(
        "addEventListener('load', () => { window.atLoad = document.querySelectorAll('.main-svg').length })"
    )
    page.goto(pages["certified"].as_uri(), wait_until="load")
    assert page.evaluate("window.atLoad") >= 3
    context.close()
