"""How numbers are written, once: the same digits and the same spaces in terminal, file and page."""

from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal

NARROW = "\u202f"
"""Narrow no-break space, between a number and its percent sign."""


def fixed(value: float, digits: int) -> str:
    """`value` with `digits` decimals, halves away from zero: 2.25 -> "2.3".

    Python's own formatting rounds the binary value, half to even: 2.25 -> "2.2".
    """
    return str(Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def percent(share: float, digits: int | None = None) -> str:
    """A share as percent: 0.875 -> "87.5 %".

    Without `digits`: up to two decimals, no trailing zeros, and more decimals where two would turn a share that is
    not 0 or 1 into "0 %" or "100 %".
    """
    if digits is not None:
        return fixed(100 * share, digits) + NARROW + "%"
    text = ""
    for decimals in range(2, 18):
        text = fixed(100 * share, decimals).rstrip("0").rstrip(".")
        if text not in ("0", "100") or share in (0, 1):
            break
    return text + NARROW + "%"


def percent_above(share: float, digits: int) -> str:
    """A share as percent, rounded upwards: an upper limit must not become lower in print."""
    value = Decimal(repr(100 * float(share))).quantize(Decimal(1).scaleb(-digits), ROUND_CEILING)
    return str(min(value, Decimal(100).quantize(value))) + NARROW + "%"


def exact_percent(share: float, *, complement: bool = False) -> str:
    """A share that a claim promises, to its last digit: rounding alpha or delta would change the claim.

    With `complement`, 1 - share: exact_percent(0.05, complement=True) is "95 %".
    """
    value = 100 * Decimal(repr(float(share)))
    return f"{(100 - value if complement else value).normalize():f}" + NARROW + "%"


def size(count: float) -> str:
    """Bytes in KiB or MiB: 36762 -> "35.9 KiB"."""
    return f"{fixed(count / 1024, 1)} KiB" if count < 1024**2 else f"{fixed(count / 1024**2, 1)} MiB"


def plural(count: int, noun: str) -> str:
    """A count with its noun: (1, "seed") -> "1 seed", (3, "seed") -> "3 seeds"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
