"""How long a network's layers take at other widths: a sum over layers, each timed by itself on this machine."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from prudent.latency import one_pass
from prudent.network import evaluating
from prudent.probed_layers import REPEATS, Kind, Layer
from prudent.probing import Probe, Timing
from prudent.surgery.plans import Plan

Widths = tuple[int, int, int]
"""Inputs, outputs and groups of a layer."""

Known = dict[Layer, dict[int, Timing]]
"""What has been timed so far, by layer and width."""

Ask = Callable[[Layer, Sequence[int]], Probe]
"""Times a layer at some widths."""

THIN = 8
"""Inputs of the piece that times a depthwise convolution: few, so that the layers around it weigh little."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """One place where a network computes with a weight.

    Args:
        weight: name of the parameter.
        layer: what is probed for it; with the inputs and groups of the dense network.
        width: outputs of the dense network.
    """

    weight: str
    layer: Layer
    width: int


def sites_of(model: nn.Module, example: Tensor) -> tuple[Site, ...]:
    """The convolutions and linear layers of one forward pass, in the order in which they run.

    Convolutions in two dimensions with square kernels of odd size, linear layers and the projections of torch's
    attention are found; what other layers take is taken as not changing with their widths.

    Args:
        model: the dense network. Not changed.
        example: inputs (batch, ...) of the pass.
    """
    found: list[Site] = []
    with _listening(model, found), torch.no_grad(), evaluating(model):
        one_pass(model, example)
    return tuple(found)


def widths_left(plan: Plan, sites: Sequence[Site]) -> dict[str, Widths]:
    """Weight -> inputs, outputs and groups that a plan leaves of its layer."""
    found: dict[str, Widths] = {}
    for site in sites:
        own = plan.slices.get(site.weight)
        if own is None:
            found[site.weight] = (site.layer.inputs, site.width, site.layer.groups)
            continue
        outputs, inputs = own.left[:2]
        if site.layer.kind == "depthwise":
            inputs, groups = THIN, 1
        else:
            path = site.weight.rpartition(".")[0]
            groups = int(plan.attributes.get(path, {}).get("groups", site.layer.groups))
        found[site.weight] = (inputs * groups, outputs, groups)
    return found


def layers_alone(sites: Sequence[Site], widths: Mapping[str, Widths], known: Known, ask: Ask) -> float:
    """Milliseconds that the layers take, each by itself.

        sum over sites of fastest(piece at these widths) / number of such layers in the piece

    Args:
        sites: from `sites_of`.
        widths: weight -> inputs, outputs and groups.
        known: what was timed before; what is timed now is added.
        ask: times what is not known yet.
    """
    total = 0.0
    for site in sites:
        inputs, outputs, groups = widths[site.weight]
        layer = replace(site.layer, inputs=inputs, groups=groups)
        times = timings(layer, [outputs], known, ask)
        alike = REPEATS if layer.kind == "depthwise" else 2 * REPEATS  # to the width, and back
        total += times[outputs].fastest / alike
    return total


def timings(layer: Layer, widths: Sequence[int], known: Known, ask: Ask) -> dict[int, Timing]:
    """Width -> its time, asked for if it is not known."""
    own = known.setdefault(layer, {})
    missing = [width for width in dict.fromkeys(widths) if width not in own]
    if missing:
        own |= {timing.width: timing for timing in ask(layer, missing).timings}
    return {width: own[width] for width in widths}


@contextmanager
def _listening(model: nn.Module, found: list[Site]) -> Iterator[None]:
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.MultiheadAttention)):
            handles.append(module.register_forward_hook(partial(_heard, name, found)))
    fused = torch.backends.mha.get_fastpath_enabled()
    # the fused encoder layer would run without calling its parts
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for handle in handles:
            handle.remove()


def _heard(name: str, found: list[Site], module: nn.Module, given: tuple[Tensor, ...], answer: object) -> None:
    """Note the places of a layer that has just run; a hook of torch."""
    prefix = f"{name}." if name else ""
    if isinstance(module, nn.Conv2d) and isinstance(answer, Tensor):
        layer = _convolution(module, answer)
        if layer is not None:
            found.append(Site(weight=f"{prefix}weight", layer=layer, width=module.out_channels))
    elif isinstance(module, nn.Linear):
        found.append(_linear(f"{prefix}weight", module.weight, given[0].numel() // given[0].shape[-1]))
    elif isinstance(module, nn.MultiheadAttention) and given:
        rows = given[0].numel() // given[0].shape[-1]
        if module.in_proj_weight is not None:
            found.append(_linear(f"{prefix}in_proj_weight", module.in_proj_weight, rows))
        found.append(_linear(f"{prefix}out_proj.weight", module.out_proj.weight, rows))


def _convolution(module: nn.Conv2d, answer: Tensor) -> Layer | None:
    kernel, inputs = module.kernel_size, module.in_channels
    if kernel[0] != kernel[1] or kernel[0] % 2 == 0:
        return None
    alone = 1 < module.groups == inputs == module.out_channels
    kind: Kind = "depthwise" if alone else "conv2d"
    # the stride is in the size already: what a convolution costs is a matter of the positions that it makes
    return Layer(
        kind=kind,
        inputs=THIN if alone else inputs,
        kernel=int(kernel[0]),
        groups=1 if alone else module.groups,
        size=(int(answer.shape[-2]), int(answer.shape[-1])),
        batch=len(answer),
    )


def _linear(weight: str, value: Tensor, rows: int) -> Site:
    return Site(
        weight=weight, layer=Layer(kind="linear", inputs=value.shape[1], kernel=1, batch=rows), width=len(value)
    )
