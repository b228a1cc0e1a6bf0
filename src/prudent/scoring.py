"""Importance scores asked for by name, by function, or given: checked before they are used."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from prudent.batches import Batch
from prudent.catalogue import check_options
from prudent.errors import BadInput
from prudent.network import Scores, prunable
from prudent.scores import SCORES


def name_of_score(score: str | Callable[..., Scores] | Mapping[str, Tensor]) -> str:
    """What results call it."""
    return score if isinstance(score, str) else getattr(score, "__name__", "given")


def ask_score(
    model: nn.Module,
    score: str | Callable[..., Scores] | Mapping[str, Tensor],
    batches: Iterable[Batch] | None,
    options: Mapping[str, Any],
    known: Mapping[str, Any],
) -> Scores:
    """The scores, from a function that gets of what is `known` the parameters that it has."""
    if isinstance(score, Mapping):
        return _checked(model, score, known.get("shapes"))
    function = SCORES.find(score) if isinstance(score, str) else score
    name = name_of_score(score)
    check_options(function, dict(options), noun=f"score {name!r}", given=("model", "batches"))
    takes = inspect.signature(function).parameters
    filled = {key: value for key, value in known.items() if key in takes and value is not None} | dict(options)
    if "sparsity" in takes and "sparsity" not in filled:
        raise BadInput(f"score {name!r} plans for a sparsity: give sparsity=..., not another budget")
    if isinstance(score, str):
        return _checked(model, SCORES.call(score, model, batches, **filled), known.get("shapes"))
    return _checked(model, function(model, batches, **filled), known.get("shapes"))


def plans_ahead(score: str | Callable[..., Scores] | Mapping[str, Tensor], options: Mapping[str, Any]) -> bool:
    """Whether a score wants to know what sparsity it is for, and its options do not say so."""
    if isinstance(score, Mapping):
        return False
    function = SCORES.find(score) if isinstance(score, str) else score
    check_options(function, {}, noun=f"score {name_of_score(score)!r}")  # refuses what does not say its parameters
    return "sparsity" not in options and "sparsity" in inspect.signature(function).parameters


def _checked(model: nn.Module, scores: object, shapes: Mapping[str, tuple[int, ...]] | None) -> Scores:
    if not isinstance(scores, Mapping):
        raise BadInput(f"a score is a mapping from weight names to tensors; got {type(scores).__name__}")
    given = {name: tuple(value.shape) for name, value in scores.items()}
    if given and shapes is not None and given.items() <= shapes.items():  # of the units themselves
        return scores
    shapes = {name: tuple(weight.shape) for name, weight in prunable(model).items()}
    if given == shapes or all(name in shapes and shape == shapes[name][:1] for name, shape in given.items()):
        return scores
    odd = sorted(set(given.items()) ^ set(shapes.items()))[0][0]
    raise BadInput(
        "scores need one tensor of the weight's shape for each prunable weight, or of shape (channels,) for layers "
        f"whose channels they judge; {odd!r} does not match"
    )
