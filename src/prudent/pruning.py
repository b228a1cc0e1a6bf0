"""A network -> a pruned copy of it with the mask that made it."""

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prudent.batches import Batch, check_purpose
from prudent.errors import BadInput
from prudent.masks import (
    Granularity,
    Mask,
    Scope,
    by_channel,
    check_choice,
    check_sparsity,
    removed_elements,
    select,
    zero,
)
from prudent.network import Reweighted, Scores, check_runs, prunable
from prudent.scores import SCORES


@dataclass(frozen=True, kw_only=True, eq=False)
class Pruned:
    """A masked network: of the original's shape, with zeros where the mask demands them.

    Args:
        model: the masked copy.
        mask: what is kept.
        score: name of the importance score.
        scope: "global" or "layer".
        requested: the sparsity asked for; `sparsity` is the achieved one.
    """

    model: nn.Module
    mask: Mask
    score: str
    scope: Scope
    requested: float

    @property
    def sparsity(self) -> float:
        """Achieved fraction of removed units; differs from the requested one by less than one unit a group."""
        return self.mask.sparsity


def prune(
    model: nn.Module,
    *,
    sparsity: float,
    score: str | Callable[..., Scores] | Mapping[str, Tensor] = "magnitude",
    granularity: Granularity = "weight",
    scope: Scope = "global",
    batches: Iterable[Batch] | None = None,
    example: Tensor | None = None,
    within: Mask | None = None,
    like: Mask | None = None,
    seed: int = 0,
) -> Pruned:
    """Remove the least important units of a copy of `model`.

    Args:
        model: the network. Not changed: nor its modes, gradients, or random generators.
        sparsity: fraction of the prunable units to remove, in [0, 1).
        score: name of a score in prudent.scores, a function (model, batches, *, options) -> Scores, or the scores.
        granularity: "weight" removes single weights, "channel" whole output channels (plain networks only).
        scope: "global" ranks all units together, "layer" removes the same fraction in each layer.
        batches: examples for scores that need data, of the train or validation split.
        example: inputs (batch, ...) that the network is tried on before anything else, if given.
        within: a mask whose removed units stay removed; `sparsity` counts them.
        like: copy the number of removed units in each layer from this mask (the control that asks whether a score
            chooses better weights, or only better layers); `sparsity` and `scope` then only label the result.
        seed: for scores that draw random numbers.

    Returns: the masked copy, the mask, and the achieved sparsity.

    Raises:
        BadInput: sparsity outside [0, 1) or too high, scores that do not fit or are not finite.
        UnknownName: no such score, granularity or scope.
        SplitMisuse: batches of a split that is not there for choosing weights.
        CannotPrune: nothing prunable, or channels asked of a network that is not plain.
    """
    check_sparsity(sparsity)
    check_choice("granularity", granularity, Granularity)
    check_choice("scope", scope, Scope)
    if batches is not None:
        check_purpose(batches, purpose="scoring", allowed=("train", "validation"))
    if example is not None:
        check_runs(model, example)
    scores = _scores(model, score, batches, {"seed": seed, "sparsity": sparsity})
    if granularity == "weight" and any(value.ndim == 1 for value in scores.values()):
        raise BadInput('this score judges whole channels, not single weights: ask for granularity="channel"')
    if granularity == "channel":
        scores = by_channel(model, scores, scope=scope)
    mask = select(scores, sparsity, scope=scope, granularity=granularity, within=within, like=like)
    copied = copy.deepcopy(model)
    removed = removed_elements(copied, mask)
    if isinstance(scores, Reweighted):
        reweight(copied, scores, removed)
    zero(copied, removed)
    name = score if isinstance(score, str) else getattr(score, "__name__", "given")
    return Pruned(model=copied, mask=mask, score=name, scope=scope, requested=sparsity)


def reweight(model: nn.Module, scores: Reweighted, removed: Mapping[str, Tensor]) -> None:
    """Give the kept weights the values that the method finds for them, in place."""
    weights = prunable(model)
    kept = {name: ~removed.get(name, torch.zeros_like(weight, dtype=torch.bool)) for name, weight in weights.items()}
    with torch.no_grad():
        for name, value in scores.weights(kept).items():
            if value.shape != weights[name].shape or not torch.isfinite(value).all():
                raise BadInput(f"new values of {name!r} must be finite and of its shape, {tuple(weights[name].shape)}")
            weights[name].copy_(value)


def _scores(
    model: nn.Module,
    score: str | Callable[..., Scores] | Mapping[str, Tensor],
    batches: Iterable[Batch] | None,
    known: Mapping[str, Any],
) -> Scores:
    """The scores, from a function that gets of what is `known` the parameters that it has."""
    if isinstance(score, Mapping):
        return _checked(model, score)
    function = SCORES.find(score) if isinstance(score, str) else score
    takes = inspect.signature(function).parameters
    options = {name: value for name, value in known.items() if name in takes}
    if isinstance(score, str):
        return _checked(model, SCORES.call(score, model, batches, **options))
    return _checked(model, function(model, batches, **options))


def _checked(model: nn.Module, scores: object) -> Scores:
    if not isinstance(scores, Mapping):
        raise BadInput(f"a score is a mapping from weight names to tensors; got {type(scores).__name__}")
    shapes = {name: tuple(weight.shape) for name, weight in prunable(model).items()}
    given = {name: tuple(value.shape) for name, value in scores.items()}
    if given == shapes or all(name in shapes and shape == shapes[name][:1] for name, shape in given.items()):
        return scores
    odd = sorted(set(given.items()) ^ set(shapes.items()))[0][0]
    raise BadInput(
        "scores need one tensor of the weight's shape for each prunable weight, or of shape (channels,) for layers "
        f"whose channels they judge; {odd!r} does not match"
    )
