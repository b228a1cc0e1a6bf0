"""Greedy oracle: what removing each channel really costs, found by trying."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from prudent.assessment import check_labels
from prudent.batches import Batch
from prudent.copying import duplicate
from prudent.errors import BadInput
from prudent.granularities import removed_elements, zero
from prudent.masks import Mask
from prudent.network import Scores, evaluating, prunable
from prudent.observation import device_of, labelled, needed
from prudent.surgery.chain import Link, links
from prudent.surgery.layouts import Layout

NEEDS = ("data", "labels")
UNIT = "channel"

ROWS = 8192
"""Most candidates x examples in one forward pass."""


def oracle(
    model: nn.Module,
    batches: Iterable[Batch] | None = None,
    *,
    examples: int | None = None,
    passes: int = 100_000,
    layout: Layout | None = None,
) -> Scores:
    """Order in which channels go if always that one is removed whose removal leaves the lowest loss.

        removed(0) = {}
        c(k)       = argmin over the channels c left of loss(network without removed(k) and c)
        score(c(k)) = k

    loss is the mean cross-entropy over the examples, weights as they are and in evaluation mode. Of equal losses the
    first channel goes. Greedy: the best single channel each time, not the best set. U channels on B batches take
    (U (U + 1) / 2 - 1) B forward passes, each with one more channel removed; that number is worked out first and
    refused above the limit. (In a plain network candidates of a layer share the layers before them, so that they really
    take less.) In a traced network a channel is removed as its mask removes it: with all layers that make it.

    Args:
        model: a plain network, or one that was traced. Not changed.
        batches: inputs and labels, of the train or validation split; read once and kept in memory.
        examples: at most so many of them are used, at least 1, evenly spread over all that come (the k-th is number
            floor(k n / examples) of n), so that every class of sorted data is among them; None for all.
        passes: the most forward passes that may be spent, one for each candidate and batch.
        layout: the units of a traced network (see prudent.granularities.layout_for); `prune` fills it in. None for
            networks that are plain.

    Returns: one float64 tensor (channels,) for each layer whose channels can be removed, or of the shape of the
    layout's units: place in the order of removal over all layers, 0 first, without unit; higher = keep.

    Raises:
        BadInput: no data, no labels, `examples` below 1, more forward passes than `passes`, a loss that is not finite.
        CannotPrune: nothing to prune, or a network that is neither plain nor traced.

    Source: Tan, Motani 2020, "DropNet", arXiv:2207.06646, the oracle that it is compared with.
    """
    _check_examples(examples)
    prunable(model)
    chain = links(model) if layout is None else []
    data = list(labelled(needed(batches, score="oracle"), model, score="oracle"))
    if examples is not None:
        data = _spread(data, examples)
    if layout is not None:
        return _of_traced(model, data, layout, passes)
    _check_cost(sum(link.channels for link in chain), len(data), passes)
    keep = {link.weight: torch.ones(1, link.channels, dtype=torch.bool, device=device_of(model)) for link in chain}
    owner = [(link.weight, channel) for link in chain for channel in range(link.channels)]
    last = len(owner) - 1  # the place of the one that is left
    scores = {name: torch.full_like(kept[0], last, dtype=torch.float64) for name, kept in keep.items()}
    with torch.no_grad(), evaluating(model), _silencing(model, chain, keep):
        for place in range(last):
            losses = torch.cat([_losses(model, link, data, keep) for link in chain]).cpu().numpy()
            # NumPy's argmin is the first of equal ones, torch's may be any
            name, channel = owner[int(np.argmin(losses))]
            scores[name][channel] = place
            keep[name][0, channel] = False
    return scores


def _check_examples(examples: int | None) -> None:
    if examples is not None and (not isinstance(examples, int) or isinstance(examples, bool) or examples < 1):
        raise BadInput(f"score 'oracle' needs examples, a whole number of 1 or more, or none for all; got {examples!r}")


def _spread(data: Sequence[tuple[Tensor, Tensor]], examples: int) -> list[tuple[Tensor, Tensor]]:
    """So many examples at even steps, in batches as large as the first one."""
    inputs, labels = (torch.cat([batch[part] for batch in data]) for part in (0, 1))
    size, n = len(data[0][0]), len(inputs)
    few = min(examples, n)
    at = torch.arange(few, device=inputs.device) * n // few
    return list(zip(torch.split(inputs[at], size), torch.split(labels[at], size), strict=True))


def _of_traced(model: nn.Module, data: Sequence[tuple[Tensor, Tensor]], layout: Layout, passes: int) -> Scores:
    kept = {entry.name: torch.ones(entry.families.shape, dtype=torch.bool) for entry in layout.entries}
    cover = layout.cover_of(kept)
    owner = [(name, unit) for name, units in kept.items() for unit in range(units.numel())]
    _check_cost(len(owner), len(data), passes)
    last = len(owner) - 1  # the place of the one that is left
    scores = {name: torch.full(units.shape, last, dtype=torch.float64) for name, units in kept.items()}
    tried = duplicate(model)
    with torch.no_grad(), evaluating(tried):
        for place in range(last):
            losses = np.full(len(owner), np.inf)
            for at, (name, unit) in enumerate(owner):
                if kept[name].view(-1)[unit]:
                    kept[name].view(-1)[unit] = False
                    mask = Mask(kept={n: k.clone() for n, k in kept.items()}, granularity="channel", cover=cover)
                    losses[at] = _loss_under(model, tried, mask, data)
                    kept[name].view(-1)[unit] = True
            name, unit = owner[int(np.argmin(losses))]
            scores[name].view(-1)[unit] = place
            kept[name].view(-1)[unit] = False
    return scores


def _loss_under(model: nn.Module, tried: nn.Module, mask: Mask, data: Sequence[tuple[Tensor, Tensor]]) -> float:
    """The loss of the network under a mask, summed over the examples; `tried` is a copy of it to try it on."""
    removed = removed_elements(tried, mask)
    zero(tried, removed)
    loss = 0.0
    for inputs, labels in data:
        logits = tried(inputs)
        check_labels(labels, logits)
        loss += float(cross_entropy(logits.double(), labels, reduction="sum"))
    for name in removed:
        tried.get_parameter(name).copy_(model.get_parameter(name))
    if not np.isfinite(loss):
        raise BadInput("score 'oracle' needs finite losses: look for NaN in the weights and the inputs")
    return loss


def _check_cost(channels: int, batches: int, passes: int) -> None:
    cost = (channels * (channels + 1) // 2 - 1) * batches
    if cost > passes:
        raise BadInput(
            f"score 'oracle' takes {cost:,} forward passes for {channels} channels on {batches} batches; the limit is "
            f"passes={passes:,}: take fewer examples, or raise the limit"
        )


@contextmanager
def _silencing(model: nn.Module, chain: Sequence[Link], keep: Mapping[str, Tensor]) -> Iterator[None]:
    """Let each layer read zeros from the channels that `keep` says are gone.

    Of (candidates, channels) in `keep` each row is another network: from there on the batch is that many times as long.
    """

    def silence(link: Link, reader: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        kept, answer = keep[link.weight].repeat_interleave(link.block, dim=1), inputs[0]
        middle, after = (answer.ndim - 1, 0) if isinstance(reader, nn.Linear) else (1, answer.ndim - 2)
        kept = kept.reshape(len(kept), *[1] * middle, -1, *[1] * after)
        return torch.where(kept, answer, 0.0).flatten(0, 1)

    handles = [model.get_submodule(link.reader).register_forward_pre_hook(partial(silence, link)) for link in chain]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _losses(
    model: nn.Module, link: Link, data: Sequence[tuple[Tensor, Tensor]], keep: dict[str, Tensor]
) -> Float64[Tensor, " channels"]:
    """The loss without each channel of one layer, summed over the examples; infinite for those that are gone."""
    left = keep[link.weight]
    candidates = left[0].nonzero()
    losses = torch.full((link.channels,), torch.inf, dtype=torch.float64, device=left.device)
    losses[candidates] = 0.0
    for inputs, labels in data if len(candidates) else ():
        for some in torch.split(candidates, max(1, ROWS // len(labels))):
            keep[link.weight] = left & (torch.arange(link.channels, device=left.device) != some)
            logits = model(inputs)
            repeated = labels.repeat(len(some))
            check_labels(repeated, logits)
            loss = cross_entropy(logits.double(), repeated, reduction="none")
            losses[some[:, 0]] += loss.reshape(len(some), -1).sum(dim=1)
    keep[link.weight] = left
    if not torch.isfinite(losses[candidates]).all():
        raise BadInput("score 'oracle' needs finite losses: look for NaN in the weights and the inputs")
    return losses
