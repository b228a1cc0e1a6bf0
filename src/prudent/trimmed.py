"""A named network pruned, cut, proved and fine-tuned as a command line asks for it, with what each step did."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from prudent.assembling import Architecture
from prudent.assessment import loss_and_error
from prudent.batches import Batches
from prudent.budgets import macs_left
from prudent.deadlines import Paced, prune_to_latency
from prudent.errors import BadInput
from prudent.low_rank.factorisation import Factorised
from prudent.masks import Mask
from prudent.named_networks import Named
from prudent.network import Scores, macs
from prudent.networks import Saved, kept_parameters, pack
from prudent.pruning import Pruned, prune
from prudent.scopes import Scope
from prudent.scores import SCORES
from prudent.speed import Race, Speeds, bench, doubts
from prudent.splits import Data
from prudent.surgery.shrinking import Shrunk, shrink
from prudent.training import train
from prudent.units import Granularity
from prudent.wishes import CUT, Wish, check_examples, check_wish, reads_examples, runtime_of

EXAMPLES = 2
"""Random inputs that the network is traced with: what they hold does not matter, and one could be taken for none."""

TURNS = 30
"""Timed passes of each network where a speed is looked at, and no budget asks for more."""


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
        paced: how a latency budget was met; None without one.
        race: the smaller network measured beside the dense one; None if it was not.
        warnings: one sentence each.
    """

    network: Pruned | Shrunk
    architecture: Architecture
    before: Size
    after: Size
    errors: Mapping[str, float] = field(default_factory=dict)
    paced: Paced | None = None
    race: Race | None = None
    warnings: tuple[str, ...] = ()


def trimmed_network(named: Named, wish: Wish, *, tell: Callable[[str], None] = lambda _: None) -> Trimmed:
    """Prune a named network, cut out what is gone with a proof, measure it if asked to, and fine-tune what is left.

    Args:
        named: a plain network, or a masked one whose zeros stay. Not changed.
        wish: what is asked for.
        tell: gets each warning when it is known: those on speed before any training.

    Raises:
        BadInput: a smaller network, a wish without an amount or that cannot be met, a score or training without data.
        UnknownName: no such score, granularity, scope or runtime.
        CannotPrune: nothing to cut, or a cut that cannot be proved for any layer.
    """
    model, within = _start(named.network)
    check_wish(wish, masked=within is not None)
    data = None if named.data is None else named.data()
    check_examples(wish, known=data is not None)
    example = example_of(named.shape)
    network, paced, speeds = _cut(model, within, wish, example, None if data is None else _read(data, wish))
    warnings = [*_warnings(named, network, wish)]
    warnings += paced.warnings if paced is not None else () if speeds is None else (*speeds.warnings, *doubts(speeds))
    for warning in warnings:
        tell(warning)
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
        paced=paced,
        race=paced.race if paced is not None else None if speeds is None else speeds.races[0],
        warnings=tuple(warnings),
    )


def _read(data: Data, wish: Wish) -> Batches | None:
    """The examples that the score reads; None if it reads none."""
    if not reads_examples(wish.score):
        return None
    train = data.train.batches()
    labels = None if train.labels is None else train.labels[: wish.examples]
    return replace(train, inputs=train.inputs[: wish.examples], labels=labels)


def _cut(
    model: nn.Module, within: Mask | None, wish: Wish, example: Tensor, reads: Batches | None
) -> tuple[Pruned | Shrunk, Paced | None, Speeds | None]:
    score = wish.score if ":" not in wish.score else SCORES.find(wish.score)
    if wish.latency is not None:
        paced = prune_to_latency(
            model, example, milliseconds=wish.latency, runtime=runtime_of(wish, "onnxruntime"), batch=wish.batch,
            threads=wish.threads, granularity="head" if wish.granularity == "head" else "channel", score=score,
            scope=cast("Scope", wish.scope), minimum=max(1, wish.minimum), changing=wish.changing, batches=reads,
            seed=wish.seed, seconds=wish.seconds,
        )  # fmt: skip
        return paced.shrunk, paced, None
    pruned = _pruned(model, within, wish, score, example, reads)
    if not wish.shrink or wish.granularity not in CUT:
        return pruned, None, None
    small = shrink(pruned, example)
    if wish.runtime is None and not wish.epochs:
        return small, None, None
    # training takes longer than looking whether it is worth while
    speeds = bench(
        small,
        model,
        example,
        runtimes=[runtime_of(wish, "eager")],
        batches=[wish.batch],
        threads=[wish.threads],
        turns=TURNS,
    )
    return small, None, speeds


def example_of(shape: tuple[int, ...], count: int = EXAMPLES) -> Tensor:
    """Random inputs (count, *shape), the same for the same arguments."""
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(0))


def _start(network: Saved) -> tuple[nn.Module, Mask | None]:
    if isinstance(network, Shrunk):
        raise BadInput(
            "a network to prune is plain or masked; this one is smaller already: prune the original further, from its "
            "own folder, so that one plan says what is left of it"
        )
    if isinstance(network, Factorised):
        raise BadInput(
            "a network to prune is plain or masked; the layers of this one are products of two already: prune the "
            "original, and factorise what comes out"
        )
    return (network.model, network.mask) if isinstance(network, Pruned) else (network, None)


def _pruned(
    model: nn.Module,
    within: Mask | None,
    wish: Wish,
    score: str | Callable[..., Scores],
    example: Tensor,
    reads: Batches | None,
) -> Pruned:
    make = partial(
        prune, model, score=score, batches=reads,
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
        count = macs(network.model if isinstance(network, Factorised) else network, example[:1])
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
