"""Parameters that are none: computed anew in each pass, quantised, compiled, or not there yet; and what to do first."""

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from prudent.errors import CannotPrune
from prudent.submodules import modules_by_path


def check_stored(model: nn.Module, path: str = "") -> None:
    """Refuse a network, or the part of one at `path`, that computes any of its parameters.

    Raises:
        CannotPrune: says which, by what, and what to call first.
    """
    for name, module in model.named_modules(prefix=path):
        for parameter, advice in computed_in(module):
            raise CannotPrune(not_stored(name, parameter, advice))


def check_plain_numbers(model: nn.Module) -> None:
    """Refuse networks whose weights cannot be read as tensors of numbers.

    Raises:
        CannotPrune: says which module is TorchScript, quantised, or lazy and has not seen an input yet.
    """
    for name, module in modules_by_path(model):
        what = f"layer {name!r}" if name else f"the network ({type(module).__name__})"
        if isinstance(module, torch.jit.ScriptModule):
            raise CannotPrune(f"{what} is TorchScript: prune the module it was made from, and script what comes out")
        if type(module).__module__.startswith(QUANTISED):
            raise CannotPrune(f"{what} is quantised: prune the network in floating point, and quantise what comes out")
        if any(isinstance(p, nn.parameter.UninitializedParameter) for p in module._parameters.values()):
            raise CannotPrune(f"{what} has no shape yet: run the network once on an example input")


QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.ao.nn.sparse")
"""Packages of modules whose weights are packed for integer arithmetic."""


def computed_in(module: nn.Module) -> Iterator[tuple[str, str]]:
    """The parameters that a module itself computes: name, and by what and how to end that, in words.

    Found are parametrisations of torch.nn.utils.parametrize (the newer weight_norm, spectral_norm and orthogonal among
    them), the older weight_norm and spectral_norm, and masks of torch.nn.utils.prune.
    """
    if parametrize.is_parametrized(module):
        for name, chain in module.parametrizations.items():  # type: ignore[union-attr, operator]
            kinds = " and ".join(type(one).__name__.removeprefix("_") for one in chain)
            yield name, f"{kinds}: call torch.nn.utils.parametrize.remove_parametrizations(layer, {name!r}) first"
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm):
            yield hook.name, f"weight_norm: call torch.nn.utils.remove_weight_norm(layer, {hook.name!r}) first"
        elif isinstance(hook, SpectralNorm):
            yield hook.name, f"spectral_norm: call torch.nn.utils.remove_spectral_norm(layer, {hook.name!r}) first"
        elif isinstance(hook, BasePruningMethod):
            name = str(hook._tensor_name)
            yield name, f"a mask of torch.nn.utils.prune: call torch.nn.utils.prune.remove(layer, {name!r}) first"


def not_stored(path: str, parameter: str, advice: str) -> str:
    """What is said of a parameter that is computed."""
    return (
        f"layer {path!r} does not store its {parameter}: it is computed in each pass, by {advice}, which makes the "
        "present value permanent, and set it up again on what comes out if training needs it"
    )
