"""Weights of a network that was trained elsewhere: a safetensors file that a study names, known by its hash."""

import hashlib
import os
from pathlib import Path

from safetensors.torch import load as load_tensors
from torch import nn

from prudent.errors import BadInput, reason
from prudent.files import read_file


def weights_hash(file: str) -> str:
    """sha256 of a weights file, as 64 hex digits.

    Args:
        file: its path; a relative one is looked for in $PRUDENT_DATA, like data sets.

    Raises:
        PrudentError: the file cannot be read.
    """
    return hashlib.sha256(read_file(_place(file))).hexdigest()


def give_weights(model: nn.Module, file: str, *, sha256: str = "") -> None:
    """Put the weights of a file into a network, all of them and no others.

    Args:
        model: changed: its parameters and buffers.
        file: as for `weights_hash`.
        sha256: what the file's hash must be, "" for any.

    Raises:
        PrudentError: the file cannot be read.
        BadInput: another file than the one with that hash, no safetensors, or names and shapes that are not the
            network's; counters of batches may be absent, since nothing depends on them here.
    """
    content = read_file(_place(file))
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise BadInput(f"weights {file!r} were changed after this study was laid out: run it again from the start")
    try:
        tensors = load_tensors(content)
    except Exception as error:
        raise BadInput(f"weights {file!r} are no whole safetensors file ({reason(error)})") from error
    own = model.state_dict()
    counters = {name for name in own if name.endswith("num_batches_tracked")}
    for what, names in (
        ("lack", own.keys() - counters - tensors.keys()),
        ("have besides", tensors.keys() - own.keys()),
    ):
        if names:
            raise BadInput(f"weights {file!r} must be the network's own; they {what} {', '.join(sorted(names)[:3])}")
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            raise BadInput(
                f"weights {file!r} must be the network's own; {name!r} has shape {tuple(tensor.shape)} there and "
                f"{tuple(own[name].shape)} here: the model's options differ"
            )
    model.load_state_dict(tensors, strict=False)


def _place(file: str) -> Path:
    return Path(os.environ.get("PRUDENT_DATA", "")) / file
