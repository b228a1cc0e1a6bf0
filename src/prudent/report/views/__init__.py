"""The sections of the page. One section = one line here, one file in this folder, one template of the same name.

A view turns a run into a plain dict for its template, or None where the run lacks what the section needs: then it is
absent. What the dict holds under "data" goes to the charts of the section, as JSON.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prudent.report.reading import Run
from prudent.report.views import (
    alike,
    beyond,
    changed,
    confidence,
    cost,
    doubt,
    layers,
    maps,
    proof,
    resplits,
    speed,
    strangers,
    teams,
    trust,
)


@dataclass(frozen=True)
class Section:
    """One question of the page.

    Args:
        id: its address on the page, and the name of its template.
        question: its heading.
        short: its name in the list of contents.
        view: run -> what its template shows.
    """

    id: str
    question: str
    short: str
    view: Callable[[Run], dict[str, Any] | None]


SECTIONS = (
    Section("cost", "What does pruning cost?", "What does pruning cost?", cost.view),
    Section("confidence", "Can its confidence be believed?", "Can its confidence be believed?", confidence.view),
    Section("proof", "What is proved, and how?", "What is proved, and how?", proof.view),
    Section("resplits", "How sure, and how often wrong?", "How sure, how often wrong?", resplits.view),
    Section("speed", "Is it really smaller and faster?", "Smaller and faster?", speed.view),
    Section(
        "strangers", "What does it make of things it should not know?", "Things it should not know", strangers.view
    ),
    Section("doubt", "What does it say under dropout?", "Under dropout", doubt.view),
    Section("maps", "Where does it doubt?", "Where does it doubt?", maps.view),
    Section("beyond", "Beyond accuracy: what else was lost?", "Beyond accuracy", beyond.view),
    Section("changed", "What changed most?", "What changed most?", changed.view),
    Section("layers", "Where was it cut?", "Where was it cut?", layers.view),
    Section("alike", "Do the methods keep the same units?", "The same units?", alike.view),
    Section("teams", "Is a team of pruned networks better?", "A team of pruned networks?", teams.view),
    Section("trust", "Can this page be trusted?", "Can this page be trusted?", trust.view),
)
