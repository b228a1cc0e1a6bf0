"""Which elements of a network's parameters stay: a plan, applied to states and optimisers in both directions."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prudent.errors import BadInput


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
        for dim, kept in self.dims.items():
            value = value.index_select(dim, torch.from_numpy(kept).to(value.device))
        return value

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
            BadInput: the optimiser holds a parameter that the original does not have.
        """
        names = {id(p): name for name, p in original.named_parameters(remove_duplicate=False)}
        new = dict(small.named_parameters(remove_duplicate=False))
        for group in optimizer.param_groups:
            unknown = [p for p in group["params"] if id(p) not in names or names[id(p)] not in new]
            if unknown:
                raise BadInput(
                    f"the optimiser holds a parameter of shape {tuple(unknown[0].shape)} that is not one of the "
                    "network's: give the network that it was made for"
                )
        for group in optimizer.param_groups:
            replaced = []
            for parameter in group["params"]:
                name = names[id(parameter)]
                state = optimizer.state.pop(parameter, None)
                if state is not None:
                    optimizer.state[new[name]] = {k: self._cut_state(name, parameter, v) for k, v in state.items()}
                replaced.append(new[name])
            group["params"] = replaced

    def _cut_state(self, name: str, parameter: Tensor, value: Any) -> Any:  # noqa: ANN401 (an optimiser's state)
        own = self.slices.get(name)
        if own is None or not isinstance(value, Tensor) or value.shape != parameter.shape:
            return value
        return own.take(value).clone()


def apply_plan(model: nn.Module, plan: Plan) -> nn.Module:
    """A copy of a network of the original's architecture with only what the plan keeps. Tied weights stay tied.

    Raises:
        BadInput: the plan names what the network does not have, or in another shape.
    """
    # what is cut is not copied whole first: the loop below replaces it
    cut_ones = {id(p): p for name, p in model.named_parameters(remove_duplicate=False) if name in plan.slices}
    small = copy.deepcopy(model, cut_ones)
    done: dict[int, nn.Parameter] = {}
    for path, module in small.named_modules(remove_duplicate=False):
        prefix = f"{path}." if path else ""
        for key, parameter in list(module._parameters.items()):
            if parameter is not None and id(parameter) in done:
                module._parameters[key] = done[id(parameter)]
            elif parameter is not None and f"{prefix}{key}" in plan.slices:
                cut = nn.Parameter(
                    plan.slices[f"{prefix}{key}"].take(parameter.detach()).clone(), parameter.requires_grad
                )
                done[id(parameter)] = done[id(cut)] = cut
                module._parameters[key] = cut
        for key, buffer in list(module._buffers.items()):
            if buffer is not None and f"{prefix}{key}" in plan.slices:
                module._buffers[key] = plan.slices[f"{prefix}{key}"].take(buffer).clone()
    _rest_of_tied(small, done)
    unknown = set(plan.slices) - set(small.state_dict()) - {n for n, _ in small.named_buffers()}
    if unknown:
        raise BadInput(f"the plan is about {sorted(unknown)[0]!r}, which the network does not have")
    for path, values in plan.attributes.items():
        module = small.get_submodule(path)
        for key, value in values.items():
            setattr(module, key, tuple(value) if isinstance(value, list) else value)
    for module in small.modules():
        if isinstance(module, nn.RNNBase):
            module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]
    return small


def _rest_of_tied(small: nn.Module, done: Mapping[int, nn.Parameter]) -> None:
    """A tied parameter whose second name came before the first."""
    for module in small.modules():
        for key, parameter in module._parameters.items():
            if parameter is not None and id(parameter) in done:
                module._parameters[key] = done[id(parameter)]


def expand(small: nn.Module, original: nn.Module, plan: Plan) -> nn.Module:
    """The masked network of the original's shape that computes what `small`, cut by `plan` and trained on, computes.

    Args:
        small: what the plan left, with any weights.
        original: a network of the original shape. Not changed; running statistics of removed channels remain.
        plan: the plan that made `small`.
    """
    large = copy.deepcopy(original)
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
