"""Predictions and losses as safetensors bytes, and back. No torch: whoever checks a certificate need not have it."""

import json
from dataclasses import fields
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from prudent.errors import PrudentError
from prudent.types import Losses, Predictions

LOSSES = ("names", "sparsities", "loss", "split", "data", "models", "dense")
LATER = ("low", "high", "group", "options", "stopped")
BESIDE = ("counted", "bins")


def predictions_to_bytes(predictions: Predictions) -> bytes:
    """The same predictions always give the same bytes."""
    arrays = {"logits": predictions.logits}
    if predictions.labels is not None:
        arrays["labels"] = predictions.labels
    return to_bytes(arrays, {"split": predictions.split, "data": predictions.data, "model": predictions.model})


def predictions_from_bytes(content: bytes) -> Predictions:
    """Raises: PrudentError: not such a file, or not whole; BadInput: contents that are no predictions."""
    arrays, about = from_bytes(content, ("logits",), ("split", "data", "model"))
    return Predictions(logits=arrays["logits"], labels=arrays.get("labels"), **about)


def losses_to_bytes(losses: Losses) -> bytes:
    """Losses of 0 and 1 take one byte each, others eight."""
    plain = bool(((losses.values == 0) | (losses.values == 1)).all())
    arrays = {"values": losses.values.astype(np.uint8) if plain else losses.values}
    about: dict[str, object] = {name: getattr(losses, name) for name in LOSSES}
    # what most losses do not have is written only where it is there: their files are what they always were
    arrays |= {name: _narrow(getattr(losses, name)) for name in BESIDE if getattr(losses, name) is not None}
    defaults = {f.name: f.default for f in fields(Losses)}
    about |= {name: getattr(losses, name) for name in LATER if getattr(losses, name) != defaults[name]}
    return to_bytes(arrays, about)


def losses_from_bytes(content: bytes) -> Losses:
    """Raises: PrudentError: not such a file, or not whole; BadInput: contents that are no losses."""
    arrays, about = from_bytes(content, ("values",), LOSSES, LATER)
    about |= {name: tuple(about[name]) for name in ("names", "sparsities", "models")}
    if "options" in about:
        about["options"] = tuple((name, value) for name, value in about["options"])
    beside: dict[str, Any] = {name: arrays[name] for name in BESIDE if name in arrays}
    if "counted" in beside:
        beside["counted"] = beside["counted"].astype(np.bool_)
    return Losses(values=arrays["values"].astype(np.float64), **beside, **about)


def _narrow(given: np.ndarray) -> np.ndarray:
    """Flags and small whole numbers, one byte each where that is enough."""
    return given.astype(np.uint8) if given.max() <= np.iinfo(np.uint8).max else given


def to_bytes(arrays: dict[str, np.ndarray], about: dict[str, object]) -> bytes:
    """Arrays, and what is said about them in plain words, as one safetensors file."""
    # one metadata entry only: safetensors writes several in no fixed order
    return save(arrays, metadata={"prudent": json.dumps(about, sort_keys=True)})


def from_bytes(
    content: bytes, names: tuple[str, ...], keys: tuple[str, ...], later: tuple[str, ...] = ()
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of such a file, and what is said about them.

    Args:
        content: of the file.
        names: arrays that it must have.
        keys: what must be said.
        later: what may be said.

    Raises:
        PrudentError: not such a file, or not whole.
    """
    try:
        arrays = load(content)
        length = int.from_bytes(content[:8], "little")
        about = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["prudent"])
        missing = [name for name in names if name not in arrays] + [key for key in keys if key not in about]
    except Exception as error:
        raise PrudentError(f"this is not a whole safetensors file written by prudent ({error})") from error
    if missing:
        raise PrudentError(f"this safetensors file lacks {', '.join(missing)}")
    return dict(arrays), {key: about[key] for key in (*keys, *later) if key in about}
