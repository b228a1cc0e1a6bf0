"""From the description and the numbers of a stored network to the network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prudent.building import build as build_model
from prudent.errors import BadInput
from prudent.granularities import removed_elements
from prudent.low_rank.factorisation import Factorised
from prudent.low_rank.folding import Factors
from prudent.low_rank.replacement import factorised_like
from prudent.masks import Mask
from prudent.models import MODELS
from prudent.network import fingerprint, parameters
from prudent.pruning import Pruned
from prudent.surgery import graphs
from prudent.surgery.cutting import covered, plan_of
from prudent.surgery.plans import Plan, apply_plan
from prudent.surgery.proving import Proof
from prudent.surgery.shrinking import Shrunk
from prudent.surgery.slicing import slices_that_keep


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


def assemble(
    about: Mapping[str, Any], tensors: dict[str, Tensor], build: Callable[[], nn.Module] | None
) -> nn.Module | Pruned | Shrunk | Factorised:
    """The network that `pack` described.

    Args:
        about: the description.
        tensors: the numbers; those of the mask are taken out.
        build: makes the original architecture, or None if the description says it.

    Raises:
        BadInput: they do not fit each other, or there is no way to make the architecture.
    """
    if about["kind"] == "plain":
        return _filled(_builder(about, build)(), tensors, about)
    if about["kind"] == "low rank":
        return _factorised(about, tensors, build)
    mask = stored_mask(about, tensors)
    if about["kind"] == "smaller":
        return _smaller(about, tensors, mask, build)
    model = _builder(about, build)()
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


def _factorised(
    about: Mapping[str, Any], tensors: dict[str, Tensor], build: Callable[[], nn.Module] | None
) -> Factorised:
    original = _builder(about, build)()
    if parameters(original) != about["params_before"]:
        raise BadInput(
            f"the saved network of low rank was made from {about['params_before']:,} parameters; the one to load it "
            f"into has {parameters(original):,}: build the architecture that was factorised"
        )
    plan = {name: Factors(scheme=scheme, groups=groups, rank=rank) for name, scheme, groups, rank in about["factors"]}
    model = _filled(factorised_like(original, plan), tensors, about)
    return Factorised(
        model=model, plan=plan, errors=about["errors"], left_alone=about["left_alone"], method=about["method"],
        params_before=about["params_before"], params=parameters(model),
    )  # fmt: skip


def _smaller(
    about: Mapping[str, Any], tensors: dict[str, Tensor], mask: Mask, build: Callable[[], nn.Module] | None
) -> Shrunk:
    form = about.get("form", "module")
    # what could not be cut, though the mask empties it, is there, as zeros
    whole = {name: torch.ones_like(kept) for name, kept in mask.kept.items() if name in about.get("kept", {})}
    cut_out = replace(mask, kept={**mask.kept, **whole})
    if form == "graph":
        model: nn.Module = graphs.from_text(about["graph"])
        shapes = {name: tuple(shape) for name, shape in about["shapes"].items()}
        keeps = {name: arrays for name, arrays in covered(cut_out).items() if name in shapes}
        plan = Plan(slices=slices_that_keep(shapes, keeps))
    else:
        original = _builder(about, build)()
        plan = plan_of(original, cut_out)
        plan = Plan(slices=plan.slices, attributes={**plan.attributes, **_attributes(about)})
        model = apply_plan(original, plan)
    return Shrunk(
        model=_filled(model, tensors, about),
        plan=plan,
        proof=Proof(**about["proof"]),
        params=about["parameters"],
        macs=about["macs"],
        mask=mask,
        form=form,
        kept=about.get("kept", {}),
        changing=tuple(about.get("changing", ())),
        lost=tuple(about.get("lost", ())),
    )


def _attributes(about: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The sizes of modules that were stored; only numbers, which are all that a plan sets."""
    given = about.get("attributes", {})
    for values in given.values():
        for value in values.values():
            parts = value if isinstance(value, list) else [value]
            if not all(isinstance(part, int) for part in parts):
                raise BadInput("the saved plan sets an attribute to something that is not a size")
    return {
        path: {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()} for path, values in given.items()
    }


def stored_mask(about: Mapping[str, Any], tensors: dict[str, Tensor]) -> Mask:
    """The mask, taken out of `tensors`."""
    shapes = {name: tuple(about["units"][name]) for name in about.get("order", about["units"])}
    kept = {name: _from_bits(tensors.pop(f"{name}.mask"), shape) for name, shape in shapes.items()}
    pattern, block = (tuple(about[key]) if key in about else None for key in ("pattern", "block"))
    cover = None
    if "cover" in about:
        cover = {
            name: tuple(tensors.pop(f"{name}.cover{i}").numpy() for i in range(count))
            for name, count in about["cover"].items()
        }
    return Mask(kept=kept, granularity=about["granularity"], pattern=pattern, block=block, cover=cover)


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


def _from_bits(bits: Tensor, shape: tuple[int, ...]) -> Tensor:
    count = int(np.prod(shape))
    return torch.from_numpy(np.unpackbits(bits.numpy(), count=count).astype(bool).reshape(shape))
