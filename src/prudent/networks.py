"""Networks as files: JSON that says what they are, safetensors that hold the numbers. No pickle, ever.

A masked network stores of each pruned parameter the kept values, and a mask of 1 bit a unit; a smaller network stores
its own layers and, 1 bit a channel, which channels of the original it keeps. Of networks that were traced the file also
says what their units cover; of those that left the user's class it holds the graph, so that they need no class to load.
A network of low rank stores its factors, and of each layer the folding, groups and rank by which it became two.
"""

import hashlib
import json
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, fx, nn

from prudent.assembling import Architecture, assemble, stored_mask
from prudent.errors import BadInput, PrudentError, reason
from prudent.files import read_file, write_whole
from prudent.granularities import removed_elements
from prudent.low_rank.factorisation import Factorised
from prudent.masks import Mask
from prudent.network import parameters
from prudent.pruning import Pruned
from prudent.surgery import graphs
from prudent.surgery.plans import Plan
from prudent.surgery.shrinking import Shrunk

SCHEMA = 3
DESCRIPTION = "network.json"
NUMBERS = "network.safetensors"
PLAN = "plan.json"

Saved = nn.Module | Pruned | Shrunk | Factorised


def save(network: Saved, folder: str | Path, *, architecture: Architecture | None = None) -> Path:
    """Write a network into a folder: network.json and network.safetensors, each whole or not at all.

    Of a smaller network plan.json says besides, for people and other tools, which indices of which dimension of the
    original's parameters are left.

    Args:
        network: a plain, a masked (`Pruned`), a smaller (`Shrunk`) or a factorised (`Factorised`) network; not changed.
            After more training, put the trained module in its place first: dataclasses.replace(pruned, model=trained).
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
    """Read a network that `save` wrote: an nn.Module, a Pruned, a Shrunk or a Factorised, as it was.

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
    files = {name: read_file(Path(folder) / name) for name in (DESCRIPTION, NUMBERS)}
    if "plan" in _about(files[DESCRIPTION]):
        files[PLAN] = read_file(Path(folder) / PLAN)
    return unpack(files, build=build)


def pack(network: Saved, *, architecture: Architecture | None = None) -> dict[str, bytes]:
    """The files of a network, as name -> content; the same network always gives the same bytes.

    Raises:
        BadInput: as for `save`.
    """
    about: dict[str, Any] = {"schema": SCHEMA, "kind": "plain"}
    removed = removed_elements(network.model, network.mask) if isinstance(network, Pruned) else {}
    tensors, tied = _once(network if isinstance(network, nn.Module) else network.model, removed)
    if tied:
        about["tied"] = tied
    if isinstance(network, (Pruned, Shrunk)):
        described, bits = _of_mask(network.mask)
        about |= described | {"parameters": kept_parameters(network)}
        tensors |= {name: _kept_values(name, tensors[name], gone.cpu()) for name, gone in removed.items()} | bits
    if isinstance(network, Pruned):
        about |= {"kind": "masked", "score": network.score, "scope": network.scope, "requested": network.requested}
    if isinstance(network, Shrunk):
        about |= {"kind": "smaller"} | _of_smaller(network)
    if isinstance(network, Factorised):
        about |= {"kind": "low rank", "parameters": network.params} | _of_factors(network)
    if architecture is not None:
        about["architecture"] = {
            "name": architecture.name,
            "shape": list(architecture.shape),
            "classes": architecture.classes,
            "options": dict(architecture.options),
        }
    numbers = save_tensors(tensors)
    about["sha256"] = hashlib.sha256(numbers).hexdigest()
    plan = {PLAN: _plan_text(network.plan)} if isinstance(network, Shrunk) else {}
    if plan:
        about["plan"] = hashlib.sha256(plan[PLAN]).hexdigest()
    return {DESCRIPTION: _sealed(about), NUMBERS: numbers, **plan}


def unpack(files: Mapping[str, bytes], *, build: Callable[[], nn.Module] | None = None) -> Saved:
    """The network in the two files that `pack` made. Arguments and errors as for `load`."""
    about, tensors = _read(files)
    try:
        return assemble(about, tensors, build)
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
    about, tensors = _read(files)
    try:
        return stored_mask(about, tensors)
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise BadInput(f"the saved network has no mask that fits its own description: {reason(error)}") from error


