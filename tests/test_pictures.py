"""PNG files: read back by another library."""

import base64
import io

import numpy as np
import pytest

from prudent.errors import BadInput
from prudent.pictures import png, png_text


@pytest.mark.parametrize("shape", [(5, 7), (1, 5, 7), (3, 4, 6), (1, 1, 1)])
def test_another_library_reads_the_same_pixels(shape):
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).random(shape)
    found = np.asarray(image.open(io.BytesIO(png(pixels))))
    expected = np.rint(pixels * 255).astype(np.uint8)
    if pixels.ndim == 3:
        expected = expected[0] if len(expected) == 1 else expected.transpose(1, 2, 0)
    assert (found == expected).all()
    assert base64.b64decode(png_text(pixels)) == png(pixels)


@pytest.mark.parametrize("pixels", [np.full((2, 2), 1.5), np.full((2, 2), np.nan), np.zeros((2, 4, 4)), np.zeros(3)])
def test_what_is_no_picture(pixels):
    with pytest.raises(BadInput):
        png(pixels)
