"""JPEG compression."""

import io

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from prudent.draws import Draws

CIFAR = (80, 65, 58, 50, 40)
IMAGENET = (25, 18, 15, 10, 7)


def jpeg_compression(
    inputs: Float[Tensor, "n c h w"],
    strength: int,
    draws: Draws,  # noqa: ARG001 (the contract's)
) -> Float[Tensor, "n c h w"]:
    """Written as a JPEG file in memory and read again, by Pillow; colours at half the resolution.

    Args:
        inputs: (n, c, h, w) in [0, 1], rounded to 8 bits first. Not changed.
        strength: quality, 1 to 95.
        draws: not used.

    Returns: (n, c, h, w), multiples of 1/255 in [0, 1].

    Source: Hendrycks, Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", arXiv:1903.12261, and their published code. Which bits come back depends on Pillow's libjpeg.
    """
    from PIL import Image

    pixels = (inputs * 255).round().byte().cpu().permute(0, 2, 3, 1).numpy()
    pixels = pixels[..., 0] if inputs.shape[1] == 1 else pixels
    back = np.empty_like(pixels)
    for image, place in zip(pixels, back, strict=True):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=strength)
        place[...] = np.asarray(Image.open(file))
    return (torch.from_numpy(back.reshape(len(back), *inputs.shape[2:], -1)).permute(0, 3, 1, 2) / 255).to(inputs)
