"""The page as a file: whole, self-contained, escaped, small, and made without torch."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import prudent.report
from prudent.errors import BadInput, PrudentError
from prudent.report import SCRIPTS, STYLES, build_report, rounded, scallop
from prudent.report.views import SECTIONS
from prudent.run_folder import write_results
from tests.report.sample import CHANNELS, WEIGHTS, Sample, edit, write_run

ROOT = Path(prudent.report.__file__).parent
SCRIPT, IMAGE = "<script>alert(1)</script>", "</script><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """Elements with their attributes, and the text that a reader sees."""

    def __init__(self, html: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.inside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.inside.append(tag)

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self.inside):
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())


@pytest.fixture(scope="module")
def html(folder) -> str:
    return build_report(folder)


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page(html)


def test_the_page_has_the_verdict_and_every_section(html, page, run):
    sentence = " ".join(run.certificate.sentence().split())
    assert sentence in page.words
    found = [a["id"] for a in page.all("section") if "id" in a]
    # no masks are compared in this run, no examples drawn anew, no teams chosen, no suite measured, and no plane drawn
    absent = ("alike", "resplits", "teams", "beyond", "maps", "doubt")
    present = [section.id for section in SECTIONS if section.id not in absent]
    assert found == ["verdict", "look", *present]
    numbers = re.findall(r'<p class="num" aria-hidden="true">(\d+)</p>', html)
    assert numbers == [str(k) for k in range(1, len(present) + 1)]


def test_nothing_is_loaded_from_anywhere(html, page):
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; script-src 'nonce-")
    assert "unsafe-eval" not in policy
    assert "http" not in policy
    for _, attributes in page.elements:
        for name in ("src", "href", "action", "srcset", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:image/svg+xml;base64,")), (name, value)
        assert not any(name.startswith("on") for name in attributes)
    assert "@import" not in html
    assert "url(" not in html.partition("</style>")[0]


def test_scripts_carry_the_nonce_and_it_is_fresh(folder, html, page):
    scripts = page.all("script")
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    for script in scripts:
        assert script.get("type", "").startswith("application/") or f"'nonce-{script['nonce']}'" in policy
    other = Page(build_report(folder))
    assert other.all("script")[-1]["nonce"] != scripts[-1]["nonce"]


def test_the_page_is_small(html):
    assert len(html.encode()) < 2_600_000
    assert len(html.encode()) - len(prudent.report._plotly()) < 500_000


def test_definitions_exist_for_every_marked_word(page):
    defined = {a["id"] for a in page.all("div") if "popover" in a}
    wanted = {a["popovertarget"] for a in page.all("button") if "popovertarget" in a}
    assert wanted <= defined
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))


def test_one_look_is_shown_before_any_script_runs(html, run):
    looks = re.findall(r'data-look="([\d:]+)"[^>]*?( hidden)?[ >]', html)
    shown = {address for address, hidden in looks if not hidden}
    assert {"0", "0:1"} <= shown
    parts = [
        re.findall(r'<\w+ data-look="([\d:]+)"[^>]*>', html),
        re.findall(r'<\w+ data-look="[\d:]+"[^>]* hidden', html),
    ]
    assert len(parts[0]) - len(parts[1]) == sum(address in ("0", "0:1") for address in parts[0])


def test_every_sentence_and_no_number_of_the_future(page):
    # what this version does not measure is not spoken of as if it were
    assert "ONNX" not in page.words
    assert "e-value" not in page.words


def test_the_data_of_the_page_is_json_without_surprises(html, run):
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)[1])
    assert data["id"] == run.results["id"]
    assert set(data) == {"id", "look", "cost", "confidence", "proof"}
    assert [m["name"] for m in data["look"]["methods"]] == ["magnitude", "random", "channels"]


def test_numbers_for_charts_are_rounded():
    assert rounded({"a": [1.23456789012, (1, None, "x", True)]}) == {"a": [1.234568, [1, None, "x", True]]}


def test_absent_sections_leave_no_trace(tmp_path):
    found = Page(build_report(write_run(tmp_path, Sample(seeds=(0, 1), ood=False, dropout=False))))
    assert "strangers" not in [a.get("id") for a in found.all("section")]
    assert "#strangers" not in [a.get("href") for a in found.all("a")]
    assert "AUROC" not in found.words
    assert "Not part of this study: name a data set as ood" in found.words


def test_nothing_certified_says_so_first(tmp_path):
    html = build_report(write_run(tmp_path, Sample(alpha=0.002, seeds=(0, 1))))
    found = Page(html)
    assert "<title>Nothing certified" in html
    assert "What would be needed" in found.words
    assert "No candidate passed" in found.words
    assert "certified, or passes" not in found.words


def hostile(results) -> None:
    results["id"] = results["study"]["about"] = IMAGE
    results["study"]["name"] = '"><script>alert(3)</script>'
    results["study"]["methods"][0]["title"] = SCRIPT + IMAGE
    results["study"]["methods"][2]["title"] = "'\"><svg onload=alert(4)>"
    results["study"]["model"]["name"] = SCRIPT
    results["data"]["classes"] = [SCRIPT, IMAGE, "{{ 7 * 7 }}", "`${alert(5)}`"]
    results["data"]["about"] = results["data"]["ood"]["about"] = IMAGE
    results["data"]["ood"]["name"] = SCRIPT
    results["environments"][0]["system"] = IMAGE
    for network in results["networks"]:
        network["layers"] = {(IMAGE if k == "fc1" else k): v for k, v in network["layers"].items()}


def test_hostile_names_stay_text(folder, tmp_path, page):
    there = shutil.copytree(folder, tmp_path / "run")
    edit(there, hostile)
    html = build_report(there)
    found = Page(html)
    assert found.all("img") == []
    assert len(found.all("script")) == len(page.all("script"))
    assert not any("onload" in a or "onerror" in a for _, a in found.elements)
    assert found.words.count("<script>alert(1)</script>") > 10
    assert "{{ 7 * 7 }}" in found.words
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)[1])
    assert data["id"].startswith(IMAGE)


def test_a_name_that_needs_escaping_in_an_address_is_kept(folder, tmp_path):
    there = shutil.copytree(folder, tmp_path / "run")

    def rename(results):
        for network in results["networks"]:
            network["method"] = {"channels": "a:b/c#"}.get(network["method"], network["method"])
        for one in results["certificates"]:
            one["method"] = {"channels": "a:b/c#"}.get(one["method"], one["method"])
        results["study"]["methods"][2]["name"] = "a:b/c#"

    edit(there, rename)
    assert "a:b/c#" in build_report(there)


def test_folders_without_results_are_refused(tmp_path):
    with pytest.raises(PrudentError, match="cannot read"):
        build_report(tmp_path)
    (tmp_path / "results.json").write_text('{"prudent_results": 99}')
    with pytest.raises(BadInput, match="format 99"):
        build_report(tmp_path)


def test_characters_that_turn_text_around_are_spelt_out(tmp_path):
    evil = "fast\u202egnp\u2066x\u200f\x07"
    methods = ({**WEIGHTS, "title": evil}, {**CHANNELS, "title": "\u202e"})
    html = build_report(write_run(tmp_path, Sample(methods=methods, classes=("a\u202eb", "c", "d", "e"))))
    assert not re.search("[\u200e\u200f\u202a-\u202e\u2066-\u2069\x07]", html)
    assert "fast\\u202egnp\\u2066x" in html
    assert "Certificate broken" not in html


@pytest.mark.parametrize(
    "change",
    [
        lambda results: results["networks"][0]["metrics"]["error"].update(value=0.0),
        lambda results: results.pop("networks"),
        lambda results: results.pop("sha256"),
        lambda results: results.update(other_claims=-1),
    ],
)
def test_results_that_were_edited_are_refused(folder, tmp_path, change):
    results = json.loads((folder / "results.json").read_text())
    change(results)
    (tmp_path / "results.json").write_text(json.dumps(results))
    with pytest.raises(BadInput, match="changed after it was written"):
        build_report(tmp_path)


@pytest.mark.parametrize("text", ["[]", "{}", "no json", "3", '{"prudent_results": []}', "[" * 200_000])
def test_other_files_are_no_results(tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(BadInput):
        build_report(tmp_path)


def test_results_without_their_parts_are_refused(tmp_path):
    write_results(tmp_path, {"prudent_results": 1})
    with pytest.raises(BadInput, match="it has no id, study"):
        build_report(tmp_path)


def test_a_page_is_made_without_torch(folder, tmp_path):
    code = f"""
import sys
sys.modules["torch"] = None  # any import of it now fails
from pathlib import Path
from prudent.report import build_report
html = build_report(Path({str(folder)!r}))
assert html.startswith("<!doctype html>"), html[:80]
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_assets_are_short_and_all_used():
    for path in (ROOT / "assets").iterdir():
        assert path.name in (*STYLES, *SCRIPTS)
        text = path.read_text()
        assert len(text.splitlines()) <= 300, path.name
        assert "innerHTML" not in text
        assert "eval(" not in text
    for path in (ROOT / "templates").iterdir():
        assert "|safe" not in path.read_text().replace(" ", "")


def test_the_seal_is_closed():
    assert re.fullmatch(r"M[-\d. ]+(Q[-\d. ]+){14}Z", scallop())
