"""Which layers can become two, and why the others cannot."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from prudent.errors import CannotPrune, UnknownName
from prudent.network import PRUNABLE
from prudent.unfolding import Layer

KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True, eq=False)
class Survey:
    """The linear and convolution layers of a network.

    Args:
        layers: name -> layer that can be put as two modules in a row.
        left_alone: name -> why it cannot.
    """

    layers: dict[str, Layer]
    left_alone: dict[str, str]


def survey(model: nn.Module, layers: Sequence[str] | None = None) -> Survey:
    """Sort the linear and convolution layers of a network by whether they can be factorised.

    Args:
        model: not changed.
        layers: names of those that are wanted; None for all.

    Raises:
        UnknownName: a wanted layer that the network does not have.
        CannotPrune: a wanted layer, or every one, that cannot be factorised.
    """
    places = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
    uses = Counter(id(p) for module in model.modules() for p in module._parameters.values() if p is not None)
    fused = {id(child) for m in model.modules() if isinstance(m, nn.TransformerEncoderLayer) for child in m.children()}
    found, alone = Survey({}, {}), {}
    for name, module in model.named_modules():
        if not isinstance(module, PRUNABLE):
            continue
        reason = _reason(module, places=places[id(module)], uses=uses, fused=id(module) in fused)
        if reason is None and isinstance(module, Layer):
            found.layers[name] = module
        else:
            alone[name] = reason or "another kind of layer"
    wanted = found.layers.keys() | alone.keys() if layers is None else layers
    for name in layers or ():
        if name not in found.layers and name not in alone:
            raise UnknownName.of("layer", name, [*found.layers, *alone])
        if name in alone:
            raise CannotPrune(f"layer {name!r} cannot be factorised: {alone[name]}; leave it out of layers=...")
    chosen = {name: layer for name, layer in found.layers.items() if name in wanted}
    if not chosen:
        why = next((f": {name!r} is {reason}" for name, reason in alone.items()), "")
        raise CannotPrune(f"{type(model).__name__} has no linear or convolution layer that can be factorised{why}")
    return Survey(chosen, alone | {name: "not asked for" for name in found.layers if name not in chosen})


def _reason(module: nn.Module, *, places: int, uses: Counter[int], fused: bool) -> str | None:
    """Why a layer must stay as it is, or None."""
    weight = module._parameters.get("weight")
    if not isinstance(weight, nn.Parameter):
        return "masked or parametrised: its weight is computed, not stored"
    if isinstance(weight, nn.parameter.UninitializedParameter):
        return "without a shape yet: run the network once on an example input"
    if isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        return "a transposed convolution"
    if type(module) not in KINDS or "forward" in vars(module):
        return f"a {type(module).__name__} with a forward of its own, or read by a parent directly"
    if fused:
        return "part of nn.TransformerEncoderLayer, which reads its weights directly"
    if getattr(module, "groups", 1) != 1:
        return "a grouped convolution"
    if places > 1 or any(uses[id(p)] > 1 for p in module._parameters.values() if p is not None):
        return "tied: it, or a weight of it, is used in several places"
    if any(getattr(module, hooks) for hooks in HOOKS):
        return "hooked: hooks cannot follow into two modules"
    if not weight.is_floating_point():
        return f"of {weight.dtype}, which has no singular values in float64"
    if weight.numel() == 0:
        return "empty"
    return None
