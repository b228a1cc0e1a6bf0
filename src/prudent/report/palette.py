"""The colours of the page, once: for CSS, for charts, for tests of contrast and colour blindness."""

from collections.abc import Sequence
from dataclasses import dataclass

from prudent.report.reading import Method

LIGHT = {
    "page": "#f7f6f2",
    "surface": "#ffffff",
    "raised": "#fbfaf7",
    "ink": "#191c20",
    "soft": "#4b525b",
    "faint": "#646c76",
    "line": "#e2dfd7",
    "grid": "#ebe9e2",
    "track": "#efede6",
    "dense": "#191c20",
    "control": "#767b83",
    "m1": "#0b62b5",
    "m2": "#b04a00",
    "m3": "#5b1a6e",
    "m4": "#00543c",
    "m5": "#6c1800",
    "m6": "#a70093",
    "m7": "#763bff",
    "m8": "#930031",
    "m9": "#0000e2",
    "m10": "#894562",
    "good": "#00666b",
    "good-tint": "#e0f0ef",
    "good-line": "#86c2c1",
    "warn": "#8a4b00",
    "warn-tint": "#fbefd9",
    "bad": "#a02a1c",
    "bad-tint": "#f9e7e2",
    "focus": "#0b62b5",
}
"""Role -> colour on a light page. "good" is for what is certified or better, "bad" for a broken certificate alone."""

DARK = {
    "page": "#0f1215",
    "surface": "#171b20",
    "raised": "#1c2127",
    "ink": "#eceef1",
    "soft": "#b4bcc6",
    "faint": "#929ba7",
    "line": "#2b323a",
    "grid": "#262c34",
    "track": "#232930",
    "dense": "#eceef1",
    "control": "#949ba5",
    "m1": "#62adff",
    "m2": "#ff9a52",
    "m3": "#f7a8e0",
    "m4": "#9ce4a8",
    "m5": "#f0e418",
    "m6": "#ff586c",
    "m7": "#3ba780",
    "m8": "#00e2ff",
    "m9": "#ba80c4",
    "m10": "#c48900",
    "good": "#4fcfc8",
    "good-tint": "#12302f",
    "good-line": "#2c6d6b",
    "warn": "#f2b45c",
    "warn-tint": "#33280f",
    "bad": "#ff9a86",
    "bad-tint": "#3b1d17",
    "focus": "#8cc4ff",
}
"""The same roles on a dark page."""

METHODS = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9", "m10")
MARKERS = (
    "circle", "square", "triangle-up", "triangle-down", "hexagon2", "diamond", "star", "cross", "hourglass", "bowtie",
)  # fmt: skip
DASHES = ("solid", "8px,2px", "2px,2px", "8px,2px,2px,2px")
SOLID = 5
"""So many methods have solid lines; ten colours alone are close to what every kind of vision can tell apart."""


@dataclass(frozen=True)
class Style:
    """How one method is drawn: never by colour alone.

    Args:
        color: role in the palette.
        marker: plotly's name of the symbol; "-open" for controls.
        dash: plotly's dash; changes after every five methods.
    """

    color: str
    marker: str
    dash: str


def styles(methods: Sequence[Method]) -> list[Style]:
    """A style for each method. Controls are grey, dashed and hollow; the eleventh method has the first colour again."""
    found = []
    own = controls = 0
    for method in methods:
        if method.control_of is not None:
            found.append(Style("control", ("diamond-open", "cross-open", "star-open")[controls % 3], "6px,3px"))
            controls += 1
        else:
            turn, at = divmod(own, len(METHODS))
            marker = MARKERS[(at + turn) % len(MARKERS)]
            found.append(Style(METHODS[at], marker, DASHES[own // SOLID % len(DASHES)]))
            own += 1
    return found


def css() -> str:
    """The palette as CSS variables: light, dark where the reader's system or choice says so, light on paper."""
    light, dark = _variables(LIGHT), _variables(DARK)
    return (
        f":root {{ color-scheme: light; {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root:not([data-theme=light]) {{ color-scheme: dark; {dark} }} }}\n"
        f"@media screen {{ :root[data-theme=dark] {{ color-scheme: dark; {dark} }} }}\n"
        f"@media print {{ :root, :root:not([data-theme=light]) {{ color-scheme: light; {light} }} }}\n"
    )


def _variables(theme: dict[str, str]) -> str:
    return " ".join(f"--{name}: {value};" for name, value in theme.items())
