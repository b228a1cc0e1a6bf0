"""Whose decisions moved where: between classes, between stranger and class, and on which examples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int32, Int64

from prudent.errors import BadInput
from prudent.loss_tables import check_same_examples
from prudent.types import Predictions


def churn(predictions: Predictions, dense: Predictions) -> Int64[np.ndarray, "classes classes"]:
    """How many examples the dense network decides for row r, and these predictions for column c: (classes, classes).

    The diagonal is agreement. Rows add up to the dense network's decisions, columns to these.

    Raises:
        BadInput: predictions on different examples, splits or classes.
    """
    check_same_examples(predictions, dense)
    classes = predictions.classes
    counts = np.bincount(dense.decisions * classes + predictions.decisions, minlength=classes**2)
    return counts.astype(np.int64).reshape(classes, classes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Reallocation:
    """Which class of the task each class of strangers is taken for, by the dense network and by another.

    Args:
        dense: (strangers, classes) counts of the dense network's decisions, a row for each class of strangers.
        pruned: (strangers, classes) the same of the other network.
    """

    dense: Int64[np.ndarray, "strangers classes"]
    pruned: Int64[np.ndarray, "strangers classes"]


@dataclass(frozen=True, kw_only=True)
class Movement:
    """A class of strangers and a class of the task that it is taken for more often, or less.

    Args:
        stranger: row of the reallocation.
        taken_for: column.
        dense, pruned: share of the strangers of this class, in [0, 1], that each network takes for it.
    """

    stranger: int
    taken_for: int
    dense: float
    pruned: float

    @property
    def change(self) -> float:
        """pruned - dense, in [-1, 1]."""
        return self.pruned - self.dense


def reallocate(
    predictions: Predictions, dense: Predictions, strangers: Int64[np.ndarray, " n"], *, classes: int | None = None
) -> Reallocation:
    """Count which class of the task each class of OOD examples is taken for, dense beside pruned.

    Args:
        predictions, dense: of both networks on the same OOD examples.
        strangers: (n,) the class of each example in its own data set, 0 or more.
        classes: how many classes of strangers there are; by default as many as occur.

    Raises:
        BadInput: predictions on different examples or classes, examples of the task (split other than "ood"), strangers
            of another length or outside their classes.
    """
    check_same_examples(predictions, dense)
    if predictions.split != "ood":
        raise BadInput(f"a reallocation is about examples that are not from the task; these are {predictions.split!r}")
    if strangers.shape != (predictions.n,) or strangers.min() < 0:
        raise BadInput(f"one class >= 0 for each of {predictions.n} strangers is needed; got shape {strangers.shape}")
    rows = int(strangers.max()) + 1 if classes is None else classes
    if strangers.max() >= rows:
        raise BadInput(f"classes of strangers lie in 0 .. {rows - 1}; got {int(strangers.max())}")
    columns = predictions.classes
    both = [
        np.bincount(strangers * columns + p.decisions, minlength=rows * columns).astype(np.int64).reshape(rows, columns)
        for p in (dense, predictions)
    ]
    return Reallocation(dense=both[0], pruned=both[1])


def largest_movements(found: Reallocation, *, most: int = 10) -> tuple[Movement, ...]:
    """The pairs of stranger and class whose share changed most, largest change first; those that did not are left out.

    Shares are of the class of strangers, so small classes move easily: read them beside the counts. Ties: the lower
    row, then the lower column.

    Args:
        found: from `reallocate`.
        most: how many, >= 1.

    Raises:
        BadInput: most < 1.
    """
    if most < 1:
        raise BadInput(f"at least one movement is asked for; got most={most}")
    total = np.maximum(found.dense.sum(axis=1, keepdims=True), 1)
    before, after = found.dense / total, found.pruned / total
    # one division of whole numbers: equal movements are equal, and their order is not a rounding's
    moved = (np.abs(found.pruned - found.dense) / total).ravel()
    order = np.argsort(-moved, kind="stable")[:most]
    columns = found.dense.shape[1]
    return tuple(
        Movement(stranger=int(i) // columns, taken_for=int(i) % columns,
                 dense=float(before.ravel()[i]), pruned=float(after.ravel()[i]))
        for i in order if moved[i] > 0
    )  # fmt: skip


def modal_decisions(networks: Sequence[Predictions]) -> Int64[np.ndarray, " n"]:
    """The decision that most of several networks make for each example: (n,); ties: the lowest class.

    Raises:
        BadInput: no networks, or predictions on different examples, splits or classes.
    """
    if not networks:
        raise BadInput("a modal decision needs at least one network's predictions")
    modal: Int64[np.ndarray, " n"] = _votes(networks).argmax(axis=1).astype(np.int64)
    return modal


def _votes(networks: Sequence[Predictions]) -> Int32[np.ndarray, "n classes"]:
    """How many of the networks decide each example for each class."""
    first = networks[0]
    votes = np.zeros((first.n, first.classes), np.int32)
    for other in networks:
        check_same_examples(other, first)
        votes[np.arange(first.n), other.decisions] += 1
    return votes


def _most_voted(networks: Sequence[Predictions]) -> Bool[np.ndarray, "n classes"]:
    """The classes that no other has more votes than: several where they tie."""
    votes = _votes(networks)
    most: Bool[np.ndarray, "n classes"] = votes == votes.max(axis=1, keepdims=True)
    return most


def exemplars(pruned: Sequence[Predictions], dense: Sequence[Predictions]) -> Bool[np.ndarray, " n"]:
    """Compression-identified exemplars: examples that most pruned networks decide otherwise than most dense ones do.

        modal decision over the pruned networks != modal decision over the dense networks

    Where classes tie, each of them is modal, and the networks differ if they have none in common: a tie, which is
    frequent among few networks, is no change of mind. Needs no labels. Comparing two populations keeps out what differs
    between any two trainings, given enough networks: the source has 30 of each.

    Args:
        pruned: networks of one method and sparsity, from several seeds.
        dense: dense networks, from several seeds.

    Returns: (n,) True where they differ.

    Raises:
        BadInput: no networks of one kind, or predictions on different examples, splits or classes.

    Source: Hooker et al. 2019, "What Do Compressed Deep Neural Networks Forget?", arXiv:1911.05248, section 2.2;
    what it does with ties is not said there.
    """
    if not pruned or not dense:
        raise BadInput(f"pruned and dense networks are compared; got {len(pruned)} and {len(dense)}")
    check_same_examples(pruned[0], dense[0])
    differ: Bool[np.ndarray, " n"] = ~(_most_voted(pruned) & _most_voted(dense)).any(axis=1)
    return differ
