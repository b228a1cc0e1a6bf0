"""The two modules that take a layer's place, and networks in which they have done so."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prudent.errors import BadInput
from prudent.low_rank.folding import Factors, Fold, fold
from prudent.low_rank.grouped import GroupedLinear
from prudent.low_rank.layers import survey
from prudent.unfolding import Layer

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def factorised_like(model: nn.Module, plan: Mapping[str, Factors]) -> nn.Module:
    """A network of the architecture that `factorise` made, so that a state dict of it loads.

    Args:
        model: of the original architecture, with any weights. Not changed.
        plan: name of a layer -> how it became two.

    Returns: a copy in which those layers are two modules in a row whose weights are zero, of the layer's dtype, on its
    device, in its mode, and frozen where it was. Everything else is as in `model`.

    Raises:
        UnknownName: a layer or scheme that is not there.
        CannotPrune: a layer that cannot be factorised.
        BadInput: groups or a rank that the layer cannot have.
    """
    if not plan:
        return copy.deepcopy(model)
    layers = survey(model, tuple(plan)).layers
    for name, factors in plan.items():
        _check(name, layers[name], factors)
    return replaced(model, {name: pair(layers[name], factors) for name, factors in plan.items()})


def replaced(model: nn.Module, modules: Mapping[str, nn.Module]) -> nn.Module:
    """A copy of the network with other modules in the named places. The modules themselves are put in."""
    if "" in modules:  # the network is the layer
        return modules[""]
    result = copy.deepcopy(model)
    for name, module in modules.items():
        owner, _, own = name.rpartition(".")
        result.get_submodule(owner)._modules[own] = module
    return result


def pair(layer: Layer, factors: Factors) -> nn.Sequential:
    """Two modules in a row, of a layer's kind, their weights zero: the first without bias, the second with the layer's.

    Each side of the kernel goes, with its stride, padding and dilation, to the module that spans it. Padding by zeros
    commutes with a module without bias, the other kinds of padding with any, so nothing changes at the edges.
    """
    middle = factors.groups * factors.rank
    if isinstance(layer, nn.Linear):
        first: nn.Module = GroupedLinear(layer.in_features, middle, groups=factors.groups, device="meta")
        if factors.groups == 1:
            first = nn.Linear(layer.in_features, middle, bias=False, device="meta")
        second: nn.Module = nn.Linear(middle, layer.out_features, bias=layer.bias is not None, device="meta")
    else:
        own = fold(tuple(layer.weight.shape), factors.scheme)
        first = _convolution(
            layer, own.first, inputs=layer.in_channels, outputs=middle, groups=factors.groups, bias=False
        )
        spans = tuple(not span for span in own.first)
        second = _convolution(layer, spans, inputs=middle, outputs=layer.out_channels, groups=1, bias=True)
    both = nn.Sequential(first, second)
    # made on the meta device, where initialisation draws no random numbers
    for module in both:
        for name, parameter in module.named_parameters():
            like = layer.bias if name == "bias" and layer.bias is not None else layer.weight
            zeros = torch.zeros(parameter.shape, dtype=like.dtype, device=like.device)
            module._parameters[name] = nn.Parameter(zeros, requires_grad=like.requires_grad)
    return both.train(layer.training)


def filled(layer: Layer, factors: Factors, first: Tensor, second: Tensor) -> nn.Sequential:
    """The same two modules with their weights.

    Args:
        layer: not changed; its bias is copied.
        factors: how it becomes two.
        first, second: as `factors_of` gives them.
    """
    both = pair(layer, factors)
    own = fold(tuple(layer.weight.shape), factors.scheme)
    one, two = both[0].weight, both[1].weight
    assert isinstance(one, Tensor)  # noqa: S101 (for the type checker)
    assert isinstance(two, Tensor)  # noqa: S101
    with torch.no_grad():
        one.copy_(first.reshape(one.shape))
        two.copy_(_by_output(own, second).reshape(two.shape))
        if layer.bias is not None:
            both[1].bias.copy_(layer.bias)  # type: ignore[operator]
    return both


def _by_output(own: Fold, second: Tensor) -> Tensor:
    """(outputs * positions, middle) -> (outputs, middle, positions)."""
    return second.reshape(own.shape[0], own.outer, -1).transpose(1, 2)


def _convolution(
    layer: nn.Conv1d | nn.Conv2d | nn.Conv3d,
    spans: tuple[bool, ...],
    *,
    inputs: int,
    outputs: int,
    groups: int,
    bias: bool,
) -> nn.Module:
    """A convolution that spans some sides of the layer's kernel, and 1 of the others."""

    def side(values: tuple[int, ...], other: int) -> tuple[int, ...]:
        return tuple(value if own else other for value, own in zip(values, spans, strict=True))

    # "same" pads nothing where the kernel has length 1
    padding = layer.padding if isinstance(layer.padding, str) else side(layer.padding, 0)
    return CONVOLUTIONS[len(spans) - 1](
        inputs,
        outputs,
        side(layer.kernel_size, 1),  # type: ignore[arg-type]
        stride=side(layer.stride, 1),  # type: ignore[arg-type]
        padding=padding,  # type: ignore[arg-type]
        dilation=side(layer.dilation, 1),  # type: ignore[arg-type]
        groups=groups,
        bias=bias and layer.bias is not None,
        padding_mode=layer.padding_mode if any(spans) else "zeros",
        device="meta",
    )


def _check(name: str, layer: Layer, factors: Factors) -> None:
    shape = tuple(layer.weight.shape)
    own = fold(shape, factors.scheme)
    if factors.groups < 1 or shape[1] % factors.groups:
        raise BadInput(f"groups of {name!r} must divide its {shape[1]} inputs; got {factors.groups}")
    if not 1 <= factors.rank <= own.full_rank(factors.groups):
        most = own.full_rank(factors.groups)
        raise BadInput(f"a rank of {name!r} in {factors.groups} groups is in 1 .. {most}; got {factors.rank}")
