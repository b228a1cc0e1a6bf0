"""Scores of weights -> scores of the units of a traced network."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from prudent.errors import BadInput
from prudent.surgery.layouts import Layout
from prudent.units import Reduction


def scores_of_units(layout: Layout, scores: Mapping[str, Tensor], reduction: Reduction) -> dict[str, Tensor]:
    """Scores under the names and in the shapes of the layout's entries.

    A unit's score is made of the scores of all weights that make it: of every layer, where several are coupled. Units
    that no scored weight makes (hidden units of an LSTM) are judged by the weights that read them; those that no scored
    weight reads either are left out, and so stay.

    Args:
        layout: the units.
        scores: of weights (the weight's shape) or of output channels (channels,); or of the units themselves, or of
            those of some entries.
        reduction: "sum", "mean", "max" or "l2" over the weights of a unit.

    Raises:
        BadInput: no unit has a score.
    """
    shapes = {entry.name: entry.families.shape for entry in layout.entries}
    if of_units(layout, scores):
        return {name: score.detach().float().cpu() for name, score in scores.items()}
    values, counted = _reduced(layout, scores, reduction, reading=False)
    read = counted
    if not counted[1:].all():
        others, read = _reduced(layout, scores, reduction, reading=True)
        values = np.where(counted, values, others)
    start, result = 1, {}
    for name, shape in shapes.items():
        end = start + int(np.prod(shape))
        if (counted | read)[start:end].all():
            result[name] = torch.from_numpy(values[start:end].reshape(shape)).float()
        start = end
    if not result:
        raise BadInput(f"there is no score for the units of {', '.join(shapes)}: no scored weight makes or reads them")
    return result


def of_units(layout: Layout, scores: Mapping[str, Tensor]) -> bool:
    """Whether scores are those of units already, of all entries of the layout or of some."""
    shapes = {entry.name: entry.families.shape for entry in layout.entries}
    return bool(scores) and {name: tuple(score.shape) for name, score in scores.items()}.items() <= shapes.items()


def _reduced(
    layout: Layout, scores: Mapping[str, Tensor], reduction: Reduction, *, reading: bool
) -> tuple[np.ndarray, np.ndarray]:
    """For each unit, from 1: the score of what makes it, or of what reads it; and whether there is any."""
    n = 1 + sum(entry.families.size for entry in layout.entries)
    value, count = np.zeros(n), np.zeros(n)
    largest = np.full(n, -np.inf)
    for name, arrays in layout.cover.items():
        if name not in scores:
            continue
        score = scores[name].detach()
        for units in arrays:
            live = [d for d, m in enumerate(units.shape) if m > 1]
            reads = len(live) == 1 and (name, live[0]) not in layout.trace.makers
            if len(live) != 1 or reads != reading or (reads and score.ndim == 1):
                continue
            numbers = units.reshape(-1)
            others = [d for d in range(score.ndim) if score.ndim > 1 and d != live[0]]
            if reduction == "max":
                np.maximum.at(largest, numbers, (score.amax(others) if others else score).double().cpu().numpy())
            else:
                part = score.double().square() if reduction == "l2" else score
                part = part.sum(others, dtype=torch.float64) if others else part.double()
                value += np.bincount(numbers, part.cpu().numpy(), n)
            count += np.bincount(numbers, minlength=n) * (score.numel() // len(numbers))
    there = count > 0
    if reduction == "max":
        return np.where(there, largest, 0.0), there
    if reduction == "l2":
        return np.sqrt(value), there
    return (value / np.maximum(count, 1) if reduction == "mean" else value), there
