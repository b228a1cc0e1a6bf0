"""What another retraining does to the same pruning: robust beside nominal, task by task and seed by seed."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Literal

import numpy as np

from prudent.intervals import over_seeds, paired_over_seeds
from prudent.potential import TaskErrors, prune_potential
from prudent.settings import Method
from prudent.shift_names import NOMINAL
from prudent.suite_answers import Answers

ROBUST = {"corruptions", "severities", "label_noise", "objective", "objective_options"}
"""Keys of [retraining] that make it another one than the nominal retraining."""


def retraining_effects(answers: Answers) -> list[dict[str, Any]]:
    """Every method that has a twin which differs in its retraining alone, beside that twin.

    Each network is compared with the twin's network of its seed, which was pruned from the same dense network. Errors
    and prune potentials are those of the images as they are, of the corruptions that it was retrained on, of those that
    were held out, and of noise.

    Returns: one entry for each: method, beside (the nominal twin), differs (key -> its own value), tasks: name ->
        names (the suite's tasks in it), own and other (prune potentials over seeds), change (their paired difference),
        errors: one for each sparsity, with own, other and change. Changes are own less other.
    """
    if not answers.has("shifted"):
        return []
    return [_effect(answers, own, other) for own, other in _twins(answers.finished.study.methods)]


def _twins(methods: list[Method]) -> Iterator[tuple[Method, Method]]:
    """Methods that differ in nothing but keys of ROBUST, of which the second has none."""
    for own in methods:
        for other in methods:
            if own is not other and not _special(other) and _special(own) and _plain(own) == _plain(other):
                yield own, other


def _special(method: Method) -> dict[str, Any]:
    """Which of the robust keys are turned on, and to what."""
    return {key: value for key, value in method.retraining.model_dump().items() if key in ROBUST and value}


def _plain(method: Method) -> dict[str, Any]:
    """All of a method but its names and how robustly it is retrained."""
    given = method.model_dump(exclude={"name", "title"})
    return given | {"retraining": {k: v for k, v in given["retraining"].items() if k not in ROBUST}}


def _effect(answers: Answers, own: Method, other: Method) -> dict[str, Any]:
    return {
        "method": own.name,
        "beside": other.name,
        "differs": _special(own),
        "tasks": {
            name: _task(answers, own, other, names) for name, names in _groups(answers, own).items() if names
        },
    }  # fmt: skip


def _groups(answers: Answers, own: Method) -> dict[str, list[str]]:
    """Name of a group -> the suite's tasks in it."""
    learnt = set(own.retraining.corruptions or ())
    asked = answers.options.corruptions
    return {
        "nominal": [NOMINAL],
        "retrained_on": [name for name in asked if name in learnt],
        "held_out": [name for name in asked if name not in learnt],
        "noise": ["noise"] if answers.options.noises else [],
    }


def _task(answers: Answers, own: Method, other: Method, names: list[str]) -> dict[str, Any]:
    outputs = dict(answers.tasks())
    together = [one for name in names for one in outputs[name]]
    errors = [answers.errors(method, together) for method in (own, other)]
    potentials = [_potentials(each, own.sparsities, answers.options.tolerated) for each in errors]
    rates = [each.wrong / each.n for each in errors]
    return {
        "names": names,
        **_compared(potentials[0], potentials[1], better="higher"),
        "errors": [
            {"requested": s} | _compared(rates[0][:, i].tolist(), rates[1][:, i].tolist(), better="lower")
            for i, s in enumerate(own.sparsities)
        ],
    }


def _potentials(errors: TaskErrors, sparsities: list[float], delta: float) -> list[float]:
    """The prune potential of each seed."""
    return [
        prune_potential(wrong.tolist(), sparsities, dense_wrong=int(dense), n=errors.n, delta=delta)
        for wrong, dense in zip(errors.wrong, np.asarray(errors.dense), strict=True)
    ]


def _compared(own: list[float], other: list[float], *, better: Literal["lower", "higher"]) -> dict[str, Any]:
    return {
        "own": asdict(over_seeds(own, better=better, within=(0, 1))),
        "other": asdict(over_seeds(other, better=better, within=(0, 1))),
        "change": asdict(paired_over_seeds(other, own, better=better)),
    }
