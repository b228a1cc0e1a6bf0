"""PFP: channels by their largest share of the next layer's values, kept or sampled, with one error for all layers."""

from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from prudent.batches import Batch
from prudent.couplings import Couplings, couplings
from prudent.network import Reweighted, Scores, prunable
from prudent.observation import needed
from prudent.sampling import arrivals, corrections, draws_for, relative_error
from prudent.scopes import check_choice
from prudent.seeds import stream
from prudent.sensitivities import Sensitivity, channel_sensitivities
from prudent.surgery.layouts import Layout
from prudent.unfolding import groups_of, matrix, product, spread_columns, unmatrix

NEEDS = ("data",)
UNIT = "channel"

Mode = Literal["deterministic", "randomised", "top"]


def pfp(
    model: nn.Module,
    batches: Iterable[Batch] | None = None,
    *,
    mode: Mode = "deterministic",
    delta: float = 1e-16,
    examples: int | None = None,
    layout: Layout | None = None,
    seed: int = 0,
) -> Scores:
    """Relative error that is left for the next layer when a channel is the last one that is kept.

        s_j = max over outputs, positions and examples of (channel j's terms) / (all terms), of the same signs
        m(eps) = (6 + 2 eps) C ln(8 (positions + 1) kernel / delta) sum_j s_j / (3 eps ** 2)  draws, p_j = s_j / sum s
        score(channel of rank r) = the eps at which sum_j 1 - (1 - p_j) ** m(eps) = r - 1/2

    At one eps a layer keeps as many channels as distinct ones are expected in m(eps) draws, to the nearest whole
    number. So the highest scores under scope="global" are what one common eps, chosen to meet the budget, keeps. The
    first channel of each layer comes before all others. Which channels these are, by `mode`:

        deterministic   rank by s_j
        randomised      rank by first appearance in the draws; the reader's weights are divided by the chance of it
        top             the same with channels of p_j >= 1 / m certain, and unchanged (see prudent.sampling)

    In a traced network a channel that several layers read has the largest of its s_j, so that each layer keeps its
    bound, and channels that are made by the same layers share their draws, whoever reads them. That is our extension:
    the paper's networks are layers in a row.

    Args:
        model: a plain network, or one that was traced. Not changed.
        batches: inputs, with labels or without; the first `examples` of them are read.
        mode: "deterministic", "randomised" or "top".
        delta: chance that the bound fails, in (0, 1).
        examples: how many examples to use; None for ceil(3 ln(8 neurons (neurons of the largest layer) / delta)),
            or all if there are fewer.
        layout: the units of a traced network (see prudent.granularities.layout_for); `prune` fills it in. None for
            networks that are plain.
        seed: of generators of its own, for the drawing.

    Returns: name of each weight whose channels can be removed -> float64 (channels,), or of the shape of the
    layout's units; >= 0, without unit, higher = keep; as `Reweighted` unless deterministic. Channels that no layer ever
    sees score 0.

    Raises:
        BadInput: no data; delta or examples out of range.
        UnknownName: no such mode.
        CannotPrune: nothing to prune, a network that is neither plain nor traced, or channels that no layer reads.

    Source: Liebenwein et al. 2020, "Provable Filter Pruning for Efficient Neural Networks", arXiv:1911.07412. There the
    size is met approximately by draws with replacement and weights multiplied by count / (m p); here the count of
    channels is exact, and the chance of having been drawn stands in the place of the count. The authors' code takes
    the share of single weights in place of a channel's, and 18 times the draws; the factor is the same for all layers.
    """
    check_choice("mode", mode, Mode)
    names = {id(weight): name for name, weight in prunable(model).items()}
    coupled = couplings(model, layout)
    coupled.check_read("pfp")
    found = _largest(model, needed(batches, score="pfp"), coupled, delta, examples)
    probabilities = {name: layer.values.double() / layer.values.double().sum().clamp_min(1e-300)
                     for name, layer in found.items()}  # fmt: skip
    times = {
        name: 1 / p
        if mode == "deterministic"
        else arrivals(p, generator=_generator(coupled.key(name), seed), keep_large=mode == "top")
        for name, p in probabilities.items()
    }
    errors = {name: _errors(found[name], probabilities[name], times[name]) for name in found}
    top = max(float(error.max()) for error in errors.values())
    scores = {name: (error + top * _first(error)).reshape(coupled.shapes[name]) for name, error in errors.items()}
    if mode == "deterministic":
        return scores
    layers = {reader.reader: product(model.get_submodule(reader.reader)) for reader in coupled.readers}
    dense = {name: matrix(layer).clone() for name, layer in layers.items()}

    def weights(kept: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        stays = coupled.alive(kept)
        factors = torch.ones(1 + coupled.total, dtype=torch.float64)
        for name, part in coupled.ranges.items():
            p, own = probabilities[name], stays[part].to(probabilities[name].device)
            factors[part] = corrections(p, times[name], own, keep_large=mode == "top").to(factors)
        return {
            names[id(layers[reader.reader].weight)]: unmatrix(
                layers[reader.reader],
                dense[reader.reader] * spread_columns(factors, reader.units, dense[reader.reader]),
            )
            for reader in coupled.readers
        }

    return Reweighted(scores, weights)


def _largest(
    model: nn.Module, batches: Iterable[Batch], coupled: Couplings, delta: float, examples: int | None
) -> dict[str, Sensitivity]:
    """Sensitivities of all units of one name: the largest that any layer has which reads them."""
    layers = {reader: model.get_submodule(reader.reader) for reader in coupled.readers}
    readers = {reader.reader: len(reader.found) if reader.in_blocks and groups_of(layer) == 1 else reader.places
               for reader, layer in layers.items()}  # fmt: skip
    found = channel_sensitivities(model, batches, readers, delta=delta, examples=examples)
    device = next(iter(found.values())).values.device
    values = torch.zeros(1 + coupled.total, dtype=torch.float64, device=device)
    terms = dict.fromkeys(coupled.shapes, 0.0)
    for reader in coupled.readers:
        at = torch.from_numpy(reader.found).to(device)
        own = found[reader.reader].values.double()[: len(at)]
        values[at] = torch.maximum(values[at], own.to(device))
        for name in coupled.names_of(reader.found):
            terms[name] = max(terms[name], found[reader.reader].log_term)
    return {name: Sensitivity(values[part], terms[name]) for name, part in coupled.ranges.items()}


def _generator(layer: str, seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(stream(f"pfp draws of layer {layer}", seed))


def _errors(sensitivity: Sensitivity, probabilities: Tensor, times: Tensor) -> Tensor:
    """For each channel the eps at which it is the last to be kept; 0 for channels that are never seen."""
    order = times.argsort(stable=True)[: int((probabilities > 0).sum())]
    distinct = torch.arange(1, len(order) + 1, device=times.device) - 0.5
    errors = torch.zeros_like(times)
    total = sensitivity.log_term * sensitivity.values.double().sum()
    errors[order] = relative_error(draws_for(distinct.double(), probabilities), total)
    return errors


def _first(errors: Tensor) -> Tensor:
    """True for the channel that is kept longest, if any is ever seen."""
    return (errors == errors.max()) & (errors > 0)
