"""Other data sets as strangers to a task: sets of strangers, or the test split of another task with its classes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64

from prudent.errors import BadInput
from prudent.pixel_scale import PixelScale, scale_of
from prudent.seeds import stream
from prudent.sources import load_data
from prudent.splits import Data, Examples


@dataclass(frozen=True, kw_only=True, eq=False)
class Foreign:
    """Strangers to a task.

    Args:
        name: of the data set.
        about: one sentence on what they are.
        examples: of the split "ood", without labels.
        kinds: (n,) the class of each in its own data set, 0 or more; None where it has none.
        names: of these classes.
    """

    name: str
    about: str
    examples: Examples
    kinds: Int64[np.ndarray, " n"] | None
    names: tuple[str, ...]


def load_foreign(
    name: str, options: Mapping[str, Any], *, like: Data, scale: PixelScale | None, most: int | None
) -> Foreign:
    """A data set by name as strangers to the task `like`.

    Grey images become images of three equal channels where the task has three.

    Args:
        name: of a set of strangers, or of another task.
        options: its own.
        like: the task.
        scale: of the task's inputs: the set's pixels are put on it. None for a set that is on it already.
        most: examples, drawn as `some_of` does; None for all.

    Raises:
        UnknownName: no such data set or option.
        BadInput: the set's files are absent, its inputs are of another shape than the task's, or the task itself.
    """
    data = load_data(name, dict(options))
    if data.name == like.name and data.classes:
        raise BadInput(f"strangers to {like.name!r} come from another data set; got {name!r}")
    examples = some_of(data.test if data.classes else data.splits["ood"], most)
    inputs = torch.from_numpy(examples.inputs)
    if inputs.shape[1:2] == (1,) and like.shape[:1] == (3,) and inputs.ndim == 4:
        inputs = inputs.repeat(1, 3, 1, 1)
    if tuple(inputs.shape[1:]) != like.shape:
        raise BadInput(
            f"strangers must have the format of the task, {like.shape}; {name!r} has {tuple(inputs.shape[1:])}"
        )
    if scale is not None and inputs.ndim == 4:
        inputs = scale.inputs(inputs)
    own = Examples(inputs=inputs.numpy(), labels=None, ids=examples.ids, split="ood")
    kinds = examples.labels if data.classes else None
    return Foreign(name=name, about=data.about, examples=own, kinds=kinds, names=data.classes)


def foreign_sets(options: Mapping[str, Any], data: Data) -> list[Foreign]:
    """The sets of strangers that the options name, on the scale of the task.

    Args:
        options: data, sets and examples, as for the cell `strangers`; `scaled` says that a set is on the task's scale
            already.
        data: the task.

    Raises:
        As `load_foreign`.
    """
    scale = scale_of(options["data"]["options"])
    return [
        load_foreign(
            one["name"],
            one["options"],
            like=data,
            scale=None if one["scaled"] else scale,
            most=options["examples"],
        )
        for one in options["sets"]
    ]


def some_of(examples: Examples, most: int | None) -> Examples:
    """At most so many of the examples, in their order: always the same ones, and fewer are some of more."""
    if most is None or most >= len(examples):
        return examples
    order = np.random.default_rng(stream("examples of a suite", 0)).permutation(len(examples))
    at = np.sort(order[:most])
    return replace(
        examples,
        inputs=examples.inputs[at],
        labels=None if examples.labels is None else examples.labels[at],
        ids=examples.ids[at],
        masks=None if examples.masks is None else examples.masks[at],
    )
