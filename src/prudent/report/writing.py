"""How the page writes what `prudent.wording` does not know: ratios, p-values, powers of ten, names."""

import unicodedata
from typing import Any

from prudent.report.reading import Method, Run
from prudent.wording import NARROW, fixed, percent

MINUS = "\u2212"
TIMES = "\u00d7"
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters that set the direction of the text around them."""

SUPERSCRIPT = str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")


def times(ratio: float) -> str:
    """A ratio: 9.586 -> "9.6×", 1.273 -> "1.27×", 57.7 -> "58×"."""
    digits = 2 if ratio < 2 else 1 if ratio < 20 else 0
    return fixed(ratio, digits) + TIMES


def signed(value: float, digits: int) -> str:
    """A difference with its sign: +0.4, −1.2, and 0 without one."""
    text = fixed(abs(value), digits)
    if not text.strip("0."):
        return text
    return ("+" if value > 0 else MINUS) + text


def p_value(p: float, *, near: float | None = None) -> str:
    """A p-value: "2 · 10⁻⁶", "0.0022", "0.199", "1"; more digits where these would hide on which side of `near`."""
    if p < 1e-300:
        return "0"
    if p < 1e-4:
        mantissa, _, exponent = f"{p:.0e}".partition("e")
        return f"{mantissa}{NARROW}\u00b7{NARROW}10{str(int(exponent)).translate(SUPERSCRIPT)}"
    digits = 4 if p < 0.01 else 3
    while near is not None and p > near and float(fixed(p, digits)) <= near and digits < 17:
        digits += 1
    return fixed(p, digits) if p < 0.9995 else "1"


def one_in(power: int) -> str:
    """A chance of 10 to the minus `power` in words: "1 in 100", "1 in 10⁴"."""
    return (
        "certain" if power == 0 else f"1 in {10**power}" if power < 3 else f"1 in 10{str(power).translate(SUPERSCRIPT)}"
    )


def number(share: float) -> str:
    """A share as percentage without its sign, for axes: 0.9375 -> "93.75"."""
    return percent(share).removesuffix("%").removesuffix(NARROW)


def cut(text: str, most: int) -> str:
    """A name, shortened where it would not fit."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "\u2026"


def removed(run: Run, method: Method, i: int) -> str:
    """The achieved sparsity of a candidate: "93.75 %"."""
    return percent(run.sparsity(method, i))


def joined(parts: list[str], last: str = "and") -> str:
    """["a", "b", "c"] -> "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def legible(value: Any) -> Any:  # noqa: ANN401 (JSON)
    """The same JSON with control characters of text spelt out: some turn around what stands after them.

    A title with U+202E in it would show its own rest, and the number beside it, backwards.
    """
    if isinstance(value, str):
        return "".join(f"\\u{ord(c):04x}" if _controls(c) else c for c in value)
    if isinstance(value, dict):
        return {legible(k): legible(v) for k, v in value.items()}
    return [legible(v) for v in value] if isinstance(value, (list, tuple)) else value


def _controls(character: str) -> bool:
    if character in "\t\n":
        return False
    return unicodedata.category(character) == "Cc" or character in BIDI


def capital(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]
