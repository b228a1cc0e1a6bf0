"""Masks of objects -> the table of losses that a certificate about segmentation is computed from."""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float64

from prudent.errors import BadInput, UnknownName
from prudent.types import Losses, Split

MaskLoss = Literal["missed_overlap", "missed_pixels"]
"""What is lost in a picture: 1 - intersection over union, or the share of the object's pixels that are missed."""


def mask_losses(
    predicted: Sequence[np.ndarray] | np.ndarray,
    truth: np.ndarray,
    *,
    sparsities: Sequence[float],
    loss: MaskLoss = "missed_overlap",
    names: Sequence[str] | None = None,
    split: Split,
    data: str = "",
    models: Sequence[str] = (),
) -> Losses:
    """The loss of every picture under every candidate network, from the pixels that each takes for the object's.

        missed_overlap = 1 - |P and T| / |P or T|     P predicted, T true pixels; 0 where both are empty
        missed_pixels  = |T without P| / |T|          pictures without an object are not counted

    Both are shares of numbers of pixels, so exactly in [0, 1]. The second is the false-negative rate of a picture: it
    does not see pixels that are wrongly taken for the object's, and a network that marks every pixel has none.

    Args:
        predicted: for each candidate, densest first, (n, height, width) bool, True where it sees the object; a list of
            them, or one array (candidates, n, height, width).
        truth: (n, height, width) bool, the object's pixels.
        sparsities: (candidates,) achieved sparsity of each, in [0, 1), not decreasing.
        loss: "missed_overlap" or "missed_pixels".
        names: a name for each candidate; by default its sparsity.
        split: what the pictures are for. Only "certification" can be certified.
        data: fingerprint of the pictures, "" if unknown.
        models: fingerprints of the candidates, empty if unknown.

    Returns: values (n, candidates), lower = better, with what they were computed from.

    Raises:
        BadInput: no candidates, masks that are not bool or of other shapes than the truth, and what `Losses` refuses.
        UnknownName: another loss.

    Source: Jaccard 1912, "The distribution of the flora in the alpine zone" (intersection over union); Angelopoulos et
    al. 2022, "Conformal Risk Control", arXiv:2208.02814 (the share of an object's pixels that is missed, as the loss of
    risk control). What a picture without an object loses is our choice.
    """
    if loss not in _SHARES:
        raise UnknownName.of("loss of masks", loss, get_args(MaskLoss))
    if isinstance(predicted, np.ndarray) and predicted.ndim == 3:
        raise BadInput(
            "mask losses take a list of masks, one array for each candidate; got a single one: put it in a list"
        )
    true = _mask(truth, "true masks")
    masks = [_mask(each, f"masks of candidate {i}") for i, each in enumerate(predicted)]
    if not masks:
        raise BadInput("mask losses need the masks of at least one candidate")
    for i, mask in enumerate(masks):
        if mask.shape != true.shape:
            raise BadInput(f"every candidate marks the same pictures, {true.shape}; candidate {i} has {mask.shape}")
    counted = np.ones((len(true), len(masks)), bool)
    if loss == "missed_pixels":
        counted[:] = _pixels(true)[:, None] > 0
    return Losses(
        values=np.stack([_SHARES[loss](mask, true) for mask in masks], axis=1),
        names=tuple(names) if names is not None else tuple(f"{s:g}" for s in sparsities),
        sparsities=tuple(float(s) for s in sparsities),
        loss=loss,
        split=split,
        data=data,
        models=tuple(models),
        counted=None if counted.all() else counted,
    )


def _mask(given: np.ndarray, what: str) -> np.ndarray:
    """The masks, if they are that; numbers are never rounded to pixels."""
    mask = np.asarray(given)
    if mask.dtype.kind != "b":
        raise BadInput(f"{what} are bool, True where the object is; got dtype {mask.dtype}: logits > 0, if they are")
    if mask.ndim != 3 or 0 in mask.shape:
        raise BadInput(f"{what} have shape (n, height, width) with at least one of each; got {mask.shape}")
    return mask


def _missed_overlap(mask: np.ndarray, true: np.ndarray) -> Float64[np.ndarray, " n"]:
    return _share(_pixels(mask ^ true), _pixels(mask | true))


def _missed_pixels(mask: np.ndarray, true: np.ndarray) -> Float64[np.ndarray, " n"]:
    return _share(_pixels(true & ~mask), _pixels(true))


def _pixels(mask: np.ndarray) -> np.ndarray:
    counts: np.ndarray = np.count_nonzero(mask, axis=(1, 2))
    return counts


def _share(part: np.ndarray, whole: np.ndarray) -> Float64[np.ndarray, " n"]:
    """part / whole of each picture, from whole numbers; 0 of nothing."""
    share: Float64[np.ndarray, " n"] = part / np.maximum(whole, 1)
    return share


_SHARES: dict[str, Callable[[np.ndarray, np.ndarray], Float64[np.ndarray, " n"]]] = {
    "missed_overlap": _missed_overlap,
    "missed_pixels": _missed_pixels,
}
