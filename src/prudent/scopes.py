"""How many units each layer loses: sparsity -> groups of layers that are ranked together, with exact counts."""

import math
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal, get_args

from prudent.errors import BadInput, UnknownName

Scope = Literal["global", "isomorphic", "layer", "row", "erdos_renyi", "erdos_renyi_kernel"]
TOGETHER = ("global", "isomorphic")
"""Scopes that rank units of several layers together, whose scores must compare."""

Shapes = Mapping[str, tuple[int, ...]]
Group = tuple[list[str], int]
"""Layers that are ranked together, and how many units they lose."""


def groups(
    shapes: Shapes,
    sparsity: float | None,
    *,
    scope: Scope,
    fractions: Mapping[str, float] | None = None,
    removals: Mapping[str, int] | None = None,
    kinds: Mapping[str, str] | None = None,
) -> list[Group]:
    """Which layers are ranked together, and how many units go from each group.

    Args:
        shapes: name of the weight -> shape of its units.
        sparsity: fraction of all units to remove; not used with `fractions` or `removals`.
        scope: "global" makes one group; "isomorphic" one for each kind of layer and "layer" one for each layer, of the
            same fraction; "erdos_renyi" and "erdos_renyi_kernel" one for each layer, of fractions that depend on the
            shapes (see `erdos_renyi`).
        fractions: name of a layer or its weight -> fraction to remove there; 0 elsewhere.
        removals: name of the weight -> number to remove there.
        kinds: name of the weight -> what its units are like, for "isomorphic".

    Raises:
        BadInput: a fraction outside [0, 1), or one that leaves a layer, or everything, empty; "isomorphic" for units
            whose kinds are not known.
        UnknownName: no such scope, or a layer in `fractions` that is not among the shapes.
    """
    check_choice("scope", scope, Scope)
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    if removals is not None:
        return [([name], removals[name]) for name in shapes]
    if fractions is not None:
        asked = by_weight(fractions, shapes)
        return [([name], _in_layer(name, asked.get(name, 0.0), size)) for name, size in sizes.items()]
    sparsity = check_sparsity(sparsity)
    if scope == "layer":
        return [([name], _in_layer(name, sparsity, size)) for name, size in sizes.items()]
    if scope == "isomorphic":
        return _alike(sizes, sparsity, kinds)
    total = count(sparsity, sum(sizes.values()))
    if scope == "global":
        return [(list(shapes), total)]
    kept = erdos_renyi(shapes, sum(sizes.values()) - total, kernel=scope == "erdos_renyi_kernel")
    return [([name], sizes[name] - kept[name]) for name in shapes]


def erdos_renyi(shapes: Shapes, keep: int, *, kernel: bool) -> dict[str, int]:
    """How many units each layer keeps when sparse layers are like random graphs.

        density of a layer = min(1, e * (outputs + inputs) / (outputs * inputs))                      without kernel
        density of a layer = min(1, e * (outputs + inputs + sum of kernel sides) / number of units)   with kernel

    with the one e at which the counts come to `keep`, exactly: fractions of a unit go to the layers with the largest.

    Args:
        shapes: name -> shape (outputs, inputs, *kernel).
        keep: number of units that stay, 1 .. all.
        kernel: whether the kernel's sides count, as for convolutions in RigL.

    Raises:
        BadInput: a layer without inputs and outputs, or one that would be left empty.

    Source: Mocanu et al. 2018, "Scalable training of artificial neural networks with adaptive sparse connectivity",
    arXiv:1707.04780; with kernels Evci et al. 2020, "Rigging the Lottery", arXiv:1911.11134.
    """
    flat = [name for name, shape in shapes.items() if len(shape) < 2]
    if flat:
        raise BadInput(f"Erdos-Renyi scopes need units with outputs and inputs; those of {flat[0]!r} are in a row")
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    raw = {n: (sum(s) if kernel else s[0] + s[1]) / (sizes[n] if kernel else s[0] * s[1]) for n, s in shapes.items()}
    full: set[str] = set()
    while True:
        rest = [name for name in shapes if name not in full]
        left = keep - sum(sizes[name] for name in full)
        scale = left / sum(raw[name] * sizes[name] for name in rest) if rest else 0.0
        over = {name for name in rest if scale * raw[name] > 1}
        if not over:
            break
        full |= over
    exact = {name: float(sizes[name]) if name in full else scale * raw[name] * sizes[name] for name in shapes}
    kept = {name: min(int(value), sizes[name]) for name, value in exact.items()}
    by_remainder = sorted(shapes, key=lambda name: kept[name] - exact[name])  # stable: equal ones in order of layers
    room = [name for name in by_remainder if kept[name] < sizes[name]]
    for name in room[: keep - sum(kept.values())]:
        kept[name] += 1
    empty = [name for name in shapes if kept[name] == 0]
    if empty:
        raise BadInput(f"keeping {keep} units in all would leave layer {empty[0]!r} empty under an Erdos-Renyi scope")
    return kept


