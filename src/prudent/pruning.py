"""A network -> a pruned copy of it with the mask that made it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from prudent.batches import Batch, check_purpose
from prudent.budgets import fit, macs_left, parameters_left
from prudent.controls import Control, controlled, reinitialised
from prudent.copying import duplicate
from prudent.errors import BadInput
from prudent.examples import Example
from prudent.granularities import layout_for, removed_elements, unit_scores, zero
from prudent.masks import Mask, select
from prudent.network import Reweighted, Scores, check_goes, prunable
from prudent.scopes import Scope, check_choice, check_sparsity
from prudent.scores.magnitude import magnitude
from prudent.scoring import ask_score, name_of_score, plans_ahead
from prudent.surgery.layouts import Layout
from prudent.surgery.structures import structures
from prudent.units import NOUNS, Granularity, Reduction, Units


@dataclass(frozen=True, kw_only=True, eq=False)
class Pruned:
    """A masked network: of the original's shape, with zeros where the mask demands them.

    Args:
        model: the masked copy.
        mask: what is kept.
        score: name of the importance score.
        scope: how layers were compared; "fractions" if each had its own.
        requested: the sparsity asked for, or that a budget came to; `sparsity` is the achieved one.
        layout: what the units are, if the network was traced for them; not saved, `shrink` finds it again.
    """

    model: nn.Module
    mask: Mask
    score: str
    scope: str
    requested: float
    layout: Layout | None = None

    @property
    def sparsity(self) -> float:
        """Achieved fraction of removed units; differs from the requested one by less than one unit a group."""
        return self.mask.sparsity

    @property
    def collapsed(self) -> tuple[str, ...]:
        """Layers that lost every unit: nothing passes through them any more, and the answer may be a constant."""
        return tuple(name.removesuffix(".weight") for name in self.mask.collapsed)

    def __str__(self) -> str:
        """What was removed, and which layers have nothing left."""
        gone = self.mask.total - self.mask.remaining
        noun = NOUNS[self.mask.granularity]
        text = f"{gone:,} of {self.mask.total:,} {noun} removed ({self.sparsity:.2%}) by {self.score!r}, {self.scope}"
        names = ", ".join(repr(name) for name in self.collapsed)
        return f"{text}; nothing is left of {names}: minimum=1 keeps a unit in every layer" if names else text

    @property
    def parameters(self) -> int:
        """Parameters that remain: of channels, those of the network that is left when they are cut out."""
        return parameters_left(self.model, self.mask)

    def macs(self, example: Example) -> int:
        """Multiply-accumulates that remain for one pass on `example`; see prudent.budgets.macs_left."""
        return macs_left(self.model, self.mask, example)


def prune(
    model: nn.Module,
    *,
    sparsity: float | None = None,
    parameters: int | None = None,
    macs: int | None = None,
    fractions: Mapping[str, float] | None = None,
    score: str | Callable[..., Scores] | Mapping[str, Tensor] = "magnitude",
    options: Mapping[str, Any] | None = None,
    granularity: Granularity = "weight",
    pattern: tuple[int, int] | None = None,
    block: tuple[int, int] | None = None,
    reduction: Reduction = "sum",
    layers: str | Sequence[str] | None = None,
    scope: Scope = "global",
    minimum: int = 0,
    control: Control | None = None,
    batches: Iterable[Batch] | None = None,
    example: Example | None = None,
    within: Mask | None = None,
    like: Mask | None = None,
    changing: bool = False,
    build: Callable[[], nn.Module] | None = None,
    seed: int = 0,
) -> Pruned:
    """Remove the least important units of a copy of `model`.

    Say how much with one of `sparsity`, `parameters`, `macs` and `fractions`; granularity "n:m" says it itself.

    Args:
        model: the network. Not changed: nor its modes, gradients, or random generators.
        sparsity: fraction of the prunable units to remove, in [0, 1).
        parameters: at most so many parameters may remain in the whole network.
        macs: at most so many multiply-accumulates may remain for one pass on `example`.
        fractions: name of a layer -> the fraction to remove there; layers that are not named stay whole.
        score: name of a score in prudent.scores, a function (model, batches, *, options) -> Scores, or the scores.
        options: of the score, by name. A score that plans for a `sparsity` gets the one asked for; under another budget
            the one that magnitude comes to (of single weights, under `parameters` and `fractions`, the very one).
        granularity: "weight" removes single weights, "n:m" all but n of each m along the input dimension, "block" tiles
            of the weight as a matrix, "channel" whole output channels with all that is coupled to them (networks that
            are not layers in a row need `example`), "head" attention heads.
        pattern: (n, m) for "n:m".
        block: (rows, columns) for "block".
        reduction: how the scores of a unit's weights become its own: "sum", "mean", "max" or "l2".
        layers: name or names of the layers to prune; None for all that can be.
        scope: "global" ranks all units together, "isomorphic" channels or heads of layers of the same structure (the
            sparsity is met in each kind), "layer" removes the same fraction in each layer, "row" in each row of
            outputs, "erdos_renyi" and "erdos_renyi_kernel" fractions that depend on the layers' shapes.
        minimum: at least so many units stay in every layer, under scopes "global" and "isomorphic".
        control: put a control in the method's place (see prudent.controls): "random", "shuffled", "inverted", "reinit".
        batches: examples for scores that need data, of the train or validation split.
        example: inputs (batch, ...) that the network is tried on before anything else, if given; a score that needs
            the shape of an input takes it from here, and channels and heads are found by tracing it. A tuple, a
            mapping, or `prudent.examples.Inputs` for networks that take more than one tensor.
        within: a mask whose removed units stay removed; `sparsity` counts them.
        like: copy the number of removed units in each layer from this mask (the control that asks whether a score
            chooses better weights, or only better layers); `sparsity` and `scope` then only label the result.
        changing: also remove channels that a normalisation takes its statistics over (LayerNorm, GroupNorm): the
            smaller network then normalises over what is left, and is not the masked one.
        build: for control "reinit": makes the network anew, with its architecture's own random weights, drawn under
            `seed`. Without it each module's `reset_parameters` draws, which is torch's default for that kind of layer
            and not, say, the scheme that the architecture's constructor follows.
        seed: for scores and controls that draw random numbers.

    Returns: the masked copy, the mask, and what was achieved. In a small network a low sparsity may come to less than
    half a unit, and so to none: `Pruned.sparsity` says what was removed.

    Raises:
        BadInput: sparsity outside [0, 1) or too high, a budget that cannot be met (says how far one can go), more than
            one way to say how much, scores that do not fit or are not finite.
        UnknownName: no such score, option, granularity, scope, control or layer.
        SplitMisuse: batches of a split that is not there for choosing weights.
        CannotPrune: nothing prunable, or a granularity that a layer or the network cannot have.
    """
    named = (layers,) if isinstance(layers, str) else layers
    chosen = None if named is None else tuple(named)
    units = Units(granularity=granularity, pattern=pattern, block=block, reduction=reduction, layers=chosen)
    amount = _amount(sparsity, parameters, macs, fractions, pattern, like)
    check_words(units, scope, control, build)
    if macs is not None and example is None:
        raise BadInput("a budget in multiply-accumulates needs example=..., the inputs that they are counted for")
    if batches is not None:
        check_purpose(batches, purpose="scoring", allowed=("train", "validation"))
    layout = layout_for(model, granularity, example, changing=changing, layers=chosen)
    if example is not None and layout is None:
        check_goes(model, example)
    choose = partial(
        choose_units, model, layout, units, scope=scope, control=control, sparsity=sparsity, parameters=parameters,
        macs=macs, example=example, fractions=fractions, minimum=minimum, within=within, like=like,
    )  # fmt: skip
    # what a score plans for: a budget of weights comes to the same sparsity whatever the scores, others nearly so
    ahead = amount is None and plans_ahead(score, options or {})
    planned = choose(magnitude(model))[1].sparsity if ahead else amount
    known = {"seed": seed, "sparsity": planned, "example": example, **units_known(granularity, layout)}
    scores = ask_score(model, score, batches, options or {}, known)
    per_unit, mask = choose(scores)
    if control is not None:
        mask = controlled(control, mask, per_unit, within=within, seed=seed)
    start = reinitialised(model, seed=seed, build=build) if control == "reinit" else duplicate(model)
    removed = removed_elements(start, mask)
    if isinstance(scores, Reweighted) and control is None:
        reweight(start, scores, removed)
    zero(start, removed)
    return Pruned(
        model=start, mask=mask, score=name_of_score(score), scope=scope if fractions is None else "fractions",
        requested=mask.sparsity if amount is None else amount, layout=layout,
    )  # fmt: skip


def units_known(granularity: Granularity, layout: Layout | None) -> dict[str, Any]:
    """What scores may be told of the units: in a traced network they judge weights, of which the layout makes units."""
    if layout is None:
        return {"granularity": granularity}
    shapes = {entry.name: entry.families.shape for entry in layout.entries}
    return {"granularity": "weight", "shapes": shapes, "layout": layout}


def check_words(units: Units, scope: str, control: str | None = None, build: object = None) -> None:
    """Refuse scopes and controls that are not there, or not for these units. Raises UnknownName or BadInput."""
    check_choice("scope", scope, Scope)
    if control is not None:
        check_choice("control", control, Control)
    if scope == "row" and units.granularity in ("channel", "head"):
        raise BadInput(
            f'scope "row" removes as much of each output of a layer; a {units.granularity} is a whole output: ask for '
            'scope="layer", or for granularity="weight"'
        )
    if build is not None and control != "reinit":
        raise BadInput('build=... draws the weights of control="reinit": leave it out, or ask for that control')


def choose_units(
    model: nn.Module,
    layout: Layout | None,
    units: Units,
    scores: Scores,
    *,
    scope: Scope,
    minimum: int,
    sparsity: float | None = None,
    parameters: int | None = None,
    macs: int | None = None,
    fractions: Mapping[str, float] | None = None,
    control: Control | None = None,
    example: Example | None = None,
    within: Mask | None = None,
    like: Mask | None = None,
) -> tuple[Scores, Mask]:
    """The scores of the units, and the mask that they come to; arguments as of `prune`, which checks them first."""
    per_unit = unit_scores(model, scores, units, scope=scope, layout=layout)
    ranked = {name: -value for name, value in per_unit.items()} if control == "inverted" else per_unit

    kinds = structures(model, layout) if scope == "isomorphic" and units.granularity in ("channel", "head") else None

    def make(sparsity: float | None) -> Mask:
        mask = select(
            ranked, sparsity, scope=scope, granularity=units.granularity, pattern=units.pattern, block=units.block,
            fractions=fractions, minimum=minimum if layout is None else max(minimum, 1), within=within, like=like,
            kinds=kinds,
        )  # fmt: skip
        return mask if layout is None else replace(mask, cover=layout.cover_of(mask.kept))

    if parameters is not None or macs is not None:
        return per_unit, _within_budget(model, make, ranked, parameters, macs, example)
    return per_unit, make(sparsity)


def _amount(
    sparsity: float | None,
    parameters: int | None,
    macs: int | None,
    fractions: Mapping[str, float] | None,
    pattern: tuple[int, int] | None,
    like: Mask | None,
) -> float | None:
    """The sparsity, if it is known beforehand. Refuses to be told how much to remove in two ways, or in none."""
    ways = {"sparsity": sparsity, "parameters": parameters, "macs": macs, "fractions": fractions}
    given = [name for name, value in ways.items() if value is not None]
    if pattern is not None:
        implied = 1 - pattern[0] / pattern[1]
        if given and (given != ["sparsity"] or abs((sparsity or 0.0) - implied) > 1e-5):
            raise BadInput(f"a {pattern[0]}:{pattern[1]} pattern removes {implied:g} by itself: leave {given[0]} out")
        return implied
    if len(given) != 1 and not (like is not None and not given):
        came = " and ".join(given) if given else "none of them"
        raise BadInput(f"say how much to remove with one of sparsity, parameters, macs and fractions; got {came}")
    return None if sparsity is None else check_sparsity(sparsity)


def _within_budget(
    model: nn.Module,
    make: Callable[[float], Mask],
    scores: Scores,
    parameters: int | None,
    macs: int | None,
    example: Example | None,
) -> Mask:
    units = sum(score.numel() for score in scores.values())
    if parameters is not None:
        cost = partial(parameters_left, model)
        return fit(make, cost, limit=parameters, units=units, what="parameters")
    if macs is None or example is None:
        raise BadInput("a budget in multiply-accumulates needs a number and an example")
    return fit(make, partial(macs_left, model, example=example), limit=macs, units=units, what="multiply-accumulates")


def reweight(model: nn.Module, scores: Reweighted, removed: Mapping[str, Tensor]) -> None:
    """Give the kept weights the values that the method finds for them, in place."""
    weights = prunable(model)
    kept = {name: ~removed.get(name, torch.zeros_like(weight, dtype=torch.bool)) for name, weight in weights.items()}
    with torch.no_grad():
        for name, value in scores.weights(kept).items():
            if value.shape != weights[name].shape or not torch.isfinite(value).all():
                raise BadInput(f"new values of {name!r} must be finite and of its shape, {tuple(weights[name].shape)}")
            weights[name].copy_(value)
