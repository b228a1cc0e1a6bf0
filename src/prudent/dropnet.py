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
from prudent.budgets import macs_left, parameters_left
from prudent.couplings import couplings
from prudent.errors import BadInput, CannotPrune
from prudent.granularities import layout_for
from prudent.masks import Mask, select
from prudent.network import Scores, check_runs, macs_by_layer, prunable, seeded
from prudent.observation import unlabelled
from prudent.optimizers import Optimizer
from prudent.scopes import check_choice
from prudent.scores.activation_mean import activation_mean
from prudent.seeds import stream
from prudent.surgery.chain import links
from prudent.surgery.layouts import Layout
from prudent.training import Epoch, best_epoch, train

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

    Networks that are not layers in a row are traced on the first examples. There channels that only go together are one
    (see `activation_mean`), and every layer keeps one: ours, the paper has no such networks.

    Args:
        model: any network that answers logits, with its initial weights theta_0. Not changed.
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
        CannotPrune: nothing to prune, or a network that cannot be traced or has no channels that can go.
        UnknownName: no such metric, scope or optimizer.

    Source: Tan, Motani 2020, "DropNet: Reducing Neural Network Complexity via Iterative Pruning", arXiv:2207.06646,
    algorithm 1. Their code stops at a share of channels, keeps the last epoch and rounds the number dropped down.
    """
    _check(metric, scope, fraction, kappa, levels, epochs)
    layout = _layout(model, train_batches)
    mask, measure = _everything(model, layout), _measure(model, layout, _example(model, train_batches, size=1))
    recipe = partial(train, epochs=epochs, patience=patience, lr=lr, optimizer=optimizer, momentum=momentum, seed=seed)
    found: list[Level] = []
    while True:
        with seeded(seed):  # reading a DataLoader draws random numbers, which must not be the caller's
            level = _level(model, mask, train_batches, validation_batches, recipe, measure, found, kappa)
        found.append(level)
        if on_level is not None:
            on_level(level)
        if not level.holds or mask.collapsed or len(found) == levels:
            return tuple(found)
        with seeded(seed):
            scores = _scores(level, train_batches, metric, seed, layout)
        smaller = _drop(scores, mask, fraction, scope)
        if smaller.remaining == mask.remaining:
            return tuple(found)
        mask = smaller


def _layout(model: nn.Module, batches: Iterable[Batch]) -> Layout | None:
    """The units of a network that has to be traced for them; None for a plain one."""
    try:
        links(model)
    except CannotPrune:
        if len(prunable(model)) < 2:
            raise
        return layout_for(model, "channel", _example(model, batches, size=8))
    return None


def _everything(model: nn.Module, layout: Layout | None) -> Mask:
    kept = {name: torch.ones(shape, dtype=torch.bool) for name, shape in couplings(model, layout).shapes.items()}
    return Mask(kept=kept, granularity="channel", cover=None if layout is None else layout.cover_of(kept))


def _measure(model: nn.Module, layout: Layout | None, example: Tensor) -> Callable[[Mask], tuple[int, int]]:
    """From a mask to the parameters and multiply-accumulates that it leaves."""
    if layout is None:
        return partial(sizes, model, work=macs_by_layer(model, example))
    return lambda mask: (parameters_left(model, mask), macs_left(model, mask, example))


def _level(
    model: nn.Module,
    mask: Mask,
    train_batches: Iterable[Batch],
    validation_batches: Iterable[Batch],
    recipe: Callable[..., nn.Module],
    measure: Callable[[Mask], tuple[int, int]],
    before: list[Level],
    kappa: float,
) -> Level:
    history: list[Epoch] = []
    trained = recipe(model, train_batches, mask=mask, validation=validation_batches, on_epoch=history.append)
    best = best_epoch(history)
    train_loss, train_error = loss_and_error(trained, train_batches)
    validation_loss, validation_error = loss_and_error(trained, validation_batches)
    dense_error = before[0].validation_error if before else validation_error
    parameters, macs = measure(mask)
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


def _scores(level: Level, batches: Iterable[Batch], metric: Ranking, seed: int, layout: Layout | None) -> Scores:
    if metric != "random":
        return activation_mean(level.model, batches, direction=metric, layout=layout)
    # not the score "random": its sums over a channel's weights are the more alike the more weights a channel has, so
    # that ranked together the channels of small layers would come first and last
    generator = torch.Generator().manual_seed(stream(f"random metric of level {level.index}", seed))
    return {name: torch.rand(kept.shape, generator=generator) for name, kept in level.mask.kept.items()}


def _drop(scores: Scores, mask: Mask, fraction: float, scope: Scope) -> Mask:
    kept: dict[str, Tensor] = {}
    for names in [list(mask.kept)] if scope == "global" else [[name] for name in mask.kept]:
        part = Mask(kept={name: mask.kept[name] for name in names}, granularity="channel")
        traced = mask.cover is not None
        drop = _droppable(part, fraction) if traced else to_drop(fraction, part.remaining)
        removed = part.total - part.remaining + drop
        # select rounds this share of all channels back to the same count
        own = {name: scores[name] for name in names}
        least = 1 if traced else 0
        kept |= select(own, removed / part.total, granularity="channel", within=part, minimum=least).kept
    return Mask(kept=kept, granularity="channel", cover=mask.cover)


def _droppable(part: Mask, fraction: float) -> int:
    """How many channels of a traced network go: as `to_drop`, but every layer keeps one, and rows equally many."""
    rows = {name: kept.shape[0] if kept.ndim == 2 else 1 for name, kept in part.kept.items()}
    left = {name: int(kept.sum()) // rows[name] for name, kept in part.kept.items()}
    possible = sum(rows[name] * (left[name] - 1) for name in rows)
    if possible == 0:
        return 0
    if len(rows) == 1:
        (name,) = rows
        return rows[name] * to_drop(fraction, left[name])
    smallest = min(rows[name] for name in rows if left[name] > 1)
    return min(max(to_drop(fraction, part.remaining), smallest), possible)


def to_drop(fraction: float, left: int) -> int:
    """How many of the channels that are left go: the nearest integer, halves up, at least one and never all."""
    nearest = int((Decimal(repr(float(fraction))) * left).to_integral_value(ROUND_HALF_UP))
    return min(max(nearest, 1), left - 1)


def _example(model: nn.Module, batches: Iterable[Batch], *, size: int) -> Tensor:
    check_purpose(batches, purpose="training", allowed=("train",))
    with seeded(0):
        check_repeatable(batches)
        first = next(unlabelled(batches, model), None)
    if first is None:
        raise BadInput("there is nothing to train on: the batches are empty")
    check_runs(model, first[:size])
    return first[:size]


def _check(metric: str, scope: str, fraction: float, kappa: float, levels: int, epochs: int) -> None:
    check_choice("metric", metric, Ranking)
    check_choice("scope", scope, Scope)
    if not 0 < fraction < 1:
        raise BadInput(f"fraction is the share of the channels left that each level drops, in (0, 1); got {fraction}")
    if not 0 <= kappa <= 1:
        raise BadInput(f"kappa is the share of the dense network's accuracy to be held, in [0, 1]; got {kappa}")
    if levels < 1 or epochs < 1:
        raise BadInput(f"levels and epochs are 1 or more; got levels={levels}, epochs={epochs}")
