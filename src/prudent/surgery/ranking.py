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
        scores: of weights (the weight's shape) or of output channels (channels,); or of the units themselves.
        reduction: "sum", "mean", "max" or "l2" over the weights of a unit.

    Raises:
        BadInput: no unit has a score.
    """
    shapes = {entry.name: entry.families.shape for entry in layout.entries}
    if {name: tuple(score.shape) for name, score in scores.items()} == shapes:
        return {name: score.detach().float().cpu() for name, score in scores.items()}
    makers = _Sums(layout)
    readers = _Sums(layout)
    for name, arrays in layout.cover.items():
        if name not in scores:
            continue
        score = scores[name].detach().double().cpu().numpy()
        for units in arrays:
            live = [d for d, n in enumerate(units.shape) if n > 1]
            if len(live) == 1 and (name, live[0]) in layout.trace.makers:
                makers.add(units, score, live[0])
            elif len(live) == 1 and score.ndim > 1:
                readers.add(units, score, live[0])
    found, counted = makers.reduced(reduction)
    others, read = readers.reduced(reduction)
    values = np.where(counted, found, others)
    start, result = 1, {}
    for name, shape in shapes.items():
        end = start + int(np.prod(shape))
        if (counted | read)[start:end].all():
            result[name] = torch.from_numpy(values[start:end].reshape(shape)).float()
        start = end
    if not result:
        raise BadInput(f"there is no score for the units of {', '.join(shapes)}: no scored weight makes or reads them")
    return result


class _Sums:
    """Running sum, sum of squares, maximum and count for each unit."""

    def __init__(self, layout: Layout) -> None:
        n = 1 + sum(entry.families.size for entry in layout.entries)
        self.sum, self.squares, self.count = np.zeros(n), np.zeros(n), np.zeros(n)
        self.max = np.full(n, -np.inf)

    def add(self, units: np.ndarray, score: np.ndarray, dim: int) -> None:
        numbers = units.reshape(-1)
        lines = score.reshape(-1, 1) if score.ndim == 1 else np.moveaxis(score, dim, 0).reshape(len(numbers), -1)
        np.add.at(self.sum, numbers, lines.sum(axis=1))
        np.add.at(self.squares, numbers, (lines**2).sum(axis=1))
        np.maximum.at(self.max, numbers, lines.max(axis=1))
        np.add.at(self.count, numbers, lines.shape[1])

    def reduced(self, reduction: Reduction) -> tuple[np.ndarray, np.ndarray]:
        there = self.count > 0
        value = {
            "sum": self.sum,
            "mean": self.sum / np.maximum(self.count, 1),
            "max": np.where(there, self.max, 0.0),
            "l2": np.sqrt(self.squares),
        }[reduction]
        return value, there
