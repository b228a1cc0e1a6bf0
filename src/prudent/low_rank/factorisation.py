"""A network -> a smaller one in which layers are products of two, within a budget of parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import torch
from torch import nn

from prudent.errors import BadInput, CannotPrune
from prudent.low_rank.allocation import Choice, allocate, frontier
from prudent.low_rank.folding import Factors, factors_of, product
from prudent.low_rank.layers import Survey, survey
from prudent.low_rank.replacement import filled, replaced
from prudent.low_rank.spectra import curves, relative_error
from prudent.network import parameters as count_parameters
from prudent.scopes import check_choice

Method = Literal["alds", "svd"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Factorised:
    """A network whose layers are products of smaller ones.

    Args:
        model: the smaller network, of the same class.
        plan: name of the layer -> scheme, groups and rank. With `factorised_like` and the state dict of `model`, all
            that it takes to store it.
        errors: name of the layer -> its relative spectral error (see prudent.low_rank.spectra), in [0, 1].
        left_alone: name of a linear or convolution layer that stayed as it was -> why.
        method: "alds" or "svd".
        params_before: parameters of the given network, tied ones once.
        params: parameters of the smaller one.
    """

    model: nn.Module
    plan: Mapping[str, Factors]
    errors: Mapping[str, float]
    left_alone: Mapping[str, str]
    method: str
    params_before: int
    params: int

    @property
    def kept(self) -> float:
        """Achieved fraction of the parameters that remain, at most the requested one."""
        return self.params / self.params_before

    @property
    def error(self) -> float:
        """The largest relative spectral error of any layer: what was minimised."""
        return max(self.errors.values(), default=0.0)


def factorise(
    model: nn.Module,
    *,
    parameters: int | None = None,
    keep: float | None = None,
    method: Method = "alds",
    layers: Sequence[str] | None = None,
) -> Factorised:
    """Replace linear and convolution layers of a copy of `model` by two smaller ones in a row.

        minimise   max over layers of || W - W' ||_2 / || W ||_2
        such that  the network has at most so many parameters

    over each layer's rank ("svd"), or over its rank, folding scheme and number of groups of input channels ("alds").
    Then the second largest error is minimised with what is left, and so on. The solution is exact and draws no random
    numbers, and "alds" is never worse than "svd", which is among its choices.

    Args:
        model: the network. Not changed: nor its modes, gradients, or random generators.
        parameters: at most so many parameters may remain in the whole network.
        keep: the same as a fraction of the network's parameters, in (0, 1), rounded down. Give one of the two.
        method: "alds" or "svd".
        layers: names of the layers that may be replaced; None for all that can be.

    Returns: the smaller network, with plan, errors and counts. Layers keep dtype, device, mode, and what is frozen.

    Raises:
        BadInput: both or none of `parameters` and `keep`, a budget that cannot be met (says how far one can go) or that
            the network meets already, weights that are not finite or have no numbers.
        UnknownName: no such method or layer.
        CannotPrune: no layer, or one that was named, can be factorised (says why).

    Source: Liebenwein et al. 2021, "Compressing Neural Networks: Towards Determining the Optimal Layer-wise
    Decomposition", arXiv:2107.11442. Differs: errors are the true ones and all of one norm (see
    prudent.low_rank.spectra), and the joint problem is solved exactly instead of by turns from random starts (see
    prudent.low_rank.allocation).
    """
    check_choice("method", method, Method)
    before = count_parameters(model)
    limit = _limit(before, parameters, keep)
    found = survey(model, layers)
    _check_numbers(found)
    sizes = {name: layer.weight.numel() for name, layer in found.layers.items()}
    frontiers: dict[str, list[Choice]] = {}
    for name, layer in found.layers.items():
        weight = layer.weight.detach().double()
        frontiers[name] = frontier(sizes[name], curves(weight, plain=method == "svd"))
    rest = before - sum(sizes.values())
    fewest = rest + sum(choices[0].cost for choices in frontiers.values())
    if fewest == before:
        raise CannotPrune("no rank of any layer has fewer weights than the layer itself: the layers are too thin")
    if limit < fewest:
        raise BadInput(
            f"a budget of {limit:,} parameters cannot be met: {fewest:,} of {before:,} are left with the lowest rank "
            "in every layer that can be factorised"
        )
    chosen = allocate(frontiers, limit - rest)
    return _built(model, found, chosen, before, method, frontiers)


def _built(
    model: nn.Module,
    found: Survey,
    chosen: Mapping[str, Choice],
    before: int,
    method: str,
    frontiers: Mapping[str, Sequence[Choice]],
) -> Factorised:
    plan = {name: choice.factors for name, choice in chosen.items() if choice.factors is not None}
    modules, errors = {}, {}
    for name, factors in plan.items():
        layer = found.layers[name]
        weight = layer.weight.detach().double()
        first, second = factors_of(weight, factors)
        modules[name] = filled(layer, factors, first, second)
        # of the numbers that are stored: half precision adds its own error
        stored = (part.to(layer.weight.dtype).double() for part in (first, second))
        errors[name] = relative_error(weight, product(tuple(weight.shape), factors, *stored))
    whole = {
        name: "no rank has fewer weights" if len(frontiers[name]) == 1 else "the budget leaves it whole"
        for name in chosen
        if name not in plan
    }
    small = replaced(model, modules)
    return Factorised(
        model=small,
        plan=plan,
        errors=errors,
        left_alone={**found.left_alone, **whole},
        method=method,
        params_before=before,
        params=count_parameters(small),
    )


def _limit(before: int, parameters: int | None, keep: float | None) -> int:
    if (parameters is None) == (keep is None):
        came = "both" if keep is not None else "none of them"
        raise BadInput(f"say how much may remain with one of parameters and keep; got {came}")
    if keep is not None:
        if not _is_fraction(keep):
            raise BadInput(f"keep is the fraction of parameters that may remain, in (0, 1); got {keep!r}")
        # in decimals: 0.29 * 100 is 28.999999999999996 in floats
        return int(Decimal(repr(float(keep))) * before)
    if not isinstance(parameters, int) or isinstance(parameters, bool):
        raise BadInput(f"parameters is a whole number; got {parameters!r}")
    if parameters >= before:
        raise BadInput(
            f"the network has {before:,} parameters, so a budget of {parameters:,} is met without factorising"
        )
    return parameters


def _check_numbers(found: Survey) -> None:
    for name, layer in found.layers.items():
        if layer.weight.is_meta:
            raise BadInput(f"layer {name!r} is on the meta device and has no numbers: load its weights first")
        if not torch.isfinite(layer.weight).all():
            raise BadInput(f"layer {name!r} has weights that are not finite; factorise a network that works")


def _is_fraction(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 < value < 1
