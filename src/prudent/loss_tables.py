"""Predictions of all candidates -> the table of losses that a certificate is computed from."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from prudent.catalogue import check_options
from prudent.claims import MEANS
from prudent.errors import BadInput, UnknownName
from prudent.risks import LOSSES, Loss, Risk
from prudent.types import Losses, Predictions


def losses(
    predictions: Sequence[Predictions],
    *,
    sparsities: Sequence[float],
    loss: str | Loss = "error",
    dense: Predictions | None = None,
    names: Sequence[str] | None = None,
    options: Mapping[str, float | int | str] | None = None,
) -> Losses:
    """The loss of every example under every candidate.

    Args:
        predictions: one for each candidate, densest first, all on the same examples in the same order.
        sparsities: (candidates,) achieved sparsity of each, in [0, 1), not decreasing.
        loss: a name in prudent.risks.LOSSES ("error", "disagreement", "accuracy_drop" ...), or a function
            (candidate, dense) -> (n,) in [0, 1].
        dense: the dense network's predictions on the same examples, where the loss compares with them.
        names: a name for each candidate; by default its sparsity.
        options: of the loss, such as {"k": 5} of "top_k_error".

    Returns: values (n, candidates) with what they were computed from.

    Raises:
        UnknownName: a loss or an option that does not exist.
        BadInput: no candidates, predictions on different examples, splits or classes, a loss that is not one number in
            its range for each example.
    """
    if isinstance(predictions, Predictions):
        raise BadInput("losses take a list of predictions, one for each candidate; got a single one: put it in a list")
    predictions, sparsities = tuple(predictions), tuple(sparsities)  # read more than once
    if not predictions:
        raise BadInput("losses need the predictions of at least one candidate")
    name, risk = _risk(loss)
    chosen = dict(options or {})
    check_options(risk.function, dict(chosen), noun=f"loss {name!r}", given=("candidate", "dense"))
    first = predictions[0]
    for other in [*predictions[1:], *([] if dense is None else [dense])]:
        check_same_examples(first, other)
    found = [_each(risk.function(p, dense, **chosen), p.n, name, risk) for p in predictions]
    values = np.stack(found, axis=1)
    counted = ~np.isnan(values)
    fingerprints = tuple(p.model for p in predictions)
    return Losses(
        values=(np.where(counted, values, risk.low) - risk.low) / (risk.high - risk.low),
        names=tuple(names) if names is not None else tuple(f"{s:g}" for s in sparsities),
        sparsities=tuple(float(s) for s in sparsities),
        loss=name,
        split=first.split,
        data=first.data,
        models=fingerprints if all(fingerprints) else (),
        dense="" if dense is None or (name in LOSSES and not risk.dense) else dense.model,
        counted=None if counted.all() else counted,
        bins=None if risk.bins is None else np.stack([risk.bins(p, **chosen) for p in predictions], axis=1),
        low=risk.low,
        high=risk.high,
        options=_settled(risk, name, chosen),
    )


def by_group(table: Losses, groups: Sequence[str] | np.ndarray) -> list[Losses]:
    """One table for each group of examples: "in every class", or in every named subgroup.

    `certify` of this list bounds the risk of each group, and so of the worst one, without any correction for their
    number: the claim is that all of them hold, and it is refused as soon as one cannot be shown.

    Args:
        table: the losses of all examples.
        groups: (n,) the name of each example's group, or its true class as an integer. What decides it must not depend
            on the candidates.

    Returns: the tables, by name of the group; of class 3 the name is "class 3".

    Raises:
        BadInput: not one group for each example, or a table that has groups already.

    Source: Berger 1982, "Multiparameter hypothesis testing and acceptance sampling" (intersection-union tests).
    """
    given = np.asarray(groups)
    if given.shape != (table.n,):
        raise BadInput(f"groups need one name for each of {table.n} examples; got shape {given.shape}")
    if table.group or table.bins is not None:
        raise BadInput(f"losses of {table.group or table.loss!r} cannot be divided into groups")
    counted = np.ones_like(table.values, bool) if table.counted is None else table.counted
    found = []
    for group in np.unique(given):
        inside = (given == group)[:, None] & counted
        name = f"class {group}" if given.dtype.kind in "iu" else str(group)
        found.append(replace(table, counted=inside, values=np.where(inside, table.values, 0.0), group=name))
    return found


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


def _risk(loss: str | Loss) -> tuple[str, Risk]:
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise UnknownName.of("loss", loss, LOSSES)
        return loss, LOSSES[loss]
    name = str(getattr(loss, "__name__", "custom"))
    if name in LOSSES or name in MEANS:  # of MEANS, those of masks are no losses of predictions
        if name not in LOSSES or loss is not LOSSES[name].function:
            raise BadInput(
                f"a loss of your own needs a name of its own: {name!r} is prudent's, and claims would say so"
            )
        return name, LOSSES[name]
    return name, Risk(loss)


def _each(lost: object, n: int, name: str, risk: Risk) -> Float64[np.ndarray, " n"]:
    """What a loss returned, if it is one number in its range for each example; NaN only from losses of prudent's."""
    found = np.asarray(lost)
    if found.shape != (n,) or found.dtype.kind not in "biuf":
        came = f"{type(lost).__name__} of shape {found.shape} and dtype {found.dtype}"
        raise BadInput(f"a loss returns one number for each of {n} examples, shape ({n},); {name!r} returned {came}")
    numbers = found.astype(np.float64)
    inside = (numbers >= risk.low) & (numbers <= risk.high)
    if not (inside | np.isnan(numbers)).all() or (name not in LOSSES and not inside.all()):
        came = f"{np.nanmin(numbers)} .. {np.nanmax(numbers)}" if not np.isnan(numbers).all() else "NaN"
        raise BadInput(f"losses lie in [{risk.low:g}, {risk.high:g}]; {name!r} returned {came} or NaN")
    return numbers


def _settled(
    risk: Risk, name: str, chosen: Mapping[str, float | int | str]
) -> tuple[tuple[str, float | int | str], ...]:
    """The options as they were used, defaults included: the claim names them."""
    if name not in LOSSES:
        return tuple(sorted(chosen.items()))
    options = inspect.signature(risk.function).parameters.values()
    return tuple(sorted((p.name, chosen.get(p.name, p.default)) for p in options if p.kind is p.KEYWORD_ONLY))
