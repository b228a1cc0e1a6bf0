"""Sensitivity: how large a share of a neuron's value one weight, or one channel, ever has on a sample of the data.

    share_ij(x) = w_ij a_j(x) / sum_k w_ik a_k(x)

over the terms of one kind: weights of one sign, activations of one sign. So every share is in [0, 1], and what removing
or sampling terms does to a neuron is bounded by their shares. Biases take no part.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from prudent.batches import Batch
from prudent.errors import BadInput
from prudent.observation import observe, unlabelled
from prudent.readings import PIECE, product_layers, read_rows
from prudent.unfolding import matrix, product

C = 3
"""The largest share in the sample, times this, exceeds the population's with high probability: what SiPP assumes."""

Over = Literal["mean", "max"]


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Sensitivities of one layer.

    Args:
        values: largest shares over the sample, in [0, 1]: float32 or float64, of the weight's shape or (channels,).
        log_term: C ln(8 (positions + 1) kernel / delta), what multiplies their sum in the bounds.
    """

    values: Tensor
    log_term: float


def weight_sensitivities(
    model: nn.Module, batches: Iterable[Batch], *, over: Over, delta: float, examples: int | None
) -> dict[str, Sensitivity]:
    """Sensitivity of every prunable weight: name of the weight -> sensitivities of its shape.

        s_ij = max over examples of (mean or max over positions) of share_ij

    Args:
        model: linear and convolution layers. Not changed.
        batches: inputs, with labels or without.
        over: what is taken over the positions of a convolution.
        delta: chance that the bounds fail, in (0, 1).
        examples: how many of the first examples to use; None for `sample_size`, or all if there are fewer.

    Raises:
        BadInput: no data, delta or examples out of range.
        CannotPrune: nothing prunable, or a transposed convolution.
    """
    layers, weight_of = product_layers(model)
    shares = _mean_shares if over == "mean" else _max_shares

    def largest(name: str, rows: Tensor, weight: Tensor) -> Tensor:
        outputs = weight.shape[1] // 2
        found = shares(rows, weight)  # (groups, 2 outputs, columns): of positive weights, then of negative ones
        both = found * weight
        return (both[:, :outputs] + both[:, outputs:]).clamp(max=1).reshape(product(layers[name]).weight.shape)

    return _sensitivities(model, batches, layers, weight_of, largest, delta, examples)


def channel_sensitivities(
    model: nn.Module,
    batches: Iterable[Batch],
    readers: Mapping[str, int | Tensor],
    *,
    delta: float,
    examples: int | None,
) -> dict[str, Sensitivity]:
    """Sensitivity of the channels that layers read: name of the reader -> sensitivities (channels,).

        s_j = max over outputs, positions and examples of share_ij, where channel j's terms count together

    Args:
        model: not changed.
        batches: inputs, with labels or without.
        readers: name of a layer -> how many channels it reads, each at equally many inputs in a row (no groups then);
            or to which channel, from 0, each of its inputs belongs, int64 (inputs,).
        delta: chance that the bounds fail, in (0, 1).
        examples: as `weight_sensitivities`.

    Raises:
        BadInput: no data, delta or examples out of range.
    """

    def largest(name: str, rows: Tensor, weight: Tensor) -> Tensor:
        read = readers[name]
        if isinstance(read, int):
            return _channel_shares(rows.flatten(0, 2), weight[0], read)
        of_group = read.to(rows.device).reshape(len(rows), -1)
        each = [
            _channel_shares(inside, part, len(channels), channels=channels, total=int(read.max()) + 1)
            for inside, part, channels in zip(rows.flatten(1, 2), weight, of_group, strict=True)
        ]
        return torch.stack(each).amax(dim=0)

    layers = {name: model.get_submodule(name) for name in readers}
    return _sensitivities(model, batches, layers, {name: name for name in readers}, largest, delta, examples)


def sample_size(neurons: Iterable[int], *, delta: float) -> int:
    """How many examples make the sensitivities hold for all data with chance 1 - delta.

        ceil(C ln(8 eta eta* / delta)),   eta = neurons of all layers, eta* = neurons of the largest

    Source: Baykal et al. 2022, "SiPPing Neural Networks", arXiv:1910.05422, as its authors' code has it.
    """
    neurons = list(neurons)
    return math.ceil(C * math.log(8 * sum(neurons) * max(neurons) / delta))


def _sensitivities(
    model: nn.Module,
    batches: Iterable[Batch],
    layers: Mapping[str, nn.Module],
    key: Mapping[str, str],
    largest: Callable[[str, Tensor, Tensor], Tensor],
    delta: float,
    examples: int | None,
) -> dict[str, Sensitivity]:
    if not 0 < delta < 1:
        raise BadInput(f"delta is in (0, 1); got {delta}")
    if examples is not None and examples < 1:
        raise BadInput(f"at least one example is needed; got examples={examples}")
    values: dict[str, Tensor] = {}
    positions: dict[str, int] = {}
    # in float32 at least, weights of each sign as positive numbers, stacked: (groups, 2 outputs, columns)
    signed = {}
    for name, layer in layers.items():
        weight = matrix(layer)
        weight = weight.to(torch.promote_types(weight.dtype, torch.float32))
        signed[name] = torch.cat([weight.clamp_min(0), (-weight).clamp_min(0)], dim=1)

    def see(name: str, rows: Tensor) -> None:
        rows = rows.to(signed[name].dtype)
        positions[name] = rows.shape[2]
        for part in (rows.clamp_min(0), (-rows).clamp_min(0)) if (rows < 0).any() else (rows,):
            found = largest(name, part, signed[name])
            at = key[name]
            values[at] = found if at not in values else torch.maximum(values[at], found)

    read_rows(model, _sample(model, batches, delta, examples), layers, see)
    log_terms: dict[str, float] = {}
    for name, layer in layers.items():
        kernel = math.prod(product(layer).weight.shape[2:])
        term = C * math.log(8 * (positions.get(name, 1) + 1) * kernel / delta)
        log_terms[key[name]] = max(term, log_terms.get(key[name], 0.0))
    unread = [name for name in layers if key[name] not in values]
    if unread:
        raise BadInput(
            f"layer {unread[0]!r} did not run on the data, so nothing is known of it: remove it from the network first"
        )
    return {at: Sensitivity(values[at], term) for at, term in log_terms.items()}


def _sample(model: nn.Module, batches: Iterable[Batch], delta: float, examples: int | None) -> Iterator[Tensor]:
    """The first examples, as many as asked for or as `sample_size` says."""
    inputs = unlabelled(batches, model)
    first = next(inputs, None)
    if first is None:
        return
    if examples is None:
        neurons: dict[str, int] = {}
        observe(model, [first[:1]], product_layers(model)[0], lambda name, _, out: neurons.update({name: out.numel()}))
        examples = sample_size(neurons.values(), delta=delta)
    for batch in itertools.chain([first], inputs):
        yield batch[:examples]
        examples -= len(batch)
        if examples <= 0:
            return


def _inverse(sums: Tensor) -> Tensor:
    """1 / sum, and 0 where there is nothing to have a share of."""
    return torch.where(sums > torch.finfo(sums.dtype).tiny, 1 / sums, 0.0)


def _mean_shares(rows: Tensor, weight: Tensor) -> Tensor:
    """Largest over examples of the mean over positions of a_j / sum_k w_ik a_k: (groups, outputs, columns)."""
    best = torch.zeros_like(weight)
    for part in torch.split(rows, max(1, PIECE // weight.numel()), dim=1):
        inverse = _inverse(part @ weight.mT.unsqueeze(1))  # (groups, examples, positions, outputs)
        best = torch.maximum(best, (inverse.mT @ part).amax(dim=1) / rows.shape[2])
    return best


def _max_shares(rows: Tensor, weight: Tensor) -> Tensor:
    """Largest over examples and positions of a_j / sum_k w_ik a_k: (groups, outputs, columns)."""
    best = torch.zeros_like(weight)
    for part in torch.split(rows.flatten(1, 2), max(1, PIECE // weight.numel()), dim=1):
        inverse = _inverse(part @ weight.mT)  # (groups, n, outputs)
        best = torch.maximum(best, (inverse.unsqueeze(-1) * part.unsqueeze(-2)).amax(dim=1))
    return best


def _channel_shares(
    rows: Tensor, weight: Tensor, inputs: int, *, channels: Tensor | None = None, total: int = 0
) -> Tensor:
    """Largest over rows and outputs of a channel's share: (inputs,), or (total,) if inputs belong to `channels`."""
    best = weight.new_zeros(inputs if channels is None else total)
    of_input = weight.reshape(len(weight), inputs, -1).permute(1, 2, 0)  # (inputs, kernel, outputs)
    for part in torch.split(rows, max(1, PIECE // (inputs * len(weight)))):
        terms = part.reshape(len(part), inputs, -1).transpose(0, 1) @ of_input  # (inputs, n, outputs)
        if channels is not None:
            terms = terms.new_zeros(total, *terms.shape[1:]).index_add_(0, channels, terms)
        shares = terms * _inverse(terms.sum(dim=0))
        best = torch.maximum(best, shares.amax(dim=(1, 2)))
    return best.clamp(max=1)
