"""What changed most, in units of how much dense networks differ from seed to seed."""

import math
from typing import Any

from prudent.report import answers
from prudent.report.changes import Change, changes, luck, spread_error
from prudent.report.looks import for_each_look
from prudent.report.measures import MEASURES, finely, has
from prudent.report.reading import Method, Run
from prudent.wording import fixed

END = 10.0
"""Longer bars are cut off here, in spreads."""


def view(run: Run) -> dict[str, Any] | None:
    """The ranked list for each look; None with one seed, where there is no spread to compare with."""
    seeds = len(run.seeds)
    if seeds < 2:
        return None
    limit = luck(seeds)
    # with two seeds luck reaches far; its mark and the word "worse" at the end need room beside each other
    end = max(END, math.ceil(2.2 * limit))
    low, high = spread_error(seeds)
    return {
        "seeds": seeds,
        "luck": fixed(limit, 1),
        "left": round(100 / 3 - 100 / 3 * limit / (end / 2), 2) if limit < end / 2 else None,
        "zero": round(100 / 3, 2),
        "right": round(100 / 3 + 200 / 3 * limit / end, 2),
        "end": f"{end:g}",
        "ratio": f"{fixed(low, 1)} to {fixed(high, 1)}",
        "looks": for_each_look(run, lambda run, method, i: _look(run, method, i, end)),
        "without_spread": _silent(run),
    }


def _silent(run: Run) -> list[str]:
    """Ranked measures that the run has but whose dense networks do not differ at all."""
    listed = {c.measure.key for c in changes(run, *run.start)}
    return [m.name for m in MEASURES if m.ranked and has(run, m.key) and m.key not in listed]


def _look(run: Run, method: Method, i: int, end: float) -> dict[str, Any]:
    found = changes(run, method, i)
    judged = [c for c in found if c.measure.better != "neither"]
    described = [c for c in found if c.measure.better == "neither"]
    return {
        "answer": answers.changed(method.title, run.sparsity(method, i), found),
        "judged": [_row(run, c, end) for c in judged],
        "described": [_row(run, c, end) for c in described],
    }


def _row(run: Run, change: Change, end: float) -> dict[str, Any]:
    """A bar from the middle: to the right = worse (for descriptions: more), to the left = better (less)."""
    effect, measure = change.effect or 0.0, change.measure
    reach = end if effect > 0 else end / 2
    length = (200 / 3 if effect > 0 else 100 / 3) * min(abs(effect), reach) / reach
    words = ("higher", "lower") if measure.better == "neither" else ("worse", "better")
    count, word = (change.worse, words[0]) if effect > 0 else (change.better, words[1])
    return {
        "name": measure.name,
        "term": measure.term,
        "dense": measure.show(change.dense, finely=finely(run)),
        "pruned": measure.show(change.pruned, finely=finely(run)),
        "effect": fixed(abs(effect), 1),
        "side": "right" if effect > 0 else "left",
        "width": round(length, 2),
        "cut": abs(effect) > reach,
        "beyond": change.clear,
        "seeds": f"{count} of {change.seeds} {word}",
    }
