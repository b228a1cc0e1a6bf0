"""Networks as files: JSON that says what they are, safetensors that hold the numbers. No pickle, ever.

A masked network stores of each pruned parameter the kept values, and a mask of 1 bit a unit; a smaller network stores
its own layers and, 1 bit a channel, which channels of the original it keeps.
"""

import json
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from prudent.building import build as build_model
from prudent.errors import BadInput, PrudentError, reason
from prudent.files import read_file, write_whole
from prudent.granularities import removed_elements
from prudent.masks import Mask
from prudent.models import MODELS
from prudent.network import fingerprint, parameters
from prudent.pruning import Pruned
from prudent.surgery.cutting import cut, plan_of
from prudent.surgery.shrinking import Proof, Shrunk

SCHEMA = 2
DESCRIPTION = "network.json"
NUMBERS = "network.safetensors"

Saved = nn.Module | Pruned | Shrunk


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """How to build the network that was pruned: a model by name, its input shape, classes and options."""

    name: str
    shape: tuple[int, ...]
    classes: int
    options: Mapping[str, Any]

    def build(self) -> nn.Module:
        """A network of this architecture; its weights do not matter."""
        return build_model(self.name, self.shape, self.classes, seed=0, options=dict(self.options))


def save(network: Saved, folder: str | Path, *, architecture: Architecture | None = None) -> Path:
    """Write a network into a folder: network.json and network.safetensors, each whole or not at all.

    Args:
        network: a plain, a masked (`Pruned`) or a smaller (`Shrunk`) network; not changed. After more training, put
            the trained module in its place first: dataclasses.replace(pruned, model=trained).
        folder: made if absent; files of these names in it are replaced.
        architecture: how to build the original, so that `load` needs no `build`.

    Returns: the folder.

    Raises:
        PrudentError: the folder cannot be written to.
        BadInput: a weight that the mask removes is not zero: the network was trained without its mask.
    """
    for name, content in pack(network, architecture=architecture).items():
        write_whole(Path(folder) / name, content)
    return Path(folder)


def load(folder: str | Path, *, build: Callable[[], nn.Module] | None = None) -> Saved:
    """Read a network that `save` wrote: an nn.Module, a Pruned or a Shrunk, as it was saved.

    Args:
        folder: where it is.
        build: makes a network of the original architecture (its weights are replaced, and have the dtypes that were
            saved); may be left out if an architecture of prudent's own was saved. Files are data, so code that they
            name, "package.module:callable", is never run.

    Raises:
        PrudentError: a file is missing or unreadable.
        BadInput: the files do not fit each other, or not the network that `build` makes; or they do not say an
            architecture of prudent's own, and there is no `build`.
    """
    return unpack({name: read_file(Path(folder) / name) for name in (DESCRIPTION, NUMBERS)}, build=build)


def pack(network: Saved, *, architecture: Architecture | None = None) -> dict[str, bytes]:
    """The two files of a network, as name -> content; the same network always gives the same bytes.

    Raises:
        BadInput: as for `save`.
    """
    about: dict[str, Any] = {"schema": SCHEMA, "kind": "plain"}
    removed = removed_elements(network.model, network.mask) if isinstance(network, Pruned) else {}
    tensors, tied = _once(network if isinstance(network, nn.Module) else network.model, removed)
    if tied:
        about["tied"] = tied
    if isinstance(network, (Pruned, Shrunk)):
        mask = network.mask
        about["kind"] = "masked" if isinstance(network, Pruned) else "smaller"
        about["granularity"] = mask.granularity
        about["sparsity"] = mask.sparsity
        about["units"] = {name: list(kept.shape) for name, kept in mask.kept.items()}
        about["parameters"] = kept_parameters(network)
        about |= {k: list(v) for k, v in (("pattern", mask.pattern), ("block", mask.block)) if v is not None}
        tensors |= {name: _kept_values(name, tensors[name], gone.cpu()) for name, gone in removed.items()}
        tensors |= {f"{name}.mask": _bits(kept) for name, kept in mask.kept.items()}
    if isinstance(network, Pruned):
        about |= {"score": network.score, "scope": network.scope, "requested": network.requested}
    if isinstance(network, Shrunk):
        proof = network.proof
        about["macs"] = network.macs
        about["proof"] = {
            "difference": proof.difference, "tolerance": proof.tolerance, "inputs": proof.inputs
        }  # fmt: skip
    if architecture is not None:
        about["architecture"] = {
            "name": architecture.name,
            "shape": list(architecture.shape),
            "classes": architecture.classes,
            "options": dict(architecture.options),
        }
    text = json.dumps(about, indent=1, sort_keys=True) + "\n"
    return {DESCRIPTION: text.encode(), NUMBERS: save_tensors(tensors)}


def unpack(files: Mapping[str, bytes], *, build: Callable[[], nn.Module] | None = None) -> Saved:
    """The network in the two files that `pack` made. Arguments and errors as for `load`."""
    about, tensors = _about(files[DESCRIPTION]), _tensors(files[NUMBERS])
    try:
        return _assemble(about, tensors, _builder(about, build)())
    except PrudentError:
        raise
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise BadInput(f"the saved network does not fit the architecture it is loaded into: {reason(error)}") from error


def mask_in(files: Mapping[str, bytes]) -> Mask:
    """The mask in the two files that `pack` made of a masked or a smaller network; its architecture is not needed.

    Raises:
        PrudentError: the files are not whole.
        BadInput: they hold no mask.
    """
    about, tensors = _about(files[DESCRIPTION]), _tensors(files[NUMBERS])
    try:
        return _mask(about, tensors)
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise BadInput(f"the saved network has no mask that fits its own description: {reason(error)}") from error


