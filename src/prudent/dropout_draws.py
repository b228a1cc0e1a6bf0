"""Drawing samples under dropout: of layers, of two halves of a graph, or by passes of the whole network."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from prudent.dropout_graph import Halves
from prudent.dropout_sources import drops
from prudent.errors import BadInput
from prudent.functional_dropout import APART
from prudent.network import logits_of, run

ROWS = 8192
"""Most examples x samples in one batch under dropout."""

MEMORY = 2**28
"""About so many bytes may the tensors of such a batch take."""

Sampler = Callable[[Tensor, int], Tensor]
"""(inputs (n, ...), samples) -> logits (samples, n, classes)."""


def sample_parts(parts: Sequence[nn.Module], inputs: Tensor, samples: int) -> Tensor:
    """Samples (samples, n, classes) of layers that run in order: those before the first dropout run once."""
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
    with _dropping([part for part in parts if drops(part)]):
        for many in _portions(samples, _most(size, max(widest, crossing.numel() * crossing.element_size() // size))):
            rows = crossing.repeat(many, *[1] * (crossing.ndim - 1))
            for part in parts[first:]:
                rows = run(part, rows)
            answers.append(rows.reshape(many, size, -1))
    return torch.cat(answers)


def sample_halves(halves: Halves, inputs: Tensor, samples: int) -> Tensor:
    """Samples (samples, n, classes) of a graph in two halves: the first runs once."""
    if len(inputs) == 1:  # a graph may take a batch of one for a constant
        return sample_halves(halves, torch.cat([inputs, inputs]), samples)[:, :1]
    size, answers = len(inputs), []
    crossing = halves.before(inputs)
    for many in _portions(samples, _most(size, halves.widest)):
        answer = halves.answer(halves.repeated(crossing, many), rows=many * size, active=True)
        answers.append(answer.reshape(many, size, -1))
    return torch.cat(answers)


def sample_passes(model: nn.Module, modules: Collection[nn.Module], inputs: Tensor, samples: int) -> Tensor:
    """Samples (samples, n, classes) by passes of the whole network, with these modules of it in training mode."""
    with _dropping(modules):
        return torch.stack([logits_of(model, inputs.clone()) for _ in range(samples)])


def check_halves(model: nn.Module, halves: Halves, inputs: Tensor) -> None:
    """Without dropout the halves say what the network says; and to each example whatever stands beside it.

    Raises:
        BadInput: they do not.
    """
    expected = logits_of(model, inputs).detach()
    size, middle = len(inputs), len(inputs) // 2
    found = []
    try:
        crossing = halves.before(inputs)
        for start, stop in ((0, middle), (middle, size)):
            some = [_rows(t, axis, start, stop, of=size) for t, axis in zip(crossing, halves.axes, strict=True)]
            answer = halves.answer(halves.repeated(some, 2), rows=2 * (stop - start), active=False)
            found.append(answer.reshape(2, stop - start, -1))
        both = torch.cat(found, dim=1).detach()
    except Exception as error:
        raise BadInput("its graph does not run on a batch of another size") from error
    if both.shape != (2, *expected.shape):
        raise BadInput("its graph does not answer one row for each example")
    if not bool((both - expected).abs().max() <= APART * expected.abs().max()):
        raise BadInput("its graph says something else than the network, or to an example what depends on the others")


def _rows(tensor: Tensor, axis: int | None, start: int, stop: int, *, of: int) -> Tensor:
    """What belongs to examples `start` to `stop` of so many."""
    if axis is None:
        return tensor
    each = tensor.shape[axis] // of
    return tensor.narrow(axis, start * each, (stop - start) * each)


@contextmanager
def _dropping(modules: Collection[nn.Module]) -> Iterator[None]:
    """These modules in training mode, everything else as it is."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # a fused encoder layer asks none of its dropouts
    for module in modules:
        module.training = True
    try:
        yield
    finally:
        for module in modules:
            module.training = False
        torch.backends.mha.set_fastpath_enabled(fused)


def _most(size: int, widest: int) -> int:
    """How many samples of `size` examples go into one batch; a handful of its tensors exist at a time."""
    return max(1, min(ROWS, MEMORY // (4 * max(1, widest))) // size)


def _portions(total: int, largest: int) -> Iterator[int]:
    while total > 0:
        yield min(total, largest)
        total -= largest
