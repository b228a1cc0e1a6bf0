"""A network -> a smaller one in one step, and another one at the next sparsity, without a masked network between."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from prudent.batches import Batch, check_purpose
from prudent.errors import BadInput
from prudent.examples import Example
from prudent.granularities import layout_for, unit_scores
from prudent.masks import Mask
from prudent.network import Reweighted, Scores
from prudent.pruning import check_words, choose_units, prune, units_known
from prudent.scopes import Scope, check_sparsity
from prudent.scoring import ask_score
from prudent.surgery.cutting import plan_of
from prudent.surgery.layouts import Layout
from prudent.surgery.plans import Plan, apply_plan
from prudent.surgery.proving import Proof
from prudent.surgery.removal import Form, plan_for_modules
from prudent.surgery.shrinking import shrink
from prudent.units import Granularity, Reduction, Units


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """A smaller network in one step.

    Args:
        model: it.
        plan: which elements of the original it keeps.
        mask: which units it keeps.
        proof: that it computes what the masked network computes; None if none was asked for: then nobody has run it.
        form: "module" or "graph", as of `prudent.surgery.shrinking.Shrunk`; without a proof always "module".
    """

    model: nn.Module
    plan: Plan
    mask: Mask
    proof: Proof | None
    form: Form = "module"


def importances(
    model: nn.Module,
    *,
    example: Example,
    score: str | Callable[..., Scores] | Mapping[str, Tensor] = "magnitude",
    options: Mapping[str, Any] | None = None,
    granularity: Granularity = "channel",
    reduction: Reduction = "sum",
    layers: Sequence[str] | None = None,
    scope: Scope = "global",
    batches: Iterable[Batch] | None = None,
    changing: bool = False,
    seed: int = 0,
) -> Scores:
    """Scores of the units that can be cut, found once for cuts at many sparsities: `cut(..., score=these)`.

    Args:
        model, example, score, options, granularity, reduction, layers, batches, changing, seed: as of `prudent.prune`.
        scope: the one that they will be cut with: "global" and "isomorphic" compare layers, so that scores are divided
            by their layer's mean.

    Returns: one number for each unit, by layer; higher = keep.

    Raises: as `prudent.prune`; BadInput also for a score that changes the weights it keeps.
    """
    found = _ranked(
        model, example, score, options, granularity, reduction, layers, scope, batches, seed, changing=changing
    )
    return found.scores


def cut(
    model: nn.Module,
    *,
    sparsity: float,
    example: Example,
    score: str | Callable[..., Scores] | Mapping[str, Tensor] = "magnitude",
    options: Mapping[str, Any] | None = None,
    granularity: Granularity = "channel",
    reduction: Reduction = "sum",
    layers: Sequence[str] | None = None,
    scope: Scope = "global",
    minimum: int = 0,
    batches: Iterable[Batch] | None = None,
    changing: bool = False,
    seed: int = 0,
    proof: bool = True,
) -> Cut:
    """Remove the least important channels or heads, and return the smaller network.

    With the proof this is `shrink(prune(...))`. Without, no masked network is made, nothing is run, and tensors are cut
    while they are copied, which is what cutting again at many sparsities wants: a trace and `importances` are needed
    once. Networks whose code has sizes written into it are then not found out: prove the one that is chosen.

    Args:
        model: the network. Not changed.
        sparsity: fraction of the units to remove, in [0, 1).
        example: inputs (batch, ...) that it is traced with, and for the proof.
        score: as of `prune`, or what `importances` returned for this network, granularity and scope.
        options, granularity, reduction, layers, scope, minimum, batches, changing, seed: as of `prune`.
        proof: run masked and smaller network and compare their answers.

    Raises: as `prune` and `shrink`; BadInput also for a score that changes the weights it keeps, without a proof.
    """
    _check(Units(granularity=granularity, reduction=reduction), scope)
    if proof:
        pruned = prune(
            model, sparsity=sparsity, score=score, options=options, granularity=granularity, reduction=reduction,
            layers=layers, scope=scope, minimum=minimum, batches=batches, example=example, changing=changing, seed=seed,
        )  # fmt: skip
        small = shrink(pruned, example)
        return Cut(model=small.model, plan=small.plan, mask=pruned.mask, proof=small.proof, form=small.form)
    check_sparsity(sparsity)
    found = _ranked(
        model, example, score, options, granularity, reduction, layers, scope, batches, seed, changing=changing
    )
    _, mask = choose_units(
        model, found.layout, found.units, found.scores, scope=scope, minimum=minimum, sparsity=sparsity
    )
    plan = _plan(model, found.layout, mask)
    return Cut(model=apply_plan(model, plan), plan=plan, mask=mask, proof=None)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Ranked:
    units: Units
    layout: Layout | None
    scores: Scores


def _ranked(
    model: nn.Module,
    example: Example,
    score: str | Callable[..., Scores] | Mapping[str, Tensor],
    options: Mapping[str, Any] | None,
    granularity: Granularity,
    reduction: Reduction,
    layers: Sequence[str] | None,
    scope: Scope,
    batches: Iterable[Batch] | None,
    seed: int,
    *,
    changing: bool,
) -> _Ranked:
    chosen = None if layers is None else tuple(layers)
    units = Units(granularity=granularity, reduction=reduction, layers=chosen)
    _check(units, scope)
    if batches is not None:
        check_purpose(batches, purpose="scoring", allowed=("train", "validation"))
    layout = layout_for(model, granularity, example, changing=changing, layers=chosen)
    known = {"seed": seed, "example": example, **units_known(granularity, layout)}
    scores = ask_score(model, score, batches, options or {}, known)
    if isinstance(scores, Reweighted):
        raise BadInput("this score changes the weights that it keeps, for one sparsity: use prune and shrink for it")
    return _Ranked(units=units, layout=layout, scores=unit_scores(model, scores, units, scope=scope, layout=layout))


def _check(units: Units, scope: str) -> None:
    check_words(units, scope)
    if units.granularity not in ("channel", "head"):
        raise BadInput(
            f'channels and heads are cut out, not units of {units.granularity!r}: ask for granularity="channel", or '
            "use prune"
        )


def _plan(model: nn.Module, layout: Layout | None, mask: Mask) -> Plan:
    if layout is None:
        return plan_of(model, mask)
    removed = {name: ~kept.numpy() for name, kept in mask.kept.items()}
    return plan_for_modules(model, layout.trace, layout.families_of(removed))
