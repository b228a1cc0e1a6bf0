"""Maps of the plane as pictures: bytes -> PNG with a palette, and the line where a value is crossed."""

import base64
import struct
import zlib
from collections.abc import Iterator, Sequence

Colour = tuple[int, int, int]

SIDES: tuple[tuple[float, Colour], ...] = (
    (0.0, (11, 98, 181)), (0.35, (158, 197, 232)), (0.5, (250, 249, 246)), (0.65, (244, 198, 160)), (1.0, (176, 74, 0)),
)  # fmt: skip
"""From one class to the other, by way of neither."""

DOUBT: tuple[tuple[float, Colour], ...] = (
    (0.0, (250, 249, 246)), (0.25, (226, 200, 226)), (0.6, (150, 80, 160)), (1.0, (62, 10, 80)),
)  # fmt: skip
"""From sure to as unsure as can be."""


def png(values: bytes, side: int, stops: Sequence[tuple[float, Colour]]) -> str:
    """A square picture, as a data address.

    Args:
        values: one byte for each point, row by row from the top.
        side: points in a row.
        stops: (share of 255, colour), ascending from 0 to 1; colours between are interpolated.
    """
    palette = b"".join(bytes(colour_at(level / 255, stops)) for level in range(256))
    rows = b"".join(b"\0" + values[start : start + side] for start in range(0, side * side, side))
    head = struct.pack(">IIBBBBB", side, side, 8, 3, 0, 0, 0)
    parts = ((b"IHDR", head), (b"PLTE", palette), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    whole = b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in parts)
    return "data:image/png;base64," + base64.b64encode(whole).decode()


def colour_at(share: float, stops: Sequence[tuple[float, Colour]]) -> Colour:
    """The colour at a share in [0, 1], each of its three numbers interpolated between the stops beside it."""
    at = next(i for i in range(1, len(stops)) if share <= stops[i][0])
    (low, first), (high, last) = stops[at - 1], stops[at]
    part = (share - low) / (high - low)
    red, green, blue = (round(a + part * (b - a)) for a, b in zip(first, last, strict=True))
    return red, green, blue


def crossing(values: bytes, side: int, *, level: float = 127.5) -> str:
    """Where the values cross a level, as an SVG path in units of points, (0.5, 0.5) in the middle of the first point.

    In every square of four neighbours the crossings of its edges are found by interpolation and joined in order; of
    saddle points one of the two readings is drawn.
    """
    return "".join(f"M{a:.2f} {b:.2f}L{c:.2f} {d:.2f}" for a, b, c, d in _segments(values, side, level))


def _segments(values: bytes, side: int, level: float) -> Iterator[tuple[float, float, float, float]]:
    for row in range(side - 1):
        for column in range(side - 1):
            corners = ((column, row), (column + 1, row), (column + 1, row + 1), (column, row + 1))
            found = []
            for (x, y), (u, v) in zip(corners, (*corners[1:], corners[0]), strict=True):
                a, b = values[y * side + x], values[v * side + u]
                if (a > level) != (b > level):
                    part = (level - a) / (b - a)
                    found.append((x + part * (u - x) + 0.5, y + part * (v - y) + 0.5))
            for first, last in zip(found[::2], found[1::2], strict=True):
                yield (*first, *last)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
