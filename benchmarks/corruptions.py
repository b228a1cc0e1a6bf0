"""Corrupted images of 32 x 32, beside the imagecorruptions package and beside loops over images with NumPy."""

import importlib
import io
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from time import process_time

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from benchmarks import Row, alternate
from prudent.corrupting import corrupt
from prudent.corruptions import CORRUPTIONS
from prudent.corruptions.zoom_blur import zooms_of

N = 10_000 if os.environ.get("PRUDENT_BENCH_FULL") else 2_000
"""Images: with PRUDENT_BENCH_FULL=1 the 10,000 that the promise is about, else a fifth."""

SAMPLE = 100
"""Images that the slow side is timed on; its time is scaled up to N."""

BOUND = ("gaussian_noise", "impulse_noise", "shot_noise", "speckle_noise")
"""Nearly all of the time goes into drawing random numbers. The loop draws from one stream; here each example has its
own."""

Plain = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""One image (32, 32, 3) in [0, 1] -> the image under severity 3 of CIFAR-10-C."""


def _zoom_blur(x: np.ndarray, _: np.random.Generator) -> np.ndarray:
    zooms = zooms_of(1.16, 0.01)
    total = x.copy()
    for z in zooms:
        crop = int(np.ceil(32 / z))
        top = (32 - crop) // 2
        large = ndimage.zoom(x[top : top + crop, top : top + crop], (z, z, 1), order=1)
        trim = (len(large) - 32) // 2
        total += large[trim : trim + 32, trim : trim + 32]
    return total / (len(zooms) + 1)


def _glass_blur(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    x = ndimage.gaussian_filter(x, (0.4, 0.4, 0))
    for y in range(31, 1, -1):
        for column in range(31, 1, -1):
            down, right = random.integers(-1, 1, size=2)
            x[y, column] = x[y + down, column + right]
    return ndimage.gaussian_filter(x, (0.4, 0.4, 0))


def _impulse_noise(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    chance = random.random(x.shape, dtype=np.float32)
    return np.where(chance < 0.015, 0, np.where(chance >= 0.985, 1, x))


def _pixelate(x: np.ndarray, _: np.random.Generator) -> np.ndarray:
    small = Image.fromarray(np.uint8(x * 255)).resize((27, 27), Image.Resampling.BOX)
    return np.asarray(small.resize((32, 32), Image.Resampling.BOX)) / np.float32(255)


def _jpeg_compression(x: np.ndarray, _: np.random.Generator) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(np.uint8(x * 255)).save(file, "JPEG", quality=58)
    return np.asarray(Image.open(file)) / np.float32(255)


LOOPS: dict[str, Plain] = {
    "gaussian_noise": lambda x, r: np.clip(x + 0.08 * r.standard_normal(x.shape, dtype=np.float32), 0, 1),
    "speckle_noise": lambda x, r: np.clip(x + 0.12 * x * r.standard_normal(x.shape, dtype=np.float32), 0, 1),
    "shot_noise": lambda x, r: np.clip(r.poisson(x * 100) / np.float32(100), 0, 1),
    "impulse_noise": _impulse_noise,
    "gaussian_blur": lambda x, _: ndimage.gaussian_filter(x, (0.7, 0.7, 0), mode="nearest"),
    "contrast": lambda x, _: np.clip((x - x.mean((0, 1))) * 0.4 + x.mean((0, 1)), 0, 1),
    "glass_blur": _glass_blur,
    "zoom_blur": _zoom_blur,
    "pixelate": _pixelate,
    "jpeg_compression": _jpeg_compression,
}


def _images() -> Tensor:
    smooth = torch.rand(N, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(smooth, size=(32, 32), mode="bilinear")


def _beside_loops(inputs: Tensor) -> Iterator[Row]:
    pictures = inputs[:SAMPLE].permute(0, 2, 3, 1).contiguous().numpy()
    for name, loop in LOOPS.items():

        def plain(loop: Plain = loop) -> np.ndarray:
            # kept, as a set of images must be: memory that was never touched before costs as much as fast noise
            random = np.random.default_rng(0)
            return np.stack([loop(picture, random) for picture in pictures])

        own, other = alternate(lambda name=name: corrupt(inputs, name), plain, turns=2, clock=process_time)
        other *= N / SAMPLE
        promise = 0.5 if name in BOUND else 2.0
        yield Row(
            work=f"{name}, {N:,} images of 32 x 32", beside="a loop over images with NumPy, SciPy or Pillow",
            seconds=own, other=other, promise=f">= {promise}x", kept=other / own >= promise,
            note=f"{N / own:,.0f} images a second",
        )  # fmt: skip


def _versions() -> str:
    """What the peer's corruptions depend on, as far as it is installed."""
    found = []
    for name in ("numpy", "scipy", "scikit-image"):
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return ", ".join(found)


def _beside_peer(inputs: Tensor) -> Iterator[Row]:
    try:
        peer = importlib.import_module("imagecorruptions")
        importlib.import_module("cv2").setNumThreads(1)
    except ImportError as error:
        print(f"imagecorruptions is not compared: {error}")
        return
    pixels = (inputs[:SAMPLE] * 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
    each: dict[str, tuple[float, float]] = {}
    for name in CORRUPTIONS:

        def theirs(name: str = name) -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for picture in pixels:
                    peer.corrupt(picture, severity=3, corruption_name=name)

        try:
            own, other = alternate(
                lambda name=name: corrupt(inputs, name, table="imagenet"), theirs, turns=2, clock=process_time
            )
        except Exception as error:  # noqa: BLE001 (some of its corruptions do not run with the libraries of today)
            print(f"{name} of imagecorruptions does not run ({_versions()}): {type(error).__name__}: {error}")
            continue
        each[name] = (own, other * N / SAMPLE)
        least = 0.5 if name in BOUND else 1.5
        yield Row(
            work=f"{name}, {N:,} images of 32 x 32", beside="imagecorruptions", seconds=own, other=each[name][1],
            promise=f">= {least}x", kept=each[name][1] / own >= least,
        )  # fmt: skip
    if each:
        own, other = (sum(side) for side in zip(*each.values(), strict=True))
        yield Row(
            work=f"{len(each)} corruptions that run there together, {N:,} images each", beside="imagecorruptions",
            seconds=own, other=other, promise=">= 5x", kept=other / own >= 5,
            note=f"{len(each) * N / own:,.0f} images a second",
        )  # fmt: skip


def run() -> list[Row]:
    """Processor time of one thread on either side: what a core does in a second, on a busy machine too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    inputs = _images()
    rows = [*_beside_loops(inputs), *_beside_peer(inputs)]
    torch.set_num_threads(threads)
    return rows
