"""A finished run -> one self-contained HTML page: jinja for words and tables, plotly for charts."""

import base64
import gzip
import math
import secrets
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from prudent._version import __version__
from prudent.report import palette
from prudent.report.glossary import glossary
from prudent.report.looks import look_data, look_of, method_color
from prudent.report.reading import Run, Verification
from prudent.report.verification import verify_all
from prudent.report.views import SECTIONS, candidates, verdict
from prudent.report.views.trust import moment
from prudent.report.writing import legible
from prudent.run_folder import read_results
from prudent.wording import plural

ASSETS = Path(__file__).parent / "assets"
STYLES = ("frame.css", "verdict.css", "views.css", "media.css")
SCRIPTS = (
    "core.js", "control.js", "charts.js", "lines.js", "cost.js", "confidence.js", "proof.js", "resplits.js", "alike.js",
    "beyond.js", "page.js", "start.js",
)  # fmt: skip


def build_report(folder: Path) -> str:
    """The page of a finished run.

    Args:
        folder: of the run; its results.json is read, and its certificates are recomputed.

    Returns: one HTML file that needs no other file and no network. Names from data, settings and networks are escaped
    wherever they appear, and characters that turn text around are spelt out.

    Raises:
        PrudentError: the folder has no results, or they are of a newer format.
    """
    results = read_results(folder)
    found = verify_all(results, folder)
    broken = tuple((legible(file), legible(why)) for file, why in found.broken)
    run = Run(legible(results), Verification(held=found.held, broken=broken))
    return _environment().get_template("base.html.j2").render(_context(run))


def _context(run: Run) -> dict[str, Any]:
    views = [(section, section.view(run)) for section in SECTIONS]
    present = [(section, view) for section, view in views if view is not None]
    return {
        "version": __version__,
        "id": run.results["id"],
        "study": run.study,
        "seeds": plural(len(run.seeds), "seed"),
        "finished": moment(run.results["finished"]).partition(",")[0],
        "verdict": verdict.view(run),
        "candidates": candidates.view(run),
        "look": look_of(run),
        "look_color": method_color(run, run.declared_method),
        "sections": [
            {
                "id": section.id,
                "template": f"{section.id}.html.j2",
                "n": n,
                "question": section.question,
                "short": section.short,
                "view": view,
            }
            for n, (section, view) in enumerate(present, start=1)
        ],
        "glossary": glossary(run),
        "data": rounded(
            {"id": run.results["id"], "look": look_data(run)}
            | {section.id: view["data"] for section, view in present if "data" in view}
        ),
        "css": Markup(palette.css() + _assets(STYLES)),  # noqa: S704 (our own)
        "js": Markup(_assets(SCRIPTS)),  # noqa: S704 (our own)
        "plotly": _plotly(),
        "nonce": secrets.token_urlsafe(18),
        "icon": _icon(),
        "scallop": scallop(),
    }


def rounded(value: Any) -> Any:  # noqa: ANN401 (JSON)
    """The same JSON with seven significant digits: enough for any chart, and half the size."""
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, (list, tuple)) else value


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("prudent.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _assets(names: tuple[str, ...]) -> str:
    return "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in names)


@cache
def _plotly() -> str:
    """plotly.js of the installed wheel, compressed: 5 MB become 1.8 MB of text."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()


def _icon() -> str:
    good = palette.LIGHT["good"]
    tick = '<path d="M8 14.5l4 4 8-9" fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round"/>'
    circle = f'<circle cx="14" cy="14" r="14" fill="{good}"/>'
    drawing = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 28 28">{circle}{tick}</svg>'
    return base64.b64encode(drawing.encode()).decode()


def scallop(bumps: int = 14, outer: float = 19.0, inner: float = 17.2, centre: float = 20.0) -> str:
    """The outline of the seal: a circle with soft bumps, as an SVG path."""

    def point(radius: float, turn: float) -> str:
        angle = 2 * math.pi * turn / bumps
        return f"{centre + radius * math.cos(angle):.2f} {centre + radius * math.sin(angle):.2f}"

    # the control point of a curve lies as far outside as the bump is high
    curves = [f"Q{point(2 * outer - inner, i + 0.5)} {point(inner, i + 1)}" for i in range(bumps)]
    return f"M{point(inner, 0)}{''.join(curves)}Z"
