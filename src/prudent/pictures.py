"""Small images as PNG, for pages."""

import base64
import struct
import zlib

import numpy as np

from prudent.errors import BadInput

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, COLOUR = 0, 2


def png(pixels: np.ndarray) -> bytes:
    """An image as a PNG file of 8 bits, nothing lost but what 8 bits lose.

    Args:
        pixels: (h, w), (1, h, w) or (3, h, w), floating point numbers in [0, 1].

    Raises:
        BadInput: another shape, numbers outside [0, 1] or NaN.
    """
    planes = pixels[None] if pixels.ndim == 2 else pixels
    if planes.ndim != 3 or planes.shape[0] not in (1, 3) or 0 in planes.shape:
        raise BadInput(f"a picture is (h, w), (1, h, w) or (3, h, w); got shape {pixels.shape}")
    # written so that NaN fails it too
    if not ((planes >= 0) & (planes <= 1)).all():
        raise BadInput("pixels lie in [0, 1]; some do not")
    rows = np.rint(planes * 255).astype(np.uint8).transpose(1, 2, 0)
    height, width, channels = rows.shape
    header = struct.pack(">IIBBBBB", width, height, 8, GREY if channels == 1 else COLOUR, 0, 0, 0)
    # each row begins with the number of its filter: none
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(lines, 9)) + _chunk(b"IEND", b"")


def png_text(pixels: np.ndarray) -> str:
    """`png` as base64 text."""
    return base64.b64encode(png(pixels)).decode()


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
