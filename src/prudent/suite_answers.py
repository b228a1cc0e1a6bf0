"""What the networks of a finished study answered in its suite, as its figures ask for it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool

from prudent.archive import predictions_from_bytes
from prudent.errors import BadInput
from prudent.graph import DENSE
from prudent.potential import TaskErrors
from prudent.results import Finished
from prudent.sections import Suite
from prudent.settings import Method
from prudent.shift_names import NOMINAL, corrupted, noisy
from prudent.types import Predictions

Address = tuple[int, str, float]
"""Seed, method and sparsity of a network."""


@dataclass(frozen=True)
class Answers:
    """A finished study with a suite.

    Args:
        finished: the study.
        seen: what was decided wrongly so far, by address and name: read once, and used by many figures.
    """

    finished: Finished
    seen: dict[tuple[Address, str], Bool[np.ndarray, " n"]] = field(default_factory=dict)

    @property
    def options(self) -> Suite:
        """What the study asks for.

        Raises:
            BadInput: a study without a suite.
        """
        asked = self.finished.study.evaluation.suite_options
        if asked is None:
            raise BadInput("this study asks for no suite")
        return asked

    def has(self, kind: str) -> bool:
        """Whether every network was measured by this kind of cell."""
        return all(kind in trio.suite for trio in self.finished.graph.networks.values())

    def values(self, address: Address, kind: str) -> dict[str, Any] | None:
        """The small numbers of a cell; None where there is none."""
        cell = self.finished.graph.networks[address].suite.get(kind)
        return None if cell is None else dict(self.finished.records[cell.key]["values"])

    def predictions(self, address: Address, kind: str, name: str) -> Predictions:
        """What a network answered in a cell, by the name of the output."""
        cell = self.finished.graph.networks[address].suite[kind]
        record = self.finished.records[cell.key]
        return predictions_from_bytes(self.finished.store.read(cell.key, name, record=record))

    def on_test(self, address: Address) -> Predictions:
        """What a network answered on the whole test split."""
        found = self.finished.predictions(*address, "test")
        if found is None:
            raise AssertionError("every network is asked for its answers on the test split")
        return found

    def wrong(self, address: Address, name: str) -> Bool[np.ndarray, " n"]:
        """Whether a network was wrong on each of the shifted images of a name: (n,)."""
        if (address, name) not in self.seen:
            found = self.predictions(address, "shifted", name)
            self.seen[address, name] = found.decisions != found.labels
        return self.seen[address, name]

    def tasks(self) -> Iterator[tuple[str, list[str]]]:
        """Name of a task -> the outputs that belong to it: the images as they are, each corruption, noise."""
        yield NOMINAL, [NOMINAL]
        for name in self.options.corruptions:
            yield name, [corrupted(name, severity) for severity in self.options.severities]
        if self.options.noises:
            yield "noise", [noisy(size) for size in self.options.noises]

    def errors(self, method: Method, names: list[str]) -> TaskErrors:
        """Wrong answers of a method's networks on all of these outputs together."""
        seeds = self.finished.study.seeds
        each = [[(seed, method.name, s) for s in method.sparsities] for seed in seeds]
        counts = [[self._count(address, names) for address in row] for row in each]
        return TaskErrors(
            wrong=np.array(counts, np.int64),
            dense=np.array([self._count((seed, *DENSE), names) for seed in seeds], np.int64),
            n=len(names) * len(self.wrong((seeds[0], *DENSE), names[0])),
        )

    def _count(self, address: Address, names: list[str]) -> int:
        return sum(int(np.count_nonzero(self.wrong(address, name))) for name in names)
