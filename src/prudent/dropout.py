"""Monte-Carlo dropout: many samples for little more than the price of one, and dropout for networks without any."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.dropout import _DropoutNd

from prudent.copying import duplicate
from prudent.dropout_graph import Halves, drops, halve
from prudent.dropout_traces import forget, keep, recalled
from prudent.errors import BadInput, UnknownName
from prudent.heads import head_of
from prudent.network import is_sequence, logits_of, run

ROWS = 8192
"""Most examples x samples in one batch under dropout."""

MEMORY = 2**28
"""About so many bytes may the tensors of such a batch take."""

APART = 1e-3
"""How far, of the largest logit, two computations of the same numbers may lie apart."""

PLAIN = (
    "linear", "conv", "batchnorm", "activation", "pooling", "padding", "dropout", "normalization", "upsampling",
)  # fmt: skip
"""Files of torch.nn whose modules treat each example by itself and draw no random numbers, bar dropout."""

ACROSS = (nn.MultiheadAttention, nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.RReLU)
"""Modules in them that may not."""

Sampler = Callable[[Tensor, int], Tensor]
"""(inputs (n, ...), samples) -> logits (samples, n, classes)."""


def sampler(model: nn.Module, inputs: Tensor) -> tuple[Sampler, str, bool]:
    """How to sample a network under dropout: as cheaply as its structure allows, in the same distribution.

    What comes before the first active dropout is computed once for each example, and the rest sees all samples as one
    large batch, in blocks of bounded memory. Every sample of every example has masks of its own. The cut is found from
    the layers of a plain network, else from its graph (torch.export), and is tried on the inputs: both halves must
    say what the network says, and to an example the same whatever stands beside it. A graph is kept for the next call,
    and made anew once anything about the network has changed.

    Args:
        model: in evaluation mode; its active dropouts are its modules of torch with a rate above 0.
        inputs: (n, ...), a batch like those that will come.

    Returns: the sampler; why it runs the whole network for each sample, "" if it does not; and whether it is certain
    that a dropout is on the way to the output. Samples may be the same even then: of a network that is left nothing.
    """
    parts = _plain_parts(model)
    if parts is not None:
        return partial(_sample_parts, model, parts), "", True
    try:
        halves = _traced(model, torch.cat([inputs, (inputs / 2).to(inputs.dtype)]) if len(inputs) == 1 else inputs)
    except BadInput as error:
        return partial(_sample_passes, model), str(error), False
    if halves is None:  # whoever compares the samples will find it
        return partial(_sample_passes, model), "", False
    return partial(_sample_halves, halves), "", True


def announce(note: str) -> None:
    """Say that samples cost more than they should, as a warning."""
    if note:
        warnings.warn(f"dropout samples take a whole pass of the network each: {note}", UserWarning, stacklevel=3)


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
    if not isinstance(rate, (int, float)) or not 0 < rate < 1:
        raise BadInput(f"a dropout rate lies between 0 and 1; got {rate!r}")
    copied = duplicate(model)
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
    hooked = bool(module._forward_hooks or module._forward_pre_hooks)
    return (plain or flat or type(module) is nn.Identity) and not hooked


def _traced(model: nn.Module, inputs: Tensor) -> Halves | None:
    """The network's halves, tried on these inputs: those of the last time if nothing has changed, or else new ones."""
    known = recalled(model, inputs)
    if known is not None:
        try:
            _check_halves(model, known, inputs)
        except BadInput:
            forget(model)
        else:
            return known
    halves = halve(model, inputs)
    if halves is not None:
        _check_halves(model, halves, inputs)
        keep(model, inputs, halves)
    return halves


def _sample_parts(model: nn.Module, parts: Sequence[nn.Module], inputs: Tensor, samples: int) -> Tensor:
    first = next(i for i, part in enumerate(parts) if drops(part))
    size, widest = len(inputs), 0
    for part in parts[:first]:
        inputs = run(part, inputs)
    crossing = inputs
    inputs = crossing.clone()  # what follows may write over it
    for part in parts[first:]:  # without dropout, to know how large it gets
        inputs = logits_of(part, inputs, rows=size) if part is parts[-1] else run(part, inputs)
        widest = max(widest, inputs.numel() * inputs.element_size() // size)
    answers = []
    with _dropping(model):
        for many in _portions(samples, _most(size, max(widest, crossing.numel() * crossing.element_size() // size))):
            rows = crossing.repeat(many, *[1] * (crossing.ndim - 1))
            for part in parts[first:]:
                rows = run(part, rows)
            answers.append(rows.reshape(many, size, -1))
    return torch.cat(answers)


def _sample_halves(halves: Halves, inputs: Tensor, samples: int) -> Tensor:
    if len(inputs) == 1:  # a graph may take a batch of one for a constant
        return _sample_halves(halves, torch.cat([inputs, inputs]), samples)[:, :1]
    size, answers = len(inputs), []
    crossing = halves.before(inputs)
    for many in _portions(samples, _most(size, halves.widest)):
        answer = halves.answer(halves.repeated(crossing, many), rows=many * size, active=True)
        answers.append(answer.reshape(many, size, -1))
    return torch.cat(answers)


def _sample_passes(model: nn.Module, inputs: Tensor, samples: int) -> Tensor:
    with _dropping(model):
        return torch.stack([logits_of(model, inputs.clone()) for _ in range(samples)])


def _check_halves(model: nn.Module, halves: Halves, inputs: Tensor) -> None:
    """Without dropout the halves say what the network says; and to each example whatever stands beside it."""
    expected = logits_of(model, inputs).detach()
    size, middle = len(inputs), len(inputs) // 2
    found = []
    try:
        crossing = halves.before(inputs)
        for start, stop in ((0, middle), (middle, size)):
            some = [
                t if axis is None else t.narrow(axis, start, stop - start)
                for t, axis in zip(crossing, halves.axes, strict=True)
            ]
            answer = halves.answer(halves.repeated(some, 2), rows=2 * (stop - start), active=False)
            found.append(answer.reshape(2, stop - start, -1))
        both = torch.cat(found, dim=1).detach()
    except Exception as error:
        raise BadInput("its graph does not run on a batch of another size") from error
    if both.shape != (2, *expected.shape):
        raise BadInput("its graph does not answer one row for each example")
    if not bool((both - expected).abs().max() <= APART * expected.abs().max()):
        raise BadInput("its graph says something else than the network, or to an example what depends on the others")


@contextmanager
def _dropping(model: nn.Module) -> Iterator[None]:
    """Dropout modules in training mode, everything else as it is."""
    modules = [module for module in model.modules() if isinstance(module, _DropoutNd)]
    for module in modules:
        module.train()
    try:
        yield
    finally:
        for module in modules:
            module.eval()


def _most(size: int, widest: int) -> int:
    """How many samples of `size` examples go into one batch; a handful of its tensors exist at a time."""
    return max(1, min(ROWS, MEMORY // (4 * max(1, widest))) // size)


def _portions(total: int, largest: int) -> Iterator[int]:
    while total > 0:
        yield min(total, largest)
        total -= largest
