"""A named network pruned, cut, proved and fine-tuned as a command line asks for it, with what each step did."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from prudent.assembling import Architecture
from prudent.assessment import loss_and_error
from prudent.batches import Batches
from prudent.budgets import macs_left
from prudent.errors import BadInput, UnknownName
from prudent.masks import Mask
from prudent.named_networks import Named
from prudent.network import macs
from prudent.networks import Saved, kept_parameters, pack
from prudent.pruning import Pruned, prune
from prudent.scopes import Scope, check_choice
from prudent.scores import SCORES
from prudent.surgery.shrinking import Shrunk, shrink
from prudent.training import train
from prudent.units import Granularity

EXAMPLES = 2
"""Random inputs that the network is traced with: what they hold does not matter, and one could be taken for none."""

OFFERED = ("channel", "head", "weight")
"""Granularities that need no further numbers."""

CUT = ("channel", "head")
"""Granularities of what can be cut out."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked for.

    Args:
        sparsity, parameters, macs: how much, by one of them, as for `prudent.prune`; macs are of one input.
        score: name in prudent.scores, or "package.module:callable".
        granularity, scope, minimum, changing, seed: as for `prudent.prune`.
        shrink: whether channels and heads are cut out.
        epochs: of training afterwards.
        lr: its learning rate, which falls to 0.
        examples: of the training split that a score reads, at most.
    """

    sparsity: float | None = None
    parameters: int | None = None
    macs: int | None = None
    score: str = "magnitude"
    granularity: str = "channel"
    scope: str = "global"
    minimum: int = 0
    changing: bool = False
    shrink: bool = True
    seed: int = 0
    epochs: int = 0
    lr: float = 1e-3
    examples: int = 1024


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a network is.

    Args:
        parameters: those that remain.
        macs: multiply-accumulates for one input; of single weights that are zero none are counted.
        bytes: of the files that `prudent.save` writes.
    """

    parameters: int
    macs: int
    bytes: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Trimmed:
    """What came out.

    Args:
        network: masked, or smaller.
        architecture: of the network that it was pruned from.
        before, after: sizes.
        errors: "dense", "pruned", "fine_tuned" -> share of wrong decisions on the validation split; empty without
            labelled data.
        warnings: one sentence each.
    """

    network: Pruned | Shrunk
    architecture: Architecture
    before: Size
    after: Size
    errors: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def trimmed_network(named: Named, wish: Wish) -> Trimmed:
    """Prune a named network, cut out what is gone with a proof, and fine-tune what is left.

    Args:
        named: a plain network, or a masked one whose zeros stay. Not changed.
        wish: what is asked for.

    Raises:
        BadInput: a smaller network, a wish without an amount or that cannot be met, a score or training without data.
        UnknownName: no such score, granularity or scope.
        CannotPrune: nothing to cut, or a cut that cannot be proved for any layer.
    """
    model, within = _start(named.network)
    check_choice("scope", wish.scope, Scope)
    if wish.granularity not in OFFERED:
        raise UnknownName.of("granularity of `prudent prune`", wish.granularity, OFFERED)
    data = None if named.data is None else named.data()
    _check_data(wish, known=data is not None)
    example = example_of(named.shape)
    reads = None
    if data is not None and _needs(wish.score):
        train_split = data.train.batches()
        labels = None if train_split.labels is None else train_split.labels[: wish.examples]
        reads = replace(train_split, inputs=train_split.inputs[: wish.examples], labels=labels)
    pruned = _pruned(model, within, wish, example, reads)
    network: Pruned | Shrunk = shrink(pruned, example) if wish.shrink and wish.granularity in CUT else pruned
    errors: dict[str, float] = {}
    check = None if data is None else data.validation.batches()
    if check is not None and check.labels is not None:
        errors = {"dense": loss_and_error(model, check)[1], "pruned": loss_and_error(network.model, check)[1]}
    if data is not None and wish.epochs:
        network = _fine_tuned(network, data.train.batches(), wish)
        if errors and check is not None:
            errors["fine_tuned"] = loss_and_error(network.model, check)[1]
    return Trimmed(
        network=network,
        architecture=named.architecture,
        before=_size(named.network, named.architecture, example),
        after=_size(network, named.architecture, example),
        errors=errors,
        warnings=_warnings(named, network, wish),
    )


def example_of(shape: tuple[int, ...], count: int = EXAMPLES) -> Tensor:
    """Random inputs (count, *shape), the same for the same arguments."""
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(0))


def _start(network: Saved) -> tuple[nn.Module, Mask | None]:
    if isinstance(network, Shrunk):
        raise BadInput(
            "a network to prune is plain or masked; this one is smaller already: prune the original further, from its "
            "own folder, so that one plan says what is left of it"
        )
    return (network.model, network.mask) if isinstance(network, Pruned) else (network, None)


def _needs(score: str) -> bool:
    """Whether a score reads examples; one of somebody's own gets them where there are any."""
    return ":" in score or bool({"data", "labels"} & set(SCORES.constant(score, "NEEDS") or ()))


def _check_data(wish: Wish, *, known: bool) -> None:
    SCORES.find(wish.score)
    if not known and wish.epochs:
        raise BadInput(f"training for {wish.epochs} epochs needs examples: name a data set with --data")
    if not known and ":" not in wish.score and _needs(wish.score):
        raise BadInput(f"score {wish.score!r} reads examples: name a data set with --data")


def _pruned(model: nn.Module, within: Mask | None, wish: Wish, example: Tensor, reads: Batches | None) -> Pruned:
    make = partial(
        prune, model, score=wish.score if ":" not in wish.score else SCORES.find(wish.score), batches=reads,
        granularity=cast("Granularity", wish.granularity), scope=cast("Scope", wish.scope), minimum=wish.minimum,
        changing=wish.changing, example=example, within=within, seed=wish.seed,
    )  # fmt: skip
    if wish.macs is None:
        return make(sparsity=wish.sparsity, parameters=wish.parameters)
    try:
        return make(sparsity=wish.sparsity, parameters=wish.parameters, macs=wish.macs * len(example))
    except BadInput as error:
        raise BadInput(f"{error} (counted for {len(example)} inputs)") from error


def _fine_tuned(network: Pruned | Shrunk, batches: Batches, wish: Wish) -> Pruned | Shrunk:
    mask = network.mask if isinstance(network, Pruned) else None
    trained = train(
        network.model, batches, epochs=wish.epochs, lr=wish.lr, schedule="cosine", mask=mask, seed=wish.seed
    )
    return replace(network, model=trained)


def _size(network: Saved, architecture: Architecture, example: Tensor) -> Size:
    if isinstance(network, Shrunk):
        count = network.macs
    elif isinstance(network, Pruned):
        count = macs_left(network.model, network.mask, example) // len(example)
    else:
        count = macs(network, example[:1])
    return Size(
        parameters=kept_parameters(network),
        macs=count,
        bytes=sum(len(content) for content in pack(network, architecture=architecture).values()),
    )


def _warnings(named: Named, network: Pruned | Shrunk, wish: Wish) -> tuple[str, ...]:
    found = []
    if named.fresh and not wish.epochs:
        found.append("The weights were freshly drawn: what is saved is an untrained network of the smaller shape.")
    if isinstance(network, Pruned):
        what = "zeros, and a dense runtime computes them all" if wish.granularity in CUT else "single weights"
        found.append(
            f"The network is as large as before: what is removed are {what}; no runtime for dense layers is faster."
        )
    if isinstance(network, Shrunk) and network.kept:
        found.append("Units that could not be cut with a proof are still there, as zeros: see what was put back.")
    return tuple(found)
