"""Examples as training sees them: each epoch in an order of its own, corrupted and relabelled if that is asked for."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from prudent.batches import Batch, Batches
from prudent.corrupting import SEVERITIES, check_images, check_mix, corrupt_some
from prudent.errors import BadInput
from prudent.label_noise import check_share, relabelled
from prudent.seeds import stream

AT_ONCE = 1024
"""Examples that are corrupted together: a batch alone has too few of each corruption to be fast."""


def corrupted(
    batches: Batches, names: Sequence[str], *, severities: Sequence[int] = SEVERITIES, seed: int = 0, epoch: int = 0
) -> Iterator[Batch]:
    """One epoch of batches in which each image is clean or under one of several corruptions.

    An image is clean with the same chance as each corruption has, 1 / (1 + number of names). What it becomes follows
    from seed, epoch and its place among the examples: not from the size of the batches, nor from the other images. The
    order of the examples is that of `Batches.shuffled`.

    Args:
        batches: images (n, c, h, w) in [0, 1], 1 or 3 channels. Not changed.
        names: of the corruptions; one that is named twice is twice as likely.
        severities: which of 1 to 5, equally likely.
        seed: of the order and of all that is random.
        epoch: another one draws anew.

    Returns: an iterator over (inputs, labels), or inputs if unlabelled.

    Raises:
        UnknownName: no such corruption.
        BadInput: no name, no such severity, inputs that are no images in [0, 1].

    Source: Liebenwein et al. 2021, "Lost in Pruning", arXiv:2103.03014, section 6; its mix is `corrupting.MIX`.
    """
    own = stream(f"corruptions of epoch {epoch}", seed)
    rows = batches.size * max(1, AT_ONCE // batches.size)
    for block in torch.split(batches.order(seed=seed, epoch=epoch), rows):
        inputs = corrupt_some(batches.inputs[block], names, severities=severities, seed=own, ids=block)
        labels = None if batches.labels is None else batches.labels[block]
        yield from Batches(inputs=inputs, labels=labels, size=batches.size)


def epochs_of(
    batches: Iterable[Batch],
    *,
    corruptions: Sequence[str] = (),
    severities: Sequence[int] = SEVERITIES,
    label_noise: float = 0.0,
    seed: int = 0,
) -> Callable[[int], Iterable[Batch]]:
    """The batches of each epoch of a training.

    Args:
        batches: as `train` takes them: Batches are shuffled anew in each epoch, any other iterable has its own order.
        corruptions, severities: as for `corrupted`; no corruptions for images as they are.
        label_noise: share of the examples with another class than their own, the same ones in every epoch.
        seed: of all that is random.

    Returns: a function of the epoch's index, from 0.

    Raises:
        UnknownName: no such corruption.
        BadInput: what `corrupted` and `relabelled` refuse; corruptions or label noise for anything but Batches.
    """
    check_share(label_noise)
    if corruptions:
        check_mix(corruptions, severities)
    if not isinstance(batches, Batches):
        if corruptions or label_noise:
            raise BadInput(
                "corruptions and label noise belong to examples that are in memory: pass prudent.batches.Batches; got "
                f"{type(batches).__name__}"
            )
        return lambda _: batches
    given = batches
    if corruptions:
        check_images(given.inputs)
    if label_noise:
        given = dataclasses.replace(given, labels=relabelled(_labels(given), share=label_noise, seed=seed))
    if corruptions:
        return lambda epoch: corrupted(given, corruptions, severities=severities, seed=seed, epoch=epoch)
    return lambda epoch: given.shuffled(seed=seed, epoch=epoch)


def _labels(batches: Batches) -> Tensor:
    if batches.labels is None:
        raise BadInput("label noise needs labels: batches of (inputs, labels)")
    return batches.labels
