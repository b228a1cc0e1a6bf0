"""Which elements of a network's parameters stay: a plan, applied to states and optimisers in both directions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prudent.copying import duplicate
from prudent.errors import BadInput
from prudent.submodules import modules_by_path

FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
"""Of weights with so many dimensions, other than the usual one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice:
    """The elements of one parameter or buffer that stay.

    Args:
        shape: of the original.
        dims: dimension -> ascending kept indices; used if `flat` is None. A dimension that is not named stays whole.
        flat: kept elements by their number in the flattened original, in the new shape: for grouped convolutions, whose
            groups keep different inputs.
    """

    shape: tuple[int, ...]
    dims: Mapping[int, np.ndarray] = field(default_factory=dict)
    flat: np.ndarray | None = None

    @property
    def left(self) -> tuple[int, ...]:
        """The new shape."""
        if self.flat is not None:
            return self.flat.shape
        return tuple(len(self.dims[d]) if d in self.dims else n for d, n in enumerate(self.shape))

    def take(self, value: Tensor) -> Tensor:
        """The kept elements of an original tensor, in the new shape.

        Raises:
            BadInput: `value` has not the original's shape.
        """
        if tuple(value.shape) != self.shape:
            raise BadInput(f"the plan is for a tensor of shape {self.shape}; got {tuple(value.shape)}")
        if self.flat is not None:
            return value.reshape(-1)[torch.from_numpy(self.flat).to(value.device)]
        for dim in sorted(self.dims):  # whole rows first: they lie in one piece
            value = value.index_select(dim, torch.from_numpy(self.dims[dim]).to(value.device))
        return value

    def copied(self, value: Tensor) -> Tensor:
        """The same in the original's memory format, never with storage that it shares. Raises as `take`."""
        taken = self.take(value)
        if taken is value:
            return taken.clone()
        last = FORMATS.get(value.ndim)
        turned = last is not None and value.is_contiguous(memory_format=last) and not value.is_contiguous()
        return taken.contiguous(memory_format=last) if turned and last is not None else taken

    def put(self, target: Tensor, source: Tensor) -> None:
        """Write the kept elements back to their places in an original tensor."""
        places = torch.from_numpy(self.places()).to(target.device)
        flat = target.reshape(-1)
        flat[places] = source.to(target.dtype)
        target.copy_(flat.view(target.shape))

    def places(self) -> np.ndarray:
        """Numbers of the kept elements in the flattened original, in the new shape."""
        if self.flat is not None:
            return self.flat
        numbers = np.arange(int(np.prod(self.shape)), dtype=np.int64).reshape(self.shape)
        for dim, kept in self.dims.items():
            numbers = np.take(numbers, kept, axis=dim)
        return numbers

    def then(self, later: "Slice") -> "Slice":
        """This slice, and another one of what it leaves.

        Raises:
            BadInput: they do not follow one another.
        """
        if later.shape != self.left:
            raise BadInput(f"the second plan is for a tensor of shape {later.shape}; the first leaves {self.left}")
        if self.flat is None and later.flat is None:
            dims = dict(self.dims)
            for d, kept in later.dims.items():
                dims[d] = dims[d][kept] if d in dims else kept
            return Slice(shape=self.shape, dims=dims)
        return Slice(shape=self.shape, flat=self.places().reshape(-1)[later.places()])


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What stays of a network.

    Args:
        slices: name in the state -> the elements that stay. What is not named stays whole.
        attributes: path of a module -> the attributes that tell its new sizes.
    """

    slices: Mapping[str, Slice]
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def then(self, later: "Plan") -> "Plan":
        """This plan, and another one of the network that it leaves: rounds of pruning make one plan.

        Raises:
            BadInput: they do not follow one another.
        """
        slices = dict(self.slices)
        for name, own in later.slices.items():
            slices[name] = slices[name].then(own) if name in slices else own
        attributes = {path: dict(values) for path, values in self.attributes.items()}
        for path, values in later.attributes.items():
            attributes.setdefault(path, {}).update(values)
        return Plan(slices=slices, attributes=attributes)

    def of_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The kept part of an original state, for example of the weights to rewind to."""
        return {name: self.slices[name].take(value) if name in self.slices else value for name, value in state.items()}

    def apply_to_optimizer(self, optimizer: torch.optim.Optimizer, original: nn.Module, small: nn.Module) -> None:
        """Let an optimiser of the original go on with the smaller network: its momenta are cut like the weights.

        Args:
            optimizer: of parameters of `original`; changed in place. Each state tensor of a parameter's shape is cut.
            original: the network that it was made for.
            small: what was cut from it.

        Raises:
            BadInput: the optimiser holds a parameter that the original does not have, or state that cannot be cut.
                The optimiser is as it was then.
        """
        # of a tied parameter any name will do, but one that the plan knows
        names = {id(p): name for name, p in original.named_parameters(remove_duplicate=False)}
        new = dict(small.named_parameters(remove_duplicate=False))
        for group in optimizer.param_groups:
            unknown = [p for p in group["params"] if id(p) not in names]
            if unknown:
                raise BadInput(
                    f"the optimiser holds a parameter of shape {tuple(unknown[0].shape)} that is not one of the "
                    "network's: give the network that it was made for"
                )
        cut = {
            parameter: {key: self._cut_state(names[id(parameter)], key, value) for key, value in state.items()}
            for parameter, state in optimizer.state.items()
            if id(parameter) in names
        }
        for group in optimizer.param_groups:
            replaced = []
            for parameter in group["params"]:
                optimizer.state.pop(parameter, None)
                own = new.get(names[id(parameter)])  # a graph has no parameters that it does not use
                if own is not None:
                    replaced.append(own)
                    if parameter in cut:
                        optimizer.state[own] = cut[parameter]
            group["params"] = replaced

    def _cut_state(self, name: str, key: str, value: Any) -> Any:  # noqa: ANN401 (an optimiser's state)
        own = self.slices.get(name)
        if own is None or not isinstance(value, Tensor) or value.numel() == 1:
            return value
        if tuple(value.shape) == own.shape:
            return own.copied(value)
        factored = value.ndim == len(own.shape) and all(
            n in (1, m) for n, m in zip(value.shape, own.shape, strict=True)
        )
        if not factored or own.flat is not None:
            raise BadInput(
                f"the optimiser's state {key!r} of {name!r} has shape {tuple(value.shape)}, which the plan cannot cut "
                f"like the parameter, {own.shape}: make a new optimiser for the smaller network"
            )
        dims = {d: kept for d, kept in own.dims.items() if value.shape[d] > 1}
        return Slice(shape=tuple(value.shape), dims=dims).copied(value)


