"""Predictions -> loss of every example, in [0, 1]. A risk is the population mean of such a loss.

A loss is a function of a candidate's predictions and the dense network's (None if there are none).
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float64

from prudent.errors import BadInput, UnknownName
from prudent.types import Losses, Predictions

Loss = Callable[[Predictions, Predictions | None], Float64[np.ndarray, " n"]]


def error(candidate: Predictions, dense: Predictions | None = None) -> Float64[np.ndarray, " n"]:  # noqa: ARG001
    """1 where the candidate's decision is not the true label, else 0. Needs labels, not the dense network.

    Raises:
        BadInput: predictions without labels.
    """
    if candidate.labels is None:
        raise BadInput("the loss 'error' needs true labels; use 'disagreement', which compares with the dense network")
    lost: Float64[np.ndarray, " n"] = (candidate.decisions != candidate.labels).astype(np.float64)
    return lost


def disagreement(candidate: Predictions, dense: Predictions | None = None) -> Float64[np.ndarray, " n"]:
    """1 where the candidate decides for another class than the dense network, else 0. Needs no labels.

    It bounds what pruning can have changed: accuracy of the candidate >= accuracy of the dense network - its risk.

    Raises:
        BadInput: no dense predictions.
    """
    if dense is None:
        raise BadInput("the loss 'disagreement' compares with the dense network: pass dense=its predictions")
    lost: Float64[np.ndarray, " n"] = (candidate.decisions != dense.decisions).astype(np.float64)
    return lost


LOSSES: dict[str, Loss] = {"error": error, "disagreement": disagreement}
COMPARES_WITH_DENSE = frozenset({"disagreement"})


def losses(
    predictions: Sequence[Predictions],
    *,
    sparsities: Sequence[float],
    loss: str | Loss = "error",
    dense: Predictions | None = None,
    names: Sequence[str] | None = None,
) -> Losses:
    """The loss of every example under every candidate.

    Args:
        predictions: one for each candidate, densest first, all on the same examples in the same order.
        sparsities: (candidates,) achieved sparsity of each, in [0, 1), not decreasing.
        loss: "error", "disagreement", or a function (candidate, dense) -> (n,) in [0, 1].
        dense: the dense network's predictions on the same examples, where the loss compares with them.
        names: a name for each candidate; by default its sparsity.

    Returns: values (n, candidates) with what they were computed from.

    Raises:
        UnknownName: a loss that does not exist.
        BadInput: no candidates, predictions on different examples, splits or classes, a loss that is not one number in
            [0, 1] for each example.
    """
    if isinstance(predictions, Predictions):
        raise BadInput("losses take a list of predictions, one for each candidate; got a single one: put it in a list")
    predictions, sparsities = tuple(predictions), tuple(sparsities)  # read more than once
    if not predictions:
        raise BadInput("losses need the predictions of at least one candidate")
    if isinstance(loss, str) and loss not in LOSSES:
        raise UnknownName.of("loss", loss, LOSSES)
    first = predictions[0]
    for other in [*predictions[1:], *([] if dense is None else [dense])]:
        check_same_examples(first, other)
    function = LOSSES[loss] if isinstance(loss, str) else loss
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", "custom")
    if name in LOSSES and function is not LOSSES[name]:
        raise BadInput(f"a loss of your own needs a name of its own: {name!r} is prudent's, and claims would say so")
    fingerprints = tuple(p.model for p in predictions)
    return Losses(
        values=np.stack([_each(function(p, dense), p.n, name) for p in predictions], axis=1),
        names=tuple(names) if names is not None else tuple(f"{s:g}" for s in sparsities),
        sparsities=tuple(float(s) for s in sparsities),
        loss=name,
        split=first.split,
        data=first.data,
        models=fingerprints if all(fingerprints) else (),
        dense="" if dense is None or name == "error" else dense.model,
    )


def _each(lost: object, n: int, name: str) -> Float64[np.ndarray, " n"]:
    """What a loss returned, if it is one number for each example."""
    found = np.asarray(lost)
    if found.shape != (n,) or found.dtype.kind not in "biuf":
        came = f"{type(lost).__name__} of shape {found.shape} and dtype {found.dtype}"
        raise BadInput(f"a loss returns one number for each of {n} examples, shape ({n},); {name!r} returned {came}")
    return found.astype(np.float64)


def check_same_examples(a: Predictions, b: Predictions) -> None:
    """Refuse to compare predictions on different examples, splits or classes."""
    for what, of_a, of_b in (
        ("split", a.split, b.split),
        ("number of examples", a.n, b.n),
        ("number of classes", a.classes, b.classes),
    ):
        if of_a != of_b:
            raise BadInput(f"predictions to be compared need the same {what}; got {of_a} and {of_b}")
    if a.data and b.data and a.data != b.data:
        raise BadInput(f"predictions to be compared need the same examples; got data {a.data[:12]} and {b.data[:12]}")
    if a.labels is not None and b.labels is not None and not np.array_equal(a.labels, b.labels):
        raise BadInput("predictions to be compared need the same examples in the same order; their labels differ")
