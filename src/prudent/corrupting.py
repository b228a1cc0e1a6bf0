"""Images -> corrupted images, by name and severity; random numbers belong to the example, not to the batch."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from prudent.corruptions import CORRUPTIONS
from prudent.draws import draws_of
from prudent.errors import BadInput

Table = Literal["cifar", "imagenet"]

LARGEST_CIFAR = 64
"""Up to this shorter side, in pixels, the parameters of CIFAR-10-C are taken; above it, those of ImageNet-C."""

SEVERITIES = (1, 2, 3, 4, 5)

PART = 2**18
"""Numbers that are worked on at a time: memory does not grow with the number of images."""

MIX = (
    "contrast",
    "defocus_blur",
    "elastic_transform",
    "impulse_noise",
    "motion_blur",
    "pixelate",
    "shot_noise",
    "snow",
    "zoom_blur",
)
"""What Liebenwein et al. 2021 retrain on; the other ten corruptions are held out."""


def corrupt(
    inputs: Tensor,
    name: str,
    *,
    severity: int = 3,
    seed: int = 0,
    ids: Tensor | None = None,
    table: Table | None = None,
) -> Tensor:
    """Corrupted images.

    An example's random numbers follow from name, seed and its id alone: neither the batch that it comes in nor the
    severity, the device or the other examples change them.

    Args:
        inputs: (n, c, h, w) of float32 or float64 in [0, 1], 1 or 3 channels, any size. Not changed.
        name: a file of `prudent.corruptions`.
        severity: 1 to 5.
        seed: of the random numbers.
        ids: (n,) integers >= 0, which examples these are; None for 0, 1, ... Give them if a set comes in batches.
        table: whose parameters: of CIFAR-10-C or ImageNet-C; None for those of CIFAR-10-C up to 64 pixels (shorter
            side) and those of ImageNet-C above.

    Returns: (n, c, h, w) in [0, 1], of the same dtype and device.

    Raises:
        UnknownName: no such corruption.
        BadInput: inputs of another shape or dtype, NaN or outside [0, 1]; no such severity or table; ids that are not
            one integer >= 0 for each image.

    Source: Hendrycks, Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", arXiv:1903.12261. The files say what differs.
    """
    method = CORRUPTIONS[name]
    check_images(inputs)
    _check_severity(severity)
    numbers = _numbers(inputs, ids)
    strength = strengths(name, side=min(inputs.shape[2:]), table=table)[severity - 1]
    rows = max(1, PART // inputs[0].numel())
    out = _room(inputs)
    with torch.no_grad():
        for start in range(0, len(inputs), rows):
            part = slice(start, start + rows)
            draws = draws_of(f"corruption {name}", seed, numbers[part], inputs[part])
            out[part] = method(inputs[part], strength, draws)
    return out


def strengths(name: str, *, side: int = 32, table: Table | None = None) -> tuple[object, ...]:
    """The parameters of a corruption at severities 1 to 5, for images whose shorter side is `side` pixels.

    Raises:
        UnknownName: no such corruption.
        BadInput: no such table.
    """
    chosen = table or ("cifar" if side <= LARGEST_CIFAR else "imagenet")
    if chosen not in ("cifar", "imagenet"):
        raise BadInput(f"table is 'cifar' or 'imagenet', or None to go by the size; got {table!r}")
    five: tuple[object, ...] = getattr(CORRUPTIONS.module(name), chosen.upper())
    return five


def corrupt_some(
    inputs: Tensor,
    names: Sequence[str] = MIX,
    *,
    severities: Sequence[int] = SEVERITIES,
    seed: int = 0,
    ids: Tensor | None = None,
    table: Table | None = None,
) -> Tensor:
    """Each image left clean, or under one of several corruptions at a random severity: inputs for robust training.

    An image is clean with the same chance as each corruption has, 1 / (1 + number of names); severities are equally
    likely. For another draw in every epoch give another seed in each.

    Args:
        inputs, ids, table: as for `corrupt`.
        names: of the corruptions.
        severities: which of 1 to 5 there are; one that is named twice is twice as likely.
        seed: of what is chosen, and of the corruptions' own random numbers.

    Returns: (n, c, h, w) in [0, 1].

    Raises:
        UnknownName: no such corruption.
        BadInput: as `corrupt`; no name, no severity.

    Source: Liebenwein et al. 2021, "Lost in Pruning", arXiv:2103.03014, section 6, whose mix is the default.
    """
    check_mix(names, severities)
    check_images(inputs)
    numbers = _numbers(inputs, ids)
    several = len(severities)
    choices = draws_of("mix of corruptions", seed, numbers, inputs).integers(0, several * (len(names) + 1))
    out = inputs.detach().clone()
    for choice in torch.unique(choices).tolist():
        if choice < several * len(names):
            mine = (choices == choice).nonzero().squeeze(1).cpu()
            name, severity = names[choice // several], severities[choice % several]
            out[mine] = corrupt(inputs[mine], name, severity=severity, seed=seed, ids=numbers[mine], table=table)
    return out


def check_mix(names: Sequence[str], severities: Sequence[int]) -> None:
    """Refuse a mix of no corruptions or unknown ones, or of no severities or others than 1 to 5."""
    if not names:
        raise BadInput("a mix needs the name of at least one corruption; got none")
    for name in names:
        CORRUPTIONS.module(name)
    if not severities:
        raise BadInput("a mix needs at least one severity of 1, 2, 3, 4 or 5; got none")
    for severity in severities:
        _check_severity(severity)


def add_noise(
    inputs: Tensor,
    *,
    size: float,
    kind: Literal["uniform", "gaussian"] = "uniform",
    clip: bool = False,
    seed: int = 0,
    ids: Tensor | None = None,
) -> Tensor:
    """Images plus centred noise, independent in every pixel and channel.

        uniform: x + size / 255 * U(-1, 1)        variance (size / 255)^2 / 3
        gaussian: x + size / 255 * N(0, 1)        variance (size / 255)^2

    The same seed and id draw the same noise at every size, so that sizes differ by size alone.

    Args:
        inputs: (n, c, h, w) of float32 or float64 in [0, 1], 1 or 3 channels. Not changed.
        size: half width, or standard deviation, in steps of 8-bit pixels (1/255), >= 0.
        kind: which noise.
        clip: cut off below 0 and above 1; the mean of the noise is then no longer 0 near black and white.
        seed, ids: as for `corrupt`.

    Returns: (n, c, h, w), outside [0, 1] too unless clipped.

    Raises:
        BadInput: inputs or ids that `corrupt` refuses, a size that is negative or not finite, no such kind.

    Source: after Liebenwein et al. 2021, "Lost in Pruning", arXiv:2103.03014, section 4 (uniform, there in units of
    normalised inputs).
    """
    if kind not in ("uniform", "gaussian"):
        raise BadInput(f"noise is 'uniform' or 'gaussian'; got {kind!r}")
    if not 0 <= size < float("inf"):
        raise BadInput(f"the size of noise is a number >= 0 of 8-bit steps; got {size}")
    check_images(inputs)
    draws = draws_of(f"{kind} noise", seed, _numbers(inputs, ids), inputs)
    shape = inputs.shape[1:]
    noise = 2 * draws.uniform(*shape) - 1 if kind == "uniform" else draws.normal(*shape)
    noisy = inputs.detach() + size / 255 * noise
    return noisy.clamp(0, 1) if clip else noisy


def check_images(inputs: Tensor) -> None:
    """Refuse what cannot be corrupted: no images (n, c, h, w), integers, NaN, values outside [0, 1]."""
    if inputs.ndim != 4 or inputs.shape[1] not in (1, 3) or inputs.numel() == 0:
        raise BadInput(f"images are (n, c, h, w) with 1 or 3 channels and none empty; got shape {tuple(inputs.shape)}")
    if inputs.dtype not in (torch.float32, torch.float64):
        raise BadInput(f"images are float32 or float64 in [0, 1]; got {inputs.dtype}: divide 8-bit pixels by 255")
    low, high = (float(end) for end in inputs.detach().aminmax())
    if not (low >= 0 and high <= 1):
        raise BadInput(f"images lie in [0, 1], before any normalisation; got values from {low:.4g} to {high:.4g}")


def _room(inputs: Tensor) -> Tensor:
    """A tensor of the same shape, dtype and device, contiguous, with any numbers in it."""
    if inputs.device.type != "cpu":
        return torch.empty_like(inputs, memory_format=torch.contiguous_format)
    # NumPy asks for large pages of memory: touching them for the first time takes a fifth of the time
    return torch.from_numpy(np.empty(inputs.shape, np.float64 if inputs.dtype == torch.float64 else np.float32))


def _check_severity(severity: int) -> None:
    if isinstance(severity, bool) or severity not in SEVERITIES:
        raise BadInput(f"a severity is 1, 2, 3, 4 or 5; got {severity!r}")


def _numbers(inputs: Tensor, ids: Tensor | None) -> Tensor:
    if ids is None:
        return torch.arange(len(inputs))
    if ids.shape != inputs.shape[:1] or ids.is_floating_point() or ids.dtype == torch.bool or bool((ids < 0).any()):
        raise BadInput(
            f"ids are one integer >= 0 for each of {len(inputs)} images; got {ids.dtype} of shape {tuple(ids.shape)}"
        )
    return ids.cpu()
