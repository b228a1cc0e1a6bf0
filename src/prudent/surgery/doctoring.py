"""What of a network can be pruned, how much that is, and why the rest cannot."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import nn

from prudent.errors import CannotPrune
from prudent.examples import Example
from prudent.network import parameters, prunable
from prudent.surgery.layouts import Layout, layout
from prudent.surgery.tracing import Trace, trace
from prudent.units import Granularity


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer, as surgery sees it.

    Args:
        name: of its parameter.
        units: how many output units it makes.
        exact: how many of them can be removed with the function of the masked network unchanged.
        changing: how many more if a normalisation may take its statistics over what is left.
        heads: how many attention heads it reads, if those can be removed.
        coupled: the other layers that lose a unit when this one does.
        reason: why the rest must stay; empty if there is no rest.
        parameters: how many it has.
    """

    name: str
    units: int
    exact: int
    changing: int
    heads: int
    coupled: tuple[str, ...]
    reason: str
    parameters: int

    @property
    def state(self) -> str:
        """In one word: "exact", "partly", "changing", "heads" or "stays"."""
        if self.exact == self.units:
            return "exact"
        if self.exact or self.heads:
            return "partly" if self.exact else "heads"
        return "changing" if self.changing else "stays"


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All layers of a network.

    Args:
        layers: in the order in which the network uses them.
        parameters: of the whole network.
        removable: parameters that belong to some unit that can be removed exactly, as a channel or with its head.
        problem: why nothing could be looked at, or empty: then only single weights can be pruned.
    """

    layers: tuple[Layer, ...]
    parameters: int
    removable: int
    problem: str = ""

    @property
    def share(self) -> float:
        """Fraction of the parameters that belong to removable units, in [0, 1]."""
        return self.removable / max(self.parameters, 1)


def diagnose(model: nn.Module, example: Example) -> Diagnosis:
    """Trace a network and say layer by layer what can be removed from it.

    Args:
        model: any network. Not changed.
        example: inputs (batch, ...); several examples are better than one.

    Returns: what can be pruned and why the rest cannot; a network that cannot be traced has no layers and a `problem`.

    Raises:
        CannotPrune: it has no weights that could be pruned at all.
    """
    prunable(model)
    total = parameters(model)
    try:
        traced = trace(model, example)
    except CannotPrune as error:
        return Diagnosis(layers=(), parameters=total, removable=0, problem=str(error))
    exact = _units(traced, "channel", changing=False)
    changing = _units(traced, "channel", changing=True)
    heads = _units(traced, "head", changing=False)
    state = model.state_dict(keep_vars=True)
    found = tuple(_layers(traced, exact, changing, heads, {name: int(value.numel()) for name, value in state.items()}))
    own = {name for name, _ in model.named_parameters()}
    removable = sum(_removable(name, traced, exact, heads) for name in traced.parameters if name in own)
    return Diagnosis(layers=found, parameters=total, removable=removable)


def _units(traced: Trace, granularity: Granularity, *, changing: bool) -> Layout | None:
    try:
        return layout(traced, granularity=granularity, changing=changing)
    except CannotPrune:
        return None


def _layers(
    traced: Trace, exact: Layout | None, changing: Layout | None, heads: Layout | None, sizes: dict[str, int]
) -> Iterator[Layer]:
    of = traced.families.of
    offered, more = _families(exact), _families(changing)
    members = _members(heads)
    homes: dict[int, list[str]] = {}
    for name, dim in sorted(traced.makers):
        for family in np.unique(of[_labels(traced, name, dim)]):
            homes.setdefault(int(family), []).append(name)
    for name, fields in traced.parameters.items():
        dims = [d for (n, d) in traced.makers if n == name]
        if not dims or not fields:
            continue
        families = [int(f) for d in dims for f in of[_labels(traced, name, d)]]
        if not families:
            continue
        stays = [f for f in families if f not in offered and f not in members]
        reasons = [traced.families.frozen.get(f) or traced.families.changing.get(f, "") for f in stays]
        yield Layer(
            name=name,
            units=len(families),
            exact=sum(f in offered for f in families),
            changing=sum(f in more and f not in offered for f in families),
            heads=_heads_of(name, heads),
            coupled=tuple(dict.fromkeys(n for f in families for n in homes.get(f, ()) if n != name)),
            reason=next(
                (r for r in reasons if r),
                "it lies in groups that overlap, and that must stay equally large" if stays else "",
            ),
            parameters=sizes.get(name, 0),
        )


def _labels(traced: Trace, name: str, dim: int) -> np.ndarray:
    fields = [field for field in traced.parameters.get(name, ()) if field.live == (dim,)]
    return fields[0].labels.reshape(-1) if fields else np.zeros(0, dtype=int)


def _families(units: Layout | None) -> set[int]:
    return {int(f) for entry in units.entries for f in entry.families.reshape(-1)} if units is not None else set()


def _members(heads: Layout | None) -> set[int]:
    if heads is None:
        return set()
    rows = _families(heads)
    return rows | {m for row in rows for m in heads.trace.families.rows[row]}


def _heads_of(name: str, heads: Layout | None) -> int:
    return sum(entry.families.size for entry in heads.entries if entry.name == name) if heads is not None else 0


def _removable(name: str, traced: Trace, exact: Layout | None, heads: Layout | None) -> int:
    """Elements of a parameter that belong to a unit that can be removed."""
    offered = np.array(sorted(_families(exact) | _members(heads)), dtype=int)
    fields = traced.parameters[name]
    if not fields or not offered.size:
        return 0
    stays = np.ones((), dtype=bool)
    sizes = [1] * fields[0].labels.ndim
    for field in fields:
        stays = stays & ~np.isin(traced.families.of[field.labels], offered)
        sizes = [max(n, m) for n, m in zip(sizes, field.labels.shape, strict=True)]
    whole = np.broadcast_to(stays, sizes)
    return int((~whole).sum())
