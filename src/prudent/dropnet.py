"""DropNet: train, drop the channels that answer least, and start again from the same initial weights."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from prudent.assessment import loss_and_error
from prudent.batches import Batch, check_purpose, check_repeatable
from prudent.errors import BadInput
from prudent.masks import Mask, select
from prudent.network import Scores, check_runs, macs_by_layer, seeded
from prudent.observation import unlabelled
from prudent.scopes import check_choice
from prudent.scores.activation_mean import activation_mean
from prudent.seeds import stream
from prudent.surgery.chain import links
from prudent.training import Epoch, Optimizer, best_epoch, train

Ranking = Literal["minimum", "maximum", "random"]
"""What is dropped first: channels of the smallest or of the largest mean activation, or any."""

Scope = Literal["global", "layer"]
"""Whether all layers are ranked together, or each by itself."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Level:
    """One round: the initial weights under a mask, trained.

    Args:
        index: 0 for the dense network.
        mask: the channels that are left.
        model: trained under the mask; of the epoch with the lowest validation loss, in the original's shape.
        train_loss, train_error: of `model` in evaluation mode on the training examples, nats and share in [0, 1].
        validation_loss, validation_error: the same on the validation examples.
        best_epoch: index of the epoch that was kept, from 0.
        epochs: how many were trained until it stopped.
        seconds: wall-clock time of those epochs, validation not counted.
        parameters: of the network without the channels that are gone.
        macs: multiply-accumulates of that network for one example.
        holds: whether its validation accuracy is at least kappa times the dense network's.
    """

    index: int
    mask: Mask
    model: nn.Module
    train_loss: float
    train_error: float
    validation_loss: float
    validation_error: float
    best_epoch: int
    epochs: int
    seconds: float
    parameters: int
    macs: int
    holds: bool

    @property
    def sparsity(self) -> float:
        """Fraction of the channels that are gone, in [0, 1)."""
        return self.mask.sparsity


def dropnet(
    model: nn.Module,
    train_batches: Iterable[Batch],
    validation_batches: Iterable[Batch],
    *,
    metric: Ranking = "minimum",
    scope: Scope = "global",
    fraction: float = 0.2,
    kappa: float = 0.9,
    levels: int = 12,
    epochs: int = 100,
    patience: int = 5,
    lr: float = 0.1,
    optimizer: Optimizer = "sgd",
    momentum: float = 0.0,
    seed: int = 0,
    on_level: Callable[[Level], None] | None = None,
) -> tuple[Level, ...]:
    """Train and drop channels in turns, each time from the same initial weights.

        mask(0)     = everything
        theta(k)    = train(theta_0 under mask(k)), best epoch on the validation examples
        mask(k + 1) = mask(k) without `fraction` of its channels, ranked lowest by theta(k) on the training examples
        until accuracy(theta(k)) < kappa accuracy(theta(0)), both on the validation examples

    The number dropped is round(fraction * channels left), halves up, but at least one and never all: of all channels
    together (global) or of each layer (layer). The loop also ends after `levels`, when no channel can be dropped any
    more, and when a layer has lost all its channels, since every further network would be a constant too.

    Args:
        model: a plain network with its initial weights theta_0. Not changed.
        train_batches: inputs and labels of the train split, readable more than once; also what channels are ranked on.
        validation_batches: inputs and labels of the validation split, for early stopping and kappa.
        metric: drop the smallest or, as controls, the largest mean activation, or any channels.
        scope: "global" ranks all layers together, "layer" drops the fraction in each layer.
        fraction: of the channels left that each level drops, in (0, 1).
        kappa: the share of the dense network's validation accuracy to be held, in [0, 1]; 0 never stops for accuracy.
        levels: the most rounds, with the dense one, >= 1.
        epochs: the most epochs of a level, >= 1.
        patience: epochs without a new lowest validation loss after which a level's training ends, >= 1.
        lr, optimizer, momentum: of training; the paper's are plain steps of 0.1.
        seed: of shuffling and dropout, the same at each level, and of the random metric.
        on_level: called after each level.

    Returns: the levels, densest first. All but the last hold the accuracy; the last one may not: see `Level.holds`.

    Raises:
        BadInput: an option outside its range, or what `train` refuses.
        SplitMisuse: batches of another split.
        CannotPrune: nothing to prune, or a network that is not plain.
        UnknownName: no such metric, scope or optimizer.

    Source: Tan, Motani 2020, "DropNet: Reducing Neural Network Complexity via Iterative Pruning", arXiv:2207.06646,
    algorithm 1. Their code stops at a share of channels instead of kappa, keeps the last epoch instead of the best, and
    rounds the number dropped down.
    """
    _check(metric, scope, fraction, kappa, levels, epochs)
    everything = {link.weight: torch.ones(link.channels, dtype=torch.bool) for link in links(model)}
    mask = Mask(kept=everything, granularity="channel")
    work = macs_by_layer(model, _example(model, train_batches))
    recipe = partial(train, epochs=epochs, patience=patience, lr=lr, optimizer=optimizer, momentum=momentum, seed=seed)
    found: list[Level] = []
    while True:
        with seeded(seed):  # reading a DataLoader draws random numbers, which must not be the caller's
            level = _level(model, mask, train_batches, validation_batches, recipe, work, found, kappa)
        found.append(level)
        if on_level is not None:
            on_level(level)
        if not level.holds or mask.collapsed or len(found) == levels:
            return tuple(found)
        with seeded(seed):
            scores = _scores(level, train_batches, metric, seed)
        smaller = _drop(scores, mask, fraction, scope)
        if smaller.remaining == mask.remaining:
            return tuple(found)
        mask = smaller


