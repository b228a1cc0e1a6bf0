"""Monte-Carlo dropout: many samples for little more than the price of one, and dropout for networks without any."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from prudent.copying import duplicate
from prudent.dropout_draws import Sampler, check_halves, sample_halves, sample_parts, sample_passes
from prudent.dropout_graph import halve
from prudent.dropout_sources import drops
from prudent.dropout_traces import Trace, forget, keep, recalled
from prudent.errors import BadInput, UnknownName
from prudent.functional_dropout import Dropouts, find_dropouts
from prudent.heads import head_of
from prudent.network import is_sequence

PLAIN = (
    "linear", "conv", "batchnorm", "activation", "pooling", "padding", "dropout", "normalization", "upsampling",
)  # fmt: skip
"""Files of torch.nn whose modules treat each example by itself and draw no random numbers, bar dropout."""

ACROSS = (nn.MultiheadAttention, nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.RReLU)
"""Modules in them that may not."""


@dataclass(frozen=True, eq=False)
class Sampling:
    """How a network is sampled under dropout.

    Args:
        draw: draws the samples.
        note: why it runs the whole network for each sample; "" if it does not.
        certain: whether a dropout is known to be on the way to the output. Samples may be the same even then: of a
            network that is left nothing.
        silent: names of modules with functional dropout that stays off.
    """

    draw: Sampler
    note: str = ""
    certain: bool = True
    silent: tuple[str, ...] = ()


def sampler(model: nn.Module, inputs: Tensor, *, rate: float | None = None) -> Sampling:
    """How to sample a network under dropout: as cheaply as its structure allows, in the same distribution.

    What comes before the first active dropout is computed once for each example, and the rest sees all samples as one
    large batch, in blocks of bounded memory. Every sample of every example has masks of its own. The cut is found from
    the layers of a plain network, else from its graph (torch.export), and is tried on the inputs: both halves must
    say what the network says, and to an example the same whatever stands beside it. A graph is kept for the next call,
    and made anew once anything about the network has changed.

    Args:
        model: in evaluation mode. Active are its dropouts of torch with a rate above 0, also inside of attention and
            recurrent layers, and functional dropout where it can be switched on alone (see `find_dropouts`).
        inputs: (n, ...), a batch like those that will come.
        rate: of a dropout that is put before the head, for a network without any.

    Raises:
        BadInput: no dropout that could be switched on, or a rate for a network that has some.
    """
    known = _recalled(model, inputs, rate)
    if known is not None:
        return Sampling(partial(sample_halves, known.halves), silent=known.silent)
    dropouts = find_dropouts(model, inputs)
    check_present(model, dropouts, rate)
    parts = _plain_parts(model)
    if parts is not None:
        if rate is not None:
            parts = _with_part(parts, head_of(model, inputs)[1], nn.Dropout(rate).eval())
        return Sampling(partial(sample_parts, parts))
    sampled = model
    if rate is not None:
        # the very tensors of the network, so that a trace follows them
        shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        sampled = _dropped(model, rate, example=inputs, instead=shared)
        dropouts = Dropouts(tuple(m for m in sampled.modules() if drops(m)), silent=dropouts.silent)
    passes = partial(sample_passes, sampled, dropouts.switched)
    try:
        halves = halve(sampled, _several(inputs), functional=dropouts.functional)
        if halves is None:  # whoever compares the samples will find it
            return Sampling(passes, certain=False, silent=dropouts.silent)
        check_halves(sampled, halves, _several(inputs))
    except BadInput as error:
        return Sampling(passes, str(error), certain=False, silent=dropouts.silent)
    keep(model, inputs, halves, rate=rate, silent=dropouts.silent)
    return Sampling(partial(sample_halves, halves), silent=dropouts.silent)


def check_present(model: nn.Module, dropouts: Dropouts, rate: float | None) -> None:
    """Refuse a network without dropout to be sampled as it is, and one with dropout to be given more.

    Raises:
        BadInput: says which of the two.
    """
    if rate is not None and dropouts.switched:
        raise BadInput(f"{type(model).__name__} has dropout already: leave mc_dropout out")
    if rate is None and not dropouts.switched:
        lost = f"; functional dropout of {_listed(dropouts.silent)} cannot be switched on alone" * bool(dropouts.silent)
        raise BadInput(
            f"{type(model).__name__} has no dropout module with a rate above 0, nor functional dropout that training "
            f"mode switches on{lost}: leave mc_samples out, use an architecture with dropout, or put one before the "
            "head with mc_dropout=..."
        )


def announce(sampling: Sampling) -> None:
    """Say as warnings that samples cost more than they should, or that some dropout stays off."""
    if sampling.note:
        told = f"dropout samples take a whole pass of the network each: {sampling.note}"
        warnings.warn(told, UserWarning, stacklevel=3)
    if sampling.silent:
        told = (
            f"functional dropout of {len(sampling.silent)} module(s) stays off, since their training mode does more "
            f"than to drop: {_listed(sampling.silent)}; call nn.Dropout modules there to have it sampled"
        )
        warnings.warn(told, UserWarning, stacklevel=3)


def with_dropout(model: nn.Module, *, rate: float, example: Tensor, layer: str | None = None) -> nn.Module:
    """A copy of the network with dropout before its head, so that one without any can be sampled.

        logits = W (x * m / (1 - rate)) + b,    m ~ Bernoulli(1 - rate) for each feature

    Parameters keep their names and values, so that masks, scores and saved numbers still fit; answers in evaluation
    mode are the same. The network was not trained under this dropout: what its samples say is a choice of `rate`, to
    be made on validation examples.

    Args:
        model: not changed.
        rate: chance that a feature is dropped, in (0, 1).
        example: inputs (n, ...), to find the linear layer that answers the logits.
        layer: the name of a linear layer, in place of that one.

    Raises:
        BadInput: a rate outside (0, 1); the answer is not that of one linear layer, and none is named.
        UnknownName: no linear layer of that name.
    """
    return _dropped(model, rate, example=example, layer=layer)


def _dropped(
    model: nn.Module,
    rate: float,
    *,
    example: Tensor,
    layer: str | None = None,
    instead: Mapping[int, Tensor] | None = None,
) -> nn.Module:
    check_rate(rate)
    copied = duplicate(model, instead=instead)
    if isinstance(copied, fx.GraphModule):
        _insert(copied, rate)
        return copied
    linears = {name: module for name, module in copied.named_modules() if type(module) is nn.Linear}
    if layer is not None and layer not in linears:
        raise UnknownName.of("linear layer", layer, linears)
    head = linears[layer] if layer is not None else head_of(copied, example)[1]
    dropped = _DroppedLinear(head, rate)
    if copied is head:
        return dropped
    for module in copied.modules():
        for key, child in module._modules.items():
            if child is head:
                module._modules[key] = dropped
    return copied


class _DroppedLinear(nn.Linear):
    """A linear layer that drops its inputs; its parameters have the names that they had."""

    def __init__(self, layer: nn.Linear, rate: float) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight, self.bias = layer.weight, layer.bias
        self.dropout = nn.Dropout(rate)
        self.train(layer.training)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name that torch gives it)
        return super().forward(self.dropout(input))


def check_rate(rate: object) -> None:
    """Refuse what is no rate of a dropout.

    Raises:
        BadInput: it does not lie between 0 and 1.
    """
    if not isinstance(rate, (int, float)) or not 0 < rate < 1:
        raise BadInput(f"a dropout rate lies between 0 and 1; got {rate!r}")


def _insert(graph: fx.GraphModule, rate: float) -> None:
    """Dropout before the last linear operation of a network that is a graph."""
    linear = [n for n in graph.graph.nodes if str(getattr(n.target, "overloadpacket", "")) == "aten.linear"]
    if not linear:
        raise BadInput("dropout goes before a linear layer, and this graph has none")
    graph.add_submodule("dropout_before_head", nn.Dropout(rate).train(graph.training))
    with graph.graph.inserting_before(linear[-1]):
        linear[-1].update_arg(0, graph.graph.call_module("dropout_before_head", (linear[-1].args[0],)))
    graph.recompile()


def _plain_parts(model: nn.Module) -> list[nn.Module] | None:
    """The layers of a network that runs them in order and treats each example by itself; None for any other."""
    if not is_sequence(model):
        return [model] if _by_example(model) else None
    parts: list[nn.Module] = []
    # not children(), which leaves out a module that occurs again
    for part in model._modules.values():
        inside = _plain_parts(part) if part is not None else []
        if inside is None:
            return None
        parts += inside
    return parts


def _by_example(module: nn.Module) -> bool:
    folder, _, file = type(module).__module__.rpartition(".")
    plain = folder == "torch.nn.modules" and file in PLAIN and not isinstance(module, ACROSS)
    flat = type(module) is nn.Flatten and module.start_dim == 1
    changed = bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))
    # without moments of its own it takes those of the batch, in evaluation mode too
    across = isinstance(module, _BatchNorm) and module.running_mean is None
    return (plain or flat or type(module) is nn.Identity) and not changed and not across


def _with_part(parts: Sequence[nn.Module], head: nn.Module, before: nn.Module) -> list[nn.Module]:
    return [one for part in parts for one in ((before, part) if part is head else (part,))]


def _recalled(model: nn.Module, inputs: Tensor, rate: float | None) -> Trace | None:
    """What was kept of the network, tried on these inputs."""
    known = recalled(model, inputs, rate=rate)
    if known is None:
        return None
    try:
        check_halves(model, known.halves, _several(inputs))
    except BadInput:
        forget(model)
        return None
    return known


def _several(inputs: Tensor) -> Tensor:
    """At least two examples: a graph may take a batch of one for a constant."""
    return torch.cat([inputs, (inputs / 2).to(inputs.dtype)]) if len(inputs) == 1 else inputs


def _listed(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + f" and {len(names) - most} more" * (len(names) > most)