def kept_parameters(network: Saved) -> int:
    """Parameters that a network keeps: all of a plain or smaller one, those not masked of a masked one."""
    if not isinstance(network, Pruned):
        return parameters(network if isinstance(network, nn.Module) else network.model)
    gone = sum(int(removed.sum()) for removed in removed_elements(network.model, network.mask).values())
    return parameters(network.model) - gone


def _about(content: bytes) -> dict[str, Any]:
    try:
        about = json.loads(content)
        schema = about["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise PrudentError(f"{DESCRIPTION} is not a description written by prudent ({error})") from error
    if not isinstance(schema, int) or schema > SCHEMA:
        raise BadInput(f"the network was saved with format {schema}; this version of prudent reads up to {SCHEMA}")
    return dict(about)


def _tensors(content: bytes) -> dict[str, Tensor]:
    try:
        return load_tensors(content)
    except Exception as error:
        raise PrudentError(f"{NUMBERS} is not a whole safetensors file ({error})") from error


def _builder(about: Mapping[str, Any], build: Callable[[], nn.Module] | None) -> Callable[[], nn.Module]:
    if build is not None:
        return build
    if "architecture" not in about:
        raise BadInput("the saved network does not say its architecture: load(folder, build=a function that makes it)")
    given = about["architecture"]
    # a file must not choose which code runs: names of modules come from the caller alone
    if given["name"] not in MODELS:
        raise BadInput(
            f"the saved architecture {given['name']!r} is none of prudent's own, and code that a file names is not "
            "run: load(folder, build=a function that makes it)"
        )
    return Architecture(
        name=given["name"], shape=tuple(given["shape"]), classes=given["classes"], options=given["options"]
    ).build


def _assemble(about: Mapping[str, Any], tensors: dict[str, Tensor], model: nn.Module) -> Saved:
    if about["kind"] == "plain":
        return _filled(model, tensors, about)
    mask = _mask(about, tensors)
    if about["kind"] == "smaller":
        plan = plan_of(mask)
        return Shrunk(
            model=_filled(cut(model, plan), tensors, about),
            plan=plan,
            proof=Proof(**about["proof"]),
            params=about["parameters"],
            macs=about["macs"],
            mask=mask,
        )
    for name, gone in removed_elements(model, mask).items():
        full = torch.zeros(gone.shape, dtype=tensors[name].dtype)
        full[~gone.cpu()] = tensors[name]
        tensors[name] = full
    return Pruned(
        model=_filled(model, tensors, about),
        mask=mask,
        score=about["score"],
        scope=about["scope"],
        requested=about["requested"],
    )


def _mask(about: Mapping[str, Any], tensors: dict[str, Tensor]) -> Mask:
    """The mask, taken out of `tensors`."""
    shapes = {name: tuple(shape) for name, shape in about["units"].items()}
    kept = {name: _from_bits(tensors.pop(f"{name}.mask"), shape) for name, shape in shapes.items()}
    pattern, block = (tuple(about[key]) if key in about else None for key in ("pattern", "block"))
    return Mask(kept=kept, granularity=about["granularity"], pattern=pattern, block=block)


def _filled(model: nn.Module, tensors: dict[str, Tensor], about: Mapping[str, Any]) -> nn.Module:
    """The network with the saved numbers in the saved dtypes, in place."""
    tensors = tensors | {name: tensors[owner] for name, owner in about.get("tied", {}).items()}
    for name, own in model.state_dict(keep_vars=True).items():
        if name in tensors and own.dtype != tensors[name].dtype:
            own.data = own.data.to(tensors[name].dtype)
    model.load_state_dict(tensors)
    if fingerprint(model) != fingerprint(tensors):
        raise BadInput("the architecture ties weights that differ in the saved network: build the one that was saved")
    return model


def _once(module: nn.Module, first: Container[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """State entry -> its numbers, each once; and the other names of tied entries -> the name that they are under.

    Of tied entries the one in `first` has the numbers, the pruned weight, since the mask goes by its name.
    """
    state = module.state_dict()
    owners: dict[object, str] = {}
    tied: dict[str, str] = {}
    for name in sorted(state, key=lambda name: name not in first):  # stable, so otherwise in the network's order
        value = state[name]
        place = (value.device, value.data_ptr(), value.dtype, tuple(value.shape), value.stride())
        owner = owners.setdefault(place if value.numel() else name, name)
        if owner != name:
            tied[name] = owner
    kept = {name: value.detach().cpu().contiguous() for name, value in state.items() if name not in tied}
    whole = {n: v if v.untyped_storage().nbytes() == v.nbytes else v.clone() for n, v in kept.items()}  # of views
    return whole, tied


def _kept_values(name: str, values: Tensor, gone: Tensor) -> Tensor:
    if (values[gone] != 0).any():
        raise BadInput(
            f"the mask removes elements of {name!r} that are not zero, so they would be lost: train with mask=..., or "
            "save the trained network without its mask"
        )
    return values[~gone]


def _bits(kept: Tensor) -> Tensor:
    return torch.from_numpy(np.packbits(kept.numpy().reshape(-1)))


def _from_bits(bits: Tensor, shape: tuple[int, ...]) -> Tensor:
    count = int(np.prod(shape))
    return torch.from_numpy(np.unpackbits(bits.numpy(), count=count).astype(bool).reshape(shape))
