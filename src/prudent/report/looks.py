"""What the page can be turned to by its one control: every method at every sparsity.

Parts that follow the control are rendered once for each look, and all but one are hidden; so words and numbers come
from one place, and without JavaScript the first look is still there.
"""

from collections.abc import Callable, Sequence
from typing import Any

from prudent.report.palette import styles
from prudent.report.reading import Method, Run
from prudent.report.writing import cut, number, removed


def address(method: Method, i: int) -> str:
    """Of a look, as the page's elements carry it: "0:4"."""
    return f"{method.index}:{i}"


def for_each_look(run: Run, view: Callable[[Run, Method, int], dict[str, Any]]) -> list[dict[str, Any]]:
    """A view of every candidate, each with its address, its label, and whether it is shown first."""
    return [
        view(run, method, i)
        | {
            "at": address(method, i),
            "shown": (method, i) == run.start,
            "color": method_color(run, method),
            "label": f"{method.title}, {removed(run, method, i)} removed",
        }
        for method, i in run.candidates()
    ]


def for_each_method(run: Run, view: Callable[[Run, Method], dict[str, Any]]) -> list[dict[str, Any]]:
    """A view of every method, each with its address, its title, and whether it is shown first."""
    return [
        view(run, method)
        | {
            "at": str(method.index),
            "shown": method == run.start[0],
            "color": method_color(run, method),
            "title": method.title,
        }
        for method in run.methods
    ]


def method_color(run: Run, method: Method) -> str:
    """The role of a method's colour in the palette."""
    return styles(run.methods)[method.index].color


def look_of(run: Run) -> dict[str, Any]:
    """The control as it is before any script runs: the methods to choose from, and what is looked at first."""
    method, at = run.start
    return {
        "methods": [{"index": m.index, "title": m.title} for m in run.methods],
        "start": {"method": method.index, "candidate": at, "of": len(method.sparsities)},
    }


def look_data(run: Run) -> dict[str, Any]:
    """The same for the script: how each method is drawn, and what each candidate's certificate says."""
    method, at = run.start
    return {"method": method.index, "candidate": at, "methods": [_method_data(run, m) for m in run.methods]}


def labels(names: Sequence[str], most: int = 14) -> list[str]:
    """Names short enough to stand beside a line; those that would be cut to the same keep their ends."""
    short = [cut(name, most) for name in names]
    tail = most // 2
    return [
        f"{name[: most - tail - 1]}\u2026{name[-tail:]}" if short.count(own) > 1 else own
        for name, own in zip(names, short, strict=True)
    ]


def _method_data(run: Run, method: Method) -> dict[str, Any]:
    style = styles(run.methods)[method.index]
    return {
        "name": method.name,
        "label": labels([m.name for m in run.methods])[method.index],
        "short": cut(method.title, 32),
        "color": style.color,
        "marker": style.marker,
        "dash": style.dash,
        "declared": method == run.declared_method,
        "passed": passed(run, method),
        "candidates": [
            {
                "label": removed(run, method, i),
                "number": number(run.sparsity(method, i)),
                "kept": 1 - run.sparsity(method, i),
                **state(run, method, i),
            }
            for i in range(len(method.sparsities))
        ],
    }


def passed(run: Run, method: Method) -> int | None:
    """The sparsest candidate that passed for the declared risk and seed; None without one, or if it is broken."""
    _, risk, seed = run.declared
    address = method.name, risk, seed
    return None if address in run.broken else run.certificates[address].selected


def state(run: Run, method: Method, i: int) -> dict[str, str]:
    """What the certificate for the declared risk and seed says of a candidate: a word and its tone."""
    _, risk, seed = run.declared
    if (method.name, risk, seed) in run.broken:
        return {"word": "certificate broken", "tone": "bad"}
    found = run.certificates[method.name, risk, seed].states[i]
    if found == "passed":
        return {"word": "certified" if method == run.declared_method else "passes by itself", "tone": "good"}
    return {"word": "stopped here" if found == "stopped" else "not tested", "tone": ""}
