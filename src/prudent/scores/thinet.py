"""ThiNet: channels that the next layer misses least."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prudent.batches import Batch
from prudent.errors import BadInput
from prudent.network import Reweighted, Scores, prunable
from prudent.observation import needed
from prudent.readings import read_rows
from prudent.seeds import stream
from prudent.surgery.chain import Link, links
from prudent.unfolding import matrix, unmatrix

NEEDS = ("data",)
UNIT = "channel"


def thinet(
    model: nn.Module,
    batches: Iterable[Batch] | None = None,
    *,
    samples: int = 5000,
    rescale: bool = True,
    seed: int = 0,
) -> Scores:
    """Order in which greedy removal takes the channels, each time the one whose loss changes the next layer least.

        x_sc = what channel c adds to the next layer's output s (one output channel at one position of one example)
        R = {};  repeat  R = R + {argmin_c sum_s (x_sc + sum_{r in R} x_sr) ** 2}
        score(c) = place of c in that order / channels

    Then the kept channels K are rescaled in the next layer, as the least squares ask:

        f = argmin sum_s (sum_{c in K} f_c x_sc - sum_c x_sc) ** 2

    Args:
        model: a plain network. Not changed.
        batches: inputs, with labels or without; read once.
        samples: how many of the next layer's outputs are looked at, at least 1: drawn without replacement among the
            places (example, position), each with a random output channel; all places if there are fewer.
        rescale: whether the channels that stay are rescaled; of all solutions the one nearest to 1.
        seed: of generators of its own, for the drawing.

    Returns: name of each weight whose channels can be removed -> float32 (channels,), in (0, 1], without unit, higher =
    keep; with `rescale`, as `Reweighted`. A layer's places fill (0, 1] evenly, so scope="global" removes nearly the
    same fraction of each layer, as scope="layer" does exactly: the method does not compare layers.

    Raises:
        BadInput: no data, samples < 1.
        CannotPrune: nothing to prune, or the network is not plain.

    Source: Luo et al. 2017, "ThiNet: A Filter Level Pruning Method for Deep Neural Network Compression",
    arXiv:1707.06342, equations 6 and 7 and algorithm 1. Here all layers are judged on the dense network, in one pass,
    where the paper prunes and fine-tunes layer after layer.
    """
    if samples < 1:
        raise BadInput(f"at least one sample is needed; got samples={samples}")
    prunable(model)
    chain = links(model)
    drawn = _drawn(model, needed(batches, score="thinet"), chain, samples, seed)
    scores = {link.weight: _places(drawn[link.reader]).float() / link.channels for link in chain}
    if not rescale:
        return scores
    readers = {link.reader: model.get_submodule(link.reader) for link in chain}
    dense = {name: matrix(layer).clone() for name, layer in readers.items()}

    def weights(kept: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        new = {}
        for link in chain:
            factors = _factors(drawn[link.reader], kept[link.weight].flatten(1).any(dim=1))
            columns = factors.to(dense[link.reader]).repeat_interleave(dense[link.reader].shape[-1] // link.channels)
            new[f"{link.reader}.weight"] = unmatrix(readers[link.reader], dense[link.reader] * columns)
        return new

    return Reweighted(scores, weights)


@dataclass(eq=False)
class _Sample:
    """The lowest keys so far, and what each channel adds to the output that was drawn with each: (samples, channels).

    Keys are independent and uniform, so the lowest are a sample without replacement of all places, however many come.
    """

    generator: torch.Generator
    keys: Tensor
    contributions: Tensor


def _drawn(
    model: nn.Module, batches: Iterable[Batch], chain: tuple[Link, ...], samples: int, seed: int
) -> dict[str, Tensor]:
    """Name of each reader -> contributions (samples, channels), float64, where the network is."""
    channels = {link.reader: link.channels for link in chain}
    readers = {name: model.get_submodule(name) for name in channels}
    held: dict[str, _Sample] = {}
    for place, name in enumerate(readers):
        generator = torch.Generator().manual_seed(stream(f"thinet places of layer {place}", seed))
        empty = matrix(readers[name]).new_empty(0, channels[name], dtype=torch.float64)
        held[name] = _Sample(generator, torch.empty(0), empty)

    def see(name: str, rows: Tensor) -> None:
        sample, weight = held[name], matrix(readers[name])[0]
        flat = rows.flatten(0, 2)
        keys = torch.rand(len(flat), generator=sample.generator)
        outputs = torch.randint(len(weight), (len(flat),), generator=sample.generator)
        chosen = keys.topk(min(samples, len(keys)), largest=False).indices
        at = chosen.to(flat.device)
        terms = flat[at].double() * weight[outputs[chosen].to(flat.device)].double()
        added = terms.unflatten(1, (channels[name], -1)).sum(dim=-1)  # type: ignore[no-untyped-call]
        keys = torch.cat([sample.keys, keys[chosen]])
        lowest = keys.topk(min(samples, len(keys)), largest=False).indices
        sample.keys = keys[lowest]
        sample.contributions = torch.cat([sample.contributions, added])[lowest.to(added.device)]

    read_rows(model, batches, readers, see)
    return {name: sample.contributions for name, sample in held.items()}


def _places(contributions: Tensor) -> Tensor:
    """Place of each channel in the order of removal, from 1."""
    gram = contributions.mT @ contributions
    cost = gram.diagonal().clone()  # how much the error grows if the channel is removed next
    places = torch.zeros_like(cost)
    for place in range(1, len(gram) + 1):  # greedy: each choice depends on those before it
        channel = cost.argmin()
        places[channel] = place
        cost += 2 * gram[channel]
        cost[channel] = torch.inf
    return places


def _factors(contributions: Tensor, kept: Tensor) -> Tensor:
    """What the kept channels are multiplied with, (channels,); 1 for the others."""
    kept = kept.to(contributions.device)
    factors = torch.ones_like(contributions[0])
    missing = contributions[:, ~kept].sum(dim=1, keepdim=True)
    # on the CPU: only there least squares of any rank have a solution of minimal norm
    change = torch.linalg.lstsq(contributions[:, kept].cpu(), missing.cpu(), driver="gelsd").solution
    factors[kept] += change[:, 0].to(factors)
    return factors