def kept_parameters(network: Saved) -> int:
    """Parameters that a network keeps: all of a plain or smaller one, those not masked of a masked one."""
    if not isinstance(network, Pruned):
        return parameters(network if isinstance(network, nn.Module) else network.model)
    gone = sum(int(removed.sum()) for removed in removed_elements(network.model, network.mask).values())
    return parameters(network.model) - gone


def _plan_text(plan: Plan) -> bytes:
    """Module, parameter, and for each dimension that is cut the indices that are left; of grouped ones the places."""
    entries = []
    for name, own in plan.slices.items():
        module, _, parameter = name.rpartition(".")
        entry: dict[str, Any] = {"module": module, "parameter": parameter, "shape": own.shape, "left": own.left}
        if own.flat is None:
            entry["kept"] = {str(dim): kept.tolist() for dim, kept in own.dims.items()}
        else:
            entry["places"] = own.flat.reshape(-1).tolist()
        entries.append(entry)
    attributes = {path: dict(values) for path, values in plan.attributes.items()}
    return (json.dumps({"schema": SCHEMA, "parameters": entries, "attributes": attributes}, indent=1) + "\n").encode()


def _sealed(about: dict[str, Any]) -> bytes:
    """The description with a hash of itself: a change that nobody meant is found and refused by name."""
    seal = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    return (json.dumps(about | {"seal": seal}, indent=1, sort_keys=True) + "\n").encode()


def _read(files: Mapping[str, bytes]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Description and numbers, once both are known to be as they were written."""
    about = _about(files[DESCRIPTION])
    seal = about.pop("seal", None)
    if seal is not None and seal != hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest():
        raise BadInput(f"{DESCRIPTION} is not as it was written: it does not have the hash that it carries")
    tensors = _tensors(files[NUMBERS])
    if about.get("sha256") not in (None, hashlib.sha256(files[NUMBERS]).hexdigest()):
        raise BadInput(f"{NUMBERS} is not the file that {DESCRIPTION} was written for: their hashes differ")
    if PLAN in files and about.get("plan") != hashlib.sha256(files[PLAN]).hexdigest():
        raise BadInput(f"{PLAN} is not the file that {DESCRIPTION} was written for: their hashes differ")
    return about, tensors


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


def _of_mask(mask: Mask) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a mask is: words, and bits."""
    about: dict[str, Any] = {
        "granularity": mask.granularity,
        "sparsity": mask.sparsity,
        "units": {name: list(kept.shape) for name, kept in mask.kept.items()},
    }
    about |= {k: list(v) for k, v in (("pattern", mask.pattern), ("block", mask.block)) if v is not None}
    tensors = {f"{name}.mask": _bits(kept) for name, kept in mask.kept.items()}
    if mask.cover is not None:
        about["order"] = list(mask.kept)  # by which units are numbered; keys of JSON are sorted
        about["cover"] = {name: len(arrays) for name, arrays in sorted(mask.cover.items())}
        for name, arrays in mask.cover.items():
            for i, units in enumerate(arrays):
                tensors[f"{name}.cover{i}"] = torch.from_numpy(np.ascontiguousarray(units, dtype=np.int32))
    return about, tensors


def _of_smaller(network: Shrunk) -> dict[str, Any]:
    """What a smaller network is, beside its mask and its numbers."""
    proof = network.proof
    about: dict[str, Any] = {
        "macs": network.macs,
        "form": network.form,
        "attributes": {path: dict(values) for path, values in network.plan.attributes.items()},
        "proof": {"difference": proof.difference, "tolerance": proof.tolerance, "inputs": proof.inputs},
        "kept": dict(network.kept),
        "changing": list(network.changing),
        "lost": list(network.lost),
    }
    if isinstance(network.model, fx.GraphModule):
        about["graph"] = graphs.to_text(network.model)
        about["shapes"] = {name: list(own.shape) for name, own in network.plan.slices.items()}
    return about


def _of_factors(network: Factorised) -> dict[str, Any]:
    """How layers became two, in the network's order, which a table of JSON would lose."""
    return {
        "factors": [[name, one.scheme, one.groups, one.rank] for name, one in network.plan.items()],
        "errors": dict(network.errors),
        "left_alone": dict(network.left_alone),
        "method": network.method,
        "params_before": network.params_before,
    }
