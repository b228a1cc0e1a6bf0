"""Families out of a network: the user's own class where it can say the new sizes, else a graph; and the proof."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from torch import fx, nn

from prudent.errors import CannotPrune, PrudentError, reason
from prudent.examples import Example
from prudent.surgery.emission import emit, graph_of
from prudent.surgery.forgetting import forgotten
from prudent.surgery.layouts import Layout
from prudent.surgery.plans import Plan, apply_plan
from prudent.surgery.proving import CannotTell, Proof, prove
from prudent.surgery.restoring import attention_rates
from prudent.surgery.slicing import attention_attributes, plan_without
from prudent.surgery.statistics import OfTheRest
from prudent.surgery.tracing import Trace

Form = Literal["module", "graph"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Removal:
    """What came out of it.

    Args:
        model: the smaller network.
        plan: which elements of the original it keeps.
        proof: that it computes what the masked network computes.
        form: "module", the user's class with smaller layers; "graph", the traced graph, where the user's code says
            sizes that cannot be changed.
        kept: layer -> why its units were kept after all, though the mask empties them.
        changing: normalisations over channels that now have the statistics of what is left. The proof then compares
            with the masked network with these statistics, and not with the masked network itself.
        lost: dropout that a graph no longer has in training (see prudent.surgery.forgetting).
    """

    model: nn.Module
    plan: Plan
    proof: Proof
    form: Form
    kept: Mapping[str, str] = field(default_factory=dict)
    changing: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


def remove(masked: nn.Module, units: Layout, removed: Mapping[str, np.ndarray], example: Example) -> Removal:
    """Cut units out of a masked network, prove that nothing changed, and keep those for which it cannot be proved.

    Args:
        masked: the network with the units' elements zero. Not changed.
        units: what its units are.
        removed: entry -> bool for each unit.
        example: inputs for the proof.

    Raises:
        CannotPrune: not one layer's units can be removed.
    """
    wanted = {name: which for name, which in removed.items() if which.any()}
    try:
        return _removed(masked, units.trace, units.families_of(wanted), example)
    except CannotTell:
        raise
    except CannotPrune as error:
        if len(wanted) == 1:
            raise
        first = error
    kept: dict[str, str] = {}
    half = len(wanted) // 2
    fine = [name for part in (list(wanted)[:half], list(wanted)[half:])
            for name in _fine(masked, units, {name: wanted[name] for name in part}, example, kept)]  # fmt: skip
    if not fine:
        raise first
    made = _removed(masked, units.trace, units.families_of({name: wanted[name] for name in fine}), example)
    return replace(made, kept=kept)


def _fine(
    masked: nn.Module, units: Layout, wanted: Mapping[str, np.ndarray], example: Example, kept: dict[str, str]
) -> list[str]:
    """The layers whose units can be removed, found by halving, since each attempt is proved; `kept` gets the others."""
    try:
        _removed(masked, units.trace, units.families_of(wanted), example)
    except CannotPrune as error:
        names = list(wanted)
        if len(names) == 1:
            kept[names[0]] = str(error)
            return []
        half = len(names) // 2
        parts = names[:half], names[half:]
        return [n for part in parts for n in _fine(masked, units, {name: wanted[name] for name in part}, example, kept)]
    return list(wanted)


def _removed(masked: nn.Module, traced: Trace, gone: np.ndarray, example: Example) -> Removal:
    plan = plan_for_modules(masked, traced, gone)
    changing = tuple(sorted({reason for family, reason in traced.families.changing.items() if gone[family]}))
    reference = _of_the_rest(masked, traced, gone, example) if changing else masked
    try:
        small = apply_plan(masked, plan)
        proof = prove(reference, small, example, plan=None if changing else plan)
        return Removal(model=small, plan=plan, proof=proof, form="module", changing=changing)
    except CannotTell:
        raise  # a graph would not tell more
    except CannotPrune:
        pass
    emitted = _as_graph(masked, traced, gone, plan, example)
    plan = Plan(slices=plan.slices)
    proof = prove(reference, emitted, example, plan=None if changing else plan)
    lost = forgotten(masked, emitted)
    return Removal(model=emitted, plan=plan, proof=proof, form="graph", changing=changing, lost=lost)


def plan_for_modules(model: nn.Module, traced: Trace, gone: np.ndarray) -> Plan:
    """The plan that removes these families, with the attributes of the user's own modules, as far as they are guessed.

    Raises:
        CannotPrune: what stays is no rectangular tensor.
    """
    plan = plan_without(model, traced, gone)
    named = attention_attributes(model, plan, traced, gone)
    return Plan(slices=plan.slices, attributes={**plan.attributes, **named})


def _as_graph(masked: nn.Module, traced: Trace, gone: np.ndarray, plan: Plan, example: Example) -> fx.GraphModule:
    try:
        graph, again = graph_of(masked, example)
        rates = attention_rates(masked, graph, example)
        return emit(masked, graph, again, _same(traced, again, gone), plan, rates=rates)
    except PrudentError:
        raise
    except Exception as error:  # the graph's code is torch's, and what it stumbles over is anybody's
        raise CannotPrune(f"the network cannot be rewritten as a smaller graph: {reason(error)}") from error


def _of_the_rest(masked: nn.Module, traced: Trace, gone: np.ndarray, example: Example) -> nn.Module:
    graph, again = graph_of(masked, example)
    return OfTheRest(graph, again, _same(traced, again, gone))


def _same(traced: Trace, again: Trace, gone: np.ndarray) -> np.ndarray:
    """The families of another trace of the same network that hold the same elements of its parameters."""
    found = np.zeros(int(again.families.of.max(initial=0)) + 1, dtype=bool)
    for name, fields in traced.parameters.items():
        for mine, other in zip(fields, again.parameters.get(name, ()), strict=False):
            dead = gone[traced.families.of[mine.labels]]
            found[np.unique(again.families.of[other.labels[dead]])] = True
    return again.families.removed(_with_rows(again, found))


def _with_rows(again: Trace, found: np.ndarray) -> np.ndarray:
    """Rows all of whose members are gone are gone."""
    rows = again.families.rows
    for row, members in rows.items():
        if members and all(found[member] for member in members):
            found[row] = True
    return found
