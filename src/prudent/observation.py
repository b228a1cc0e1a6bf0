"""What the layers of a network see: forward passes on data, with nothing left behind in the network."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from prudent.batches import Batch
from prudent.errors import BadInput
from prudent.network import evaluating, seeded

See = Callable[[str, Tensor, Tensor], None]
"""Called with (name of the layer, its input, its output) each time the layer runs."""


def observe(model: nn.Module, batches: Iterable[Batch], layers: Mapping[str, nn.Module], see: See) -> int:
    """Run the network once over `batches` in evaluation mode and without gradients, showing what `layers` see.

    Args:
        model: not changed: nor its modes or hooks.
        batches: inputs, with labels or without; moved to the device of the network.
        layers: name -> a module inside of `model`.
        see: called in the order in which the layers run. Sums belong into its own state; nothing is stored here.

    Returns: how many examples were seen.

    Raises:
        BadInput: no examples.
    """
    handles = [
        module.register_forward_hook(lambda _, inputs, output, name=name: see(name, inputs[0], output))
        for name, module in layers.items()
    ]
    seen = 0
    try:
        with torch.no_grad(), evaluating(model):
            for inputs in unlabelled(batches, model):
                model(inputs)
                seen += len(inputs)
    finally:
        for handle in handles:
            handle.remove()
    if seen == 0:
        raise BadInput("data are needed; the batches were empty")
    return seen


def unlabelled(batches: Iterable[Batch], model: nn.Module) -> Iterator[Tensor]:
    """The inputs of each batch on the device of the network."""
    device = device_of(model)
    for batch in quiet(batches):
        inputs = batch if isinstance(batch, Tensor) else batch[0]
        yield inputs.to(device)


def labelled(
    batches: Iterable[Batch], model: nn.Module, *, score: str, seed: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and labels of each batch on the device of the network.

    Args:
        batches: read once.
        model: says which device.
        score: who asks, for messages.
        seed: of the order, for batches that draw one (see `quiet`).

    Raises:
        BadInput: a batch without labels, or no batch at all.
    """
    device, empty = device_of(model), True
    for batch in quiet(batches, seed=seed):
        if isinstance(batch, Tensor):
            raise BadInput(f"score {score!r} needs labels: batches of (inputs, labels); got inputs alone")
        empty = False
        yield batch[0].to(device), batch[1].to(device)
    if empty:
        raise BadInput(f"score {score!r} needs data; the batches were empty")


def quiet(batches: Iterable[Batch], *, seed: int = 0) -> Iterator[Batch]:
    """The batches, without moving the global random generator of the caller.

    A DataLoader draws from it when it is asked for an iterator, and again to shuffle and augment. Here it draws from a
    generator of its own, so that it gives the same batches for the same seed.
    """
    if not isinstance(batches, DataLoader):
        yield from batches
        return
    with seeded(seed):
        iterator, inside = iter(batches), torch.get_rng_state()
    while True:
        outside = torch.get_rng_state()
        torch.set_rng_state(inside)
        try:
            batch = next(iterator)
        except StopIteration:
            return
        finally:
            inside = torch.get_rng_state()
            torch.set_rng_state(outside)
        yield batch


def needed(batches: Iterable[Batch] | None, *, score: str) -> Iterable[Batch]:
    """The batches, or a refusal that says whose data is missing.

    Raises:
        BadInput: `batches` is None.
    """
    if batches is None:
        raise BadInput(f"score {score!r} needs data: pass batches=..., of the train or validation split")
    return batches


def device_of(model: nn.Module) -> torch.device:
    """Where the network is."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))
