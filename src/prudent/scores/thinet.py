"""ThiNet: channels that the next layer misses least."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prudent.batches import Batch
from prudent.couplings import Couplings, couplings
from prudent.errors import BadInput
from prudent.network import Reweighted, Scores, prunable
from prudent.observation import needed
from prudent.readings import read_rows
from prudent.seeds import stream
from prudent.surgery.chain import Link
from prudent.surgery.layouts import Layout
from prudent.surgery.neighbours import Reader
from prudent.unfolding import matrix, product, spread_columns, unmatrix

NEEDS = ("data",)
UNIT = "channel"


def thinet(
    model: nn.Module,
    batches: Iterable[Batch] | None = None,
    *,
    samples: int = 5000,
    rescale: bool = True,
    layout: Layout | None = None,
    seed: int = 0,
) -> Scores:
    """Order in which greedy removal takes the channels, each time the one whose loss changes the next layer least.

        x_sc = what channel c adds to the next layer's output s (one output channel at one position of one example)
        R = {};  repeat  R = R + {argmin_c sum_s (x_sc + sum_{r in R} x_sr) ** 2}
        score(c) = place of c in that order / channels

    Then the kept channels K are rescaled in the next layer, as the least squares ask:

        f = argmin sum_s (sum_{c in K} f_c x_sc - sum_c x_sc) ** 2

    In a traced network s runs over the samples of all layers that read the channels: squared errors are added up.
    Channels that are made by the same layers are ordered together, the others staying whole. That is our extension: the
    paper leaves channels that several layers read alone.

    Args:
        model: a plain network, or one that was traced. Not changed.
        batches: inputs, with labels or without; read once.
        samples: how many of each next layer's outputs are looked at, at least 1: drawn without replacement among the
            places (example, position), each with a random output channel; all places if there are fewer.
        rescale: whether the channels that stay are rescaled; of all solutions the one nearest to 1.
        layout: the units of a traced network (see prudent.granularities.layout_for); `prune` fills it in. None for
            networks that are plain.
        seed: of generators of its own, for the drawing.

    Returns: name of each weight whose channels can be removed -> float32 (channels,), or of the shape of the
    layout's units, in (0, 1], without unit, higher = keep; with `rescale`, as `Reweighted`. A layer's places fill
    (0, 1] evenly, so scope="global" removes nearly the same fraction of each layer, as scope="layer" does exactly: the
    method does not compare layers.

    Raises:
        BadInput: no data, samples < 1.
        CannotPrune: nothing to prune, a network that is neither plain nor traced, or channels that no layer reads.

    Source: Luo et al. 2017, "ThiNet: A Filter Level Pruning Method for Deep Neural Network Compression",
    arXiv:1707.06342, equations 6 and 7 and algorithm 1. Here all layers are judged on the dense network, in one pass,
    where the paper prunes and fine-tunes layer after layer.
    """
    if samples < 1:
        raise BadInput(f"at least one sample is needed; got samples={samples}")
    names = {id(weight): name for name, weight in prunable(model).items()}
    coupled = couplings(model, layout)
    coupled.check_read("thinet")
    drawn = _drawn(model, needed(batches, score="thinet"), coupled.readers, samples, seed)
    added = _of_units(coupled, drawn)
    scores = {name: (_places(own).float() / own.shape[1]).reshape(coupled.shapes[name]) for name, own in added.items()}
    if not rescale:
        return scores
    layers = {reader.reader: product(model.get_submodule(reader.reader)) for reader in coupled.readers}
    dense = {name: matrix(layer).clone() for name, layer in layers.items()}

    def weights(kept: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        stays = coupled.alive(kept)
        factors = torch.ones(1 + coupled.total, dtype=torch.float64)
        for name, part in coupled.ranges.items():
            factors[part] = _factors(added[name], stays[part]).to(factors)
        return {
            names[id(layers[reader.reader].weight)]: unmatrix(
                layers[reader.reader],
                dense[reader.reader] * spread_columns(factors, reader.units, dense[reader.reader]),
            )
            for reader in coupled.readers
        }

    return Reweighted(scores, weights)


def _of_units(coupled: Couplings, drawn: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name of units -> what each adds to the samples of all layers that read any of them: (samples, units), float64."""
    found: dict[str, list[Tensor]] = {name: [] for name in coupled.shapes}
    for reader in coupled.readers:
        own = drawn[reader.reader]
        whole = own.new_zeros(len(own), 1 + coupled.total)
        whole[:, torch.from_numpy(reader.found).to(own.device)] = own
        for name in coupled.names_of(reader.found):
            found[name].append(whole[:, coupled.ranges[name]])
    return {name: torch.cat(parts) for name, parts in found.items()}


@dataclass(eq=False)
class _Sample:
    """The lowest keys so far, and what each channel adds to the output that was drawn with each: (samples, channels).

    Keys are independent and uniform, so the lowest are a sample without replacement of all places, however many come.
    """

    generator: torch.Generator
    keys: Tensor
    contributions: Tensor


def _drawn(
    model: nn.Module, batches: Iterable[Batch], read: Sequence[Link | Reader], samples: int, seed: int
) -> dict[str, Tensor]:
    """Name of each reader -> contributions (samples, units that it reads), float64, where the network is."""
    readers = {one.reader: product(model.get_submodule(one.reader)) for one in read}
    units = {one.reader: Reader(one.reader, one.units) for one in read}
    held: dict[str, _Sample] = {}
    for place, name in enumerate(readers):
        generator = torch.Generator().manual_seed(stream(f"thinet places of layer {place}", seed))
        empty = matrix(readers[name]).new_empty(0, len(units[name].found), dtype=torch.float64)
        held[name] = _Sample(generator, torch.empty(0), empty)

    def see(name: str, rows: Tensor) -> None:
        sample, weight = held[name], matrix(readers[name])
        flat = rows.flatten(1, 2)
        keys = torch.rand(flat.shape[1], generator=sample.generator)
        outputs = torch.randint(weight.shape[0] * weight.shape[1], keys.shape, generator=sample.generator)
        chosen = keys.topk(min(samples, len(keys)), largest=False).indices
        at, drawn = chosen.to(flat.device), outputs[chosen].to(flat.device)
        group, output = drawn // weight.shape[1], drawn % weight.shape[1]
        terms = flat[group, at].double() * weight[group, output].double()
        added = _by_unit(terms, units[name], group, len(weight))
        keys = torch.cat([sample.keys, keys[chosen]])
        lowest = keys.topk(min(samples, len(keys)), largest=False).indices
        sample.keys = keys[lowest]
        sample.contributions = torch.cat([sample.contributions, added])[lowest.to(added.device)]

    read_rows(model, batches, readers, see)
    return {name: sample.contributions for name, sample in held.items()}


def _by_unit(terms: Tensor, reader: Reader, group: Tensor, groups: int) -> Tensor:
    """Sums (samples, units) of terms (samples, columns), whose columns belong to the inputs of the sample's group."""
    units = len(reader.found)
    if reader.in_blocks and groups == 1:
        return terms.unflatten(1, (units, -1)).sum(dim=-1)  # type: ignore[no-untyped-call,no-any-return]
    places = reader.places.reshape(groups, -1).to(terms.device)
    at = places.repeat_interleave(terms.shape[1] // places.shape[1], dim=1)[group]
    return terms.new_zeros(len(terms), 1 + units).scatter_add_(1, at, terms)[:, :units]


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
