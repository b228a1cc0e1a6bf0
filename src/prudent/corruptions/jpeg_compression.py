"""JPEG compression."""

import io

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from prudent.draws import Draws

CIFAR = (80, 65, 58, 50, 40)
IMAGENET = (25, 18, 15, 10, 7)

TALLEST = 65_500
"""Rows that libjpeg writes into one file."""

Pixels = UInt8[np.ndarray, "n h w c"]


def jpeg_compression(
    inputs: Float[Tensor, "n c h w"],
    strength: int,
    draws: Draws,  # noqa: ARG001 (the contract's)
) -> Float[Tensor, "n c h w"]:
    """Written as a JPEG file in memory and read again, by Pillow; colours at half the resolution.

    Images come back as each would from a file of its own, to the bit. Many are written into one file all the same,
    one below the other, since opening files takes ten times as long as compressing small images: blocks of pixels are
    compressed by themselves, and the rows where a reader blends colours of two images are computed again.

    Args:
        inputs: (n, c, h, w) in [0, 1], rounded to 8 bits first. Not changed.
        strength: quality, 1 to 95.
        draws: not used.

    Returns: (n, c, h, w), multiples of 1/255 in [0, 1].

    Source: Hendrycks, Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", arXiv:1903.12261, and their published code. Which bits come back depends on Pillow's libjpeg.
    """
    planes = (inputs * 255).round_().byte().cpu().numpy()
    pixels = np.stack(tuple(planes.swapaxes(0, 1)), axis=3)
    together = _together(pixels.shape[1], pixels.shape[3])
    for start in range(0, len(pixels), together):
        part = slice(start, start + together)
        planes[part] = _compressed(pixels[part], strength).transpose(0, 3, 1, 2)
    return torch.from_numpy(planes).to(inputs).div_(255)


def _together(height: int, channels: int) -> int:
    """How many images of this size can share a file without a trace."""
    from PIL import features

    # colours come in blocks of 16 rows; how they are enlarged is repeated here as libjpeg-turbo does it
    if channels == 3 and (height % 16 or not features.check("libjpeg_turbo")):
        return 1
    return max(1, TALLEST // (height + -height % 8))


def _compressed(pixels: Pixels, quality: int) -> Pixels:
    """What comes back from one file that holds all of these images."""
    from PIL import Image

    n, height, width, channels = pixels.shape
    if n > 1 and height % 8:
        # as libjpeg fills a last block by itself
        pixels = np.pad(pixels, ((0, 0), (0, -height % 8), (0, 0), (0, 0)), "edge")
    file = io.BytesIO()
    tall = pixels.reshape(-1, width, channels)
    Image.fromarray(tall if channels == 3 else tall[..., 0]).save(file, "JPEG", quality=quality)
    back = np.array(Image.open(file)).reshape(pixels.shape)[:, :height]
    # colours of so narrow images are repeated, not blended
    if n > 1 and channels == 3 and width > 4:
        back[:, [0, -1]] = _outer_rows(file, n, height, width)
    return back


def _outer_rows(file: io.BytesIO, n: int, height: int, width: int) -> UInt8[np.ndarray, "n 2 w 3"]:
    """First and last row of each image as they are where nothing lies above or below.

        colour at half the resolution c, beyond an edge again that at the edge:
        column 2 k: (12 c_k + 4 c_(k-1) + 8) / 16    column 2 k + 1: (12 c_k + 4 c_(k+1) + 7) / 16    rounded down
        R = Y + 1.402 Cr, G = Y - 0.34414 Cb - 0.71414 Cr, B = Y + 1.772 Cb    in steps of 2^-16, rounded

    Source: how libjpeg-turbo reads files, whose "fancy upsampling" blends the nearest row three to one with the next.
    """
    from PIL import Image

    whole, half = Image.open(file), Image.open(file)
    whole.draft("L", None)
    half.draft("YCbCr", (max(1, width // 2), n * height // 2))
    bright = np.asarray(whole).reshape(n, height, width)[:, [0, -1]].astype(np.int32)
    colours = np.asarray(half).reshape(n, height // 2, -1, 3)[:, [0, -1], :, 1:].astype(np.int32)
    around = 4 * np.pad(colours, ((0, 0), (0, 0), (1, 1), (0, 0)), "edge")
    here = 3 * around[:, :, 1:-1]
    sides = np.stack([(here + around[:, :, :-2] + 8) >> 4, (here + around[:, :, 2:] + 7) >> 4], axis=3)
    blended = sides.reshape(n, 2, -1, 2)[:, :, :width] - 128
    blue, red = blended[..., 0], blended[..., 1]
    parts = (91_881 * red, -22_554 * blue - 46_802 * red, 116_130 * blue)
    shown = np.stack([bright + ((part + 2**15) >> 16) for part in parts], axis=3)
    return shown.clip(0, 255).astype(np.uint8)