def apply_plan(model: nn.Module, plan: Plan) -> nn.Module:
    """A copy of a network of the original's architecture with only what the plan keeps. Tied weights stay tied.

    Raises:
        BadInput: the plan names what the network does not have, or in another shape.
    """
    whole = tensors_of(model)
    unknown = sorted(set(plan.slices) - set(whole))
    if unknown:
        raise BadInput(f"the plan is about {unknown[0]!r}, which the network does not have")
    # cut while it is copied: what goes is never copied, and whatever holds a tensor holds the cut one afterwards
    cut: dict[int, Tensor] = {}
    for name, one in plan.slices.items():
        tensor = whole[name]
        if id(tensor) not in cut:
            kept = one.copied(tensor.detach())
            cut[id(tensor)] = nn.Parameter(kept, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else kept
    small = duplicate(model, instead=cut)
    there = dict(modules_by_path(small))
    for name in plan.slices:
        path, _, key = name.rpartition(".")
        module = there[path]
        holder: dict[str, Any] = module._parameters if key in module._parameters else module._buffers
        # modules that say themselves how they are copied may have copied the whole one
        holder[key] = cut[id(whole[name])]
    for path, values in plan.attributes.items():
        module = there[path]
        for key, value in values.items():
            setattr(module, key, tuple(value) if isinstance(value, list) else value)
    for module in there.values():
        if isinstance(module, nn.RNNBase):
            module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]
    return small


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers under all their names."""
    found: dict[str, Tensor] = {}
    for path, module in modules_by_path(model):
        prefix = f"{path}." if path else ""
        for own in (module._parameters, module._buffers):
            for key, tensor in own.items():
                if tensor is not None:
                    found[prefix + key] = tensor
    return found


def expand(small: nn.Module, original: nn.Module, plan: Plan) -> nn.Module:
    """The masked network of the original's shape that computes what `small`, cut by `plan` and trained on, computes.

    Args:
        small: what the plan left, with any weights.
        original: a network of the original shape. Not changed; running statistics of removed channels remain.
        plan: the plan that made `small`.
    """
    large = duplicate(original)
    state, source = large.state_dict(), small.state_dict()
    parameters = {name for name, _ in large.named_parameters(remove_duplicate=False)}
    with torch.no_grad():
        for name, value in state.items():
            if name not in plan.slices:
                value.copy_(source[name])
                continue
            if name in parameters:
                value.zero_()
            plan.slices[name].put(value, source[name])
    return large