def by_weight(fractions: Mapping[str, float], shapes: Shapes) -> dict[str, float]:
    """Values given by the name of a layer, or of its weight, filed under the weight's name.

    Raises:
        UnknownName: no such layer; names the nearest.
    """
    return {weight_name(name, shapes): value for name, value in fractions.items()}


def weight_name(name: str, shapes: Mapping[str, object]) -> str:
    """The weight that a layer's name stands for. Raises UnknownName."""
    for candidate in (name, f"{name}.weight"):
        if candidate in shapes:
            return candidate
    raise UnknownName.of("layer", name, [known.removesuffix(".weight") for known in shapes])


def count(sparsity: float, units: int) -> int:
    """How many of `units` a sparsity removes: the nearest integer, halves up. 20 % of 100 is 20.

    Raises:
        BadInput: nothing would be left.
    """
    # in decimals: 0.145 * 100 is 14.499999999999998 in floats
    removed = int((Decimal(repr(float(sparsity))) * units).to_integral_value(ROUND_HALF_UP))
    if removed >= units:
        raise BadInput(f"sparsity {sparsity:g} of {units} units leaves none; at most {units - 1} can be removed")
    return removed


def check_sparsity(sparsity: float | None) -> float:
    """The sparsity, if it is one. Raises BadInput outside [0, 1)."""
    try:
        fits = sparsity is not None and 0 <= sparsity < 1
    except TypeError:  # "0.5"
        fits = False
    if sparsity is None or not fits:
        raise BadInput(f"sparsity is the removed fraction, in [0, 1); got {sparsity!r}")
    return sparsity


def check_choice(what: str, value: str, choices: object) -> None:
    """Refuse a word that is not among the `choices` of a Literal."""
    known = get_args(choices)
    if value not in known:
        raise UnknownName.of(what, value, known)


def _alike(sizes: Mapping[str, int], sparsity: float, kinds: Mapping[str, str] | None) -> list[Group]:
    if kinds is None:
        raise BadInput(
            'scope "isomorphic" ranks channels or heads of the same structure together: prune with '
            'granularity="channel" or "head", and an example=... to trace networks that are not layers in a row'
        )
    members: dict[str, list[str]] = {}
    for name in sizes:
        members.setdefault(kinds[name], []).append(name)
    return [(names, _of_kind(names, sparsity, sum(sizes[name] for name in names))) for names in members.values()]


def _of_kind(names: list[str], sparsity: float, units: int) -> int:
    return _in_layer(names[0], sparsity, units) if len(names) == 1 else count(sparsity, units)


def _in_layer(name: str, sparsity: float, units: int) -> int:
    try:
        return count(check_sparsity(sparsity), units)
    except BadInput as error:
        raise BadInput(f"layer {name!r}: {error}") from error