def _level(
    model: nn.Module,
    mask: Mask,
    train_batches: Iterable[Batch],
    validation_batches: Iterable[Batch],
    recipe: Callable[..., nn.Module],
    work: Mapping[str, int],
    before: list[Level],
    kappa: float,
) -> Level:
    history: list[Epoch] = []
    trained = recipe(model, train_batches, mask=mask, validation=validation_batches, on_epoch=history.append)
    best = best_epoch(history)
    train_loss, train_error = loss_and_error(trained, train_batches)
    validation_loss, validation_error = loss_and_error(trained, validation_batches)
    dense_error = before[0].validation_error if before else validation_error
    parameters, macs = sizes(model, mask, work)
    return Level(
        index=len(before),
        mask=mask,
        model=trained,
        train_loss=train_loss,
        train_error=train_error,
        validation_loss=validation_loss,
        validation_error=validation_error,
        best_epoch=best.index,
        epochs=len(history),
        seconds=sum(epoch.seconds for epoch in history),
        parameters=parameters,
        macs=macs,
        holds=1 - validation_error >= kappa * (1 - dense_error),
    )


def sizes(model: nn.Module, mask: Mask, work: Mapping[str, int]) -> tuple[int, int]:
    """Parameters and multiply-accumulates of a plain network without the channels that a mask removes.

    Exact, without cutting, and so also for a mask that leaves a layer without channels, which cannot be cut.

    Args:
        model: of the original shape.
        mask: of its channels.
        work: layer name -> multiply-accumulates of the original (see `macs_by_layer`).

    Returns: (parameters, multiply-accumulates); the latter for as many examples as `work` speaks of.
    """
    made: dict[str, tuple[int, int]] = {}
    read: dict[str, tuple[int, int]] = {}
    for link in links(model):
        share = int(mask.kept[link.weight].sum()), link.channels
        made |= dict.fromkeys((link.layer, *link.norms), share)
        read[link.reader] = share
    parameters = macs = 0
    for name, module in model.named_modules():
        (kept, channels), (inputs, all_inputs) = made.get(name, (1, 1)), read.get(name, (1, 1))
        for kind, values in module.named_parameters(recurse=False):
            count = values.numel() * kept // channels
            parameters += count * inputs // all_inputs if kind == "weight" else count
        macs += work.get(name, 0) * kept * inputs // (channels * all_inputs)
    return parameters, macs


def _scores(level: Level, batches: Iterable[Batch], metric: Ranking, seed: int) -> Scores:
    if metric != "random":
        return activation_mean(level.model, batches, direction=metric)
    # not the score "random": its sums over a channel's weights are the more alike the more weights a channel has, so
    # that ranked together the channels of small layers would come first and last
    generator = torch.Generator().manual_seed(stream(f"random metric of level {level.index}", seed))
    return {name: torch.rand(len(kept), generator=generator) for name, kept in level.mask.kept.items()}


def _drop(scores: Scores, mask: Mask, fraction: float, scope: Scope) -> Mask:
    kept: dict[str, Tensor] = {}
    for names in [list(mask.kept)] if scope == "global" else [[name] for name in mask.kept]:
        part = Mask(kept={name: mask.kept[name] for name in names}, granularity="channel")
        removed = part.total - part.remaining + to_drop(fraction, part.remaining)
        # select rounds this share of all channels back to the same count
        chosen = select({name: scores[name] for name in names}, removed / part.total, within=part)
        kept |= chosen.kept
    return Mask(kept=kept, granularity="channel")


def to_drop(fraction: float, left: int) -> int:
    """How many of the channels that are left go: the nearest integer, halves up, at least one and never all."""
    nearest = int((Decimal(repr(float(fraction))) * left).to_integral_value(ROUND_HALF_UP))
    return min(max(nearest, 1), left - 1)


def _example(model: nn.Module, batches: Iterable[Batch]) -> Tensor:
    check_purpose(batches, purpose="training", allowed=("train",))
    with seeded(0):
        check_repeatable(batches)
        first = next(unlabelled(batches, model), None)
    if first is None:
        raise BadInput("there is nothing to train on: the batches are empty")
    check_runs(model, first[:1])
    return first[:1]


def _check(metric: str, scope: str, fraction: float, kappa: float, levels: int, epochs: int) -> None:
    check_choice("metric", metric, Ranking)
    check_choice("scope", scope, Scope)
    if not 0 < fraction < 1:
        raise BadInput(f"fraction is the share of the channels left that each level drops, in (0, 1); got {fraction}")
    if not 0 <= kappa <= 1:
        raise BadInput(f"kappa is the share of the dense network's accuracy to be held, in [0, 1]; got {kappa}")
    if levels < 1 or epochs < 1:
        raise BadInput(f"levels and epochs are 1 or more; got levels={levels}, epochs={epochs}")
