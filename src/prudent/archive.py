"""Predictions and losses as safetensors bytes, and back. No torch: whoever checks a certificate need not have it."""

import json
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from prudent.errors import PrudentError
from prudent.types import Losses, Predictions


def predictions_to_bytes(predictions: Predictions) -> bytes:
    """The same predictions always give the same bytes."""
    arrays = {"logits": predictions.logits}
    if predictions.labels is not None:
        arrays["labels"] = predictions.labels
    return _to_bytes(arrays, {"split": predictions.split, "data": predictions.data, "model": predictions.model})


def predictions_from_bytes(content: bytes) -> Predictions:
    """Raises: PrudentError: not such a file, or not whole; BadInput: contents that are no predictions."""
    arrays, about = _from_bytes(content, ("logits",), ("split", "data", "model"))
    return Predictions(logits=arrays["logits"], labels=arrays.get("labels"), **about)


def losses_to_bytes(losses: Losses) -> bytes:
    """Losses of 0 and 1 take one byte each, others eight."""
    values = losses.values.astype(np.uint8) if losses.binary else losses.values
    about: dict[str, object] = {
        "names": losses.names,
        "sparsities": losses.sparsities,
        "loss": losses.loss,
        "split": losses.split,
        "data": losses.data,
        "models": losses.models,
        "dense": losses.dense,
    }
    return _to_bytes({"values": values}, about)


def losses_from_bytes(content: bytes) -> Losses:
    """Raises: PrudentError: not such a file, or not whole; BadInput: contents that are no losses."""
    arrays, about = _from_bytes(
        content, ("values",), ("names", "sparsities", "loss", "split", "data", "models", "dense")
    )
    about |= {name: tuple(about[name]) for name in ("names", "sparsities", "models")}
    return Losses(values=arrays["values"].astype(np.float64), **about)


def _to_bytes(arrays: dict[str, np.ndarray], about: dict[str, object]) -> bytes:
    # one metadata entry only: safetensors writes several in no fixed order
    return save(arrays, metadata={"prudent": json.dumps(about, sort_keys=True)})


def _from_bytes(
    content: bytes, names: tuple[str, ...], keys: tuple[str, ...]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    try:
        arrays = load(content)
        length = int.from_bytes(content[:8], "little")
        about = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["prudent"])
        missing = [name for name in names if name not in arrays] + [key for key in keys if key not in about]
    except Exception as error:
        raise PrudentError(f"this is not a whole safetensors file written by prudent ({error})") from error
    if missing:
        raise PrudentError(f"this safetensors file lacks {', '.join(missing)}")
    return dict(arrays), {key: about[key] for key in keys}
