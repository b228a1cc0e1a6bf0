"""Families out of a network: the user's own class where it can say the new sizes, else a graph; and the proof."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from torch import fx, nn
from torch.export import ExportedProgram

from prudent.errors import CannotPrune, PrudentError, reason
from prudent.examples import Example
from prudent.surgery.emission import emit, exported, graph_from, resize
from prudent.surgery.forgetting import forgotten
from prudent.surgery.halving import parts_to_refuse
from prudent.surgery.layouts import Layout
from prudent.surgery.operations import operations_in
from prudent.surgery.plans import Plan, apply_plan
from prudent.surgery.proving import CannotTell, Proof, prove
from prudent.surgery.restoring import attention_rates
from prudent.surgery.slicing import attention_attributes, plan_without
from prudent.surgery.statistics import OfTheRest
from prudent.surgery.suspicion import Cut, suspected_families
from prudent.surgery.tracing import Trace, walk

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


ATTEMPTS = 64
"""Proofs, after the first, by which it is found out which layers cannot be cut."""


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
    work = _Work(masked=masked, traced=units.trace, example=example)
    try:
        return _removed(work, units.families_of(wanted))
    except CannotTell:
        raise
    except CannotPrune as error:
        if len(wanted) == 1:
            raise
        first = error
    made: list[Removal] = []

    def gone(names: Sequence[str]) -> np.ndarray:
        return units.families_of({name: wanted[name] for name in names})

    def attempt(names: list[str]) -> None:
        # what needs a graph needs one with more of it
        made.append(_removed(work, gone(names), graph_only=bool(made) and made[-1].form == "graph"))

    def suspects(names: list[str]) -> dict[str, str]:
        families = _suspected(work, gone(names))
        found = {name: [families[f] for f in np.flatnonzero(gone([name])).tolist() if f in families] for name in names}
        return {name: said[0] for name, said in found.items() if said}

    kept = parts_to_refuse(list(wanted), first, attempt, suspects=suspects, limit=ATTEMPTS)
    if not made:
        raise first
    return replace(made[-1], kept=kept)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Work:
    """A masked network, and the graph of it that all attempts share: it is exported once, or found not to be."""

    masked: nn.Module
    traced: Trace
    example: Example

    @cached_property
    def _export(self) -> tuple[ExportedProgram, Trace] | CannotPrune:
        try:
            program = exported(self.masked, self.example)
            graph = graph_from(self.masked, program)
            return program, walk(self.masked, operations_in(program), graph=graph.graph)
        except CannotPrune as error:
            return error

    def graph(self) -> tuple[fx.GraphModule, Trace]:
        """A graph to be changed, and its labels. Raises CannotPrune if there is none."""
        if isinstance(self._export, CannotPrune):
            raise self._export
        return graph_from(self.masked, self._export[0]), self._export[1]

    @cached_property
    def rates(self) -> tuple[float, ...]:
        """Of dropout in its attentions."""
        return attention_rates(self.masked, self.graph()[0], self.example)


def _removed(work: _Work, gone: np.ndarray, *, graph_only: bool = False) -> Removal:
    masked, traced, example = work.masked, work.traced, work.example
    plan = plan_for_modules(masked, traced, gone)
    changing = tuple(sorted({reason for family, reason in traced.families.changing.items() if gone[family]}))
    reference = _of_the_rest(work, gone) if changing else masked
    try:
        if not graph_only:
            small = apply_plan(masked, plan)
            proof = prove(reference, small, example, plan=None if changing else plan)
            return Removal(model=small, plan=plan, proof=proof, form="module", changing=changing)
    except CannotTell:
        raise  # a graph would not tell more
    except CannotPrune:
        pass
    emitted = _as_graph(work, gone, plan)
    plan = Plan(slices=plan.slices)
    proof = prove(reference, emitted, example, plan=None if changing else plan)
    lost = forgotten(masked, emitted)
    return Removal(model=emitted, plan=plan, proof=proof, form="graph", changing=changing, lost=lost)


def _suspected(work: _Work, gone: np.ndarray) -> dict[int, str]:
    """Families that may be why a cut fails -> a word on each; none if nothing can be said."""
    try:
        plan = plan_for_modules(work.masked, work.traced, gone)
        graph, again = work.graph()
        removed = _same(work.traced, again, gone)
        small = work.graph()[0]
        errors = resize(work.masked, small, again, removed, plan)
        small.recompile()
        wrong = {name: str(error) for name, error in errors.items()}
        cut = Cut(traced=again, gone=removed, wrong=wrong)
        found = suspected_families(graph, small, cut, work.example)
    except Exception:  # noqa: BLE001 (as for a graph that is to be kept; without suspects the search only takes longer)
        return {}
    mine: dict[int, str] = {}
    for name, fields in work.traced.parameters.items():
        for own, other in zip(fields, again.parameters.get(name, ()), strict=False):
            same = again.families.of[other.labels]
            there = np.isin(same, list(found))
            pairs = np.stack([work.traced.families.of[own.labels][there], same[there]])
            mine |= {family: found[known] for family, known in np.unique(pairs, axis=1).T.tolist()}
    return mine


def plan_for_modules(model: nn.Module, traced: Trace, gone: np.ndarray) -> Plan:
    """The plan that removes these families, with the attributes of the user's own modules, as far as they are guessed.

    Raises:
        CannotPrune: what stays is no rectangular tensor.
    """
    plan = plan_without(model, traced, gone)
    named = attention_attributes(model, plan, traced, gone)
    return Plan(slices=plan.slices, attributes={**plan.attributes, **named})


def _as_graph(work: _Work, gone: np.ndarray, plan: Plan) -> fx.GraphModule:
    try:
        graph, again = work.graph()
        return emit(work.masked, graph, again, _same(work.traced, again, gone), plan, rates=work.rates)
    except PrudentError:
        raise
    except Exception as error:  # the graph's code is torch's, and what it stumbles over is anybody's
        raise CannotPrune(f"the network cannot be rewritten as a smaller graph: {reason(error)}") from error


def _of_the_rest(work: _Work, gone: np.ndarray) -> nn.Module:
    graph, again = work.graph()
    return OfTheRest(graph, again, _same(work.traced, again, gone))


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
