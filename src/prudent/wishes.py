"""What a command line may ask for when it prunes a network, and what does not go together."""

from dataclasses import dataclass
from typing import cast

from prudent.errors import BadInput, UnknownName
from prudent.runtimes import Runtime
from prudent.scopes import Scope, check_choice
from prudent.scores import SCORES

OFFERED = ("channel", "head", "weight")
"""Granularities that need no further numbers."""

CUT = ("channel", "head")
"""Granularities of what can be cut out."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked for.

    Args:
        sparsity, parameters, macs: how much, by one of them, as for `prudent.prune`; macs are of one input.
        latency: or so many milliseconds for a pass, as measured here.
        runtime: in which; None for ONNX Runtime with a budget, and for eager mode before training.
        batch, threads: of a measured pass.
        seconds: for the search for widths, about.
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
    latency: float | None = None
    runtime: str | None = None
    batch: int = 1
    threads: int = 1
    seconds: float = 60.0
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


def check_wish(wish: Wish, *, masked: bool) -> None:
    """Refuse words that nobody knows, and amounts that do not go together."""
    check_choice("scope", wish.scope, Scope)
    if wish.granularity not in OFFERED:
        raise UnknownName.of("granularity of `prudent prune`", wish.granularity, OFFERED)
    if wish.runtime is not None:
        check_choice("runtime", wish.runtime, Runtime)
    if wish.latency is None:
        return
    given = [name for name in ("sparsity", "parameters", "macs") if getattr(wish, name) is not None]
    if given:
        raise BadInput(f"say how much to remove with one of them; got --latency-budget and --{given[0]}")
    if wish.granularity not in CUT or not wish.shrink:
        raise BadInput(
            "only what is cut out makes a network faster: a latency budget needs --granularity channel or head, and no "
            "--no-shrink"
        )
    if masked:
        raise BadInput("a latency budget starts from a plain network; this one is masked: name the dense one")


def reads_examples(score: str) -> bool:
    """Whether a score reads examples; one of somebody's own gets them where there are any."""
    return ":" in score or bool({"data", "labels"} & set(SCORES.constant(score, "NEEDS") or ()))


def check_examples(wish: Wish, *, known: bool) -> None:
    """Refuse scores that nobody knows, and what needs a data set without one."""
    SCORES.find(wish.score)
    if not known and wish.epochs:
        raise BadInput(f"training for {wish.epochs} epochs needs examples: name a data set with --data")
    if not known and ":" not in wish.score and reads_examples(wish.score):
        raise BadInput(f"score {wish.score!r} reads examples: name a data set with --data")


def runtime_of(wish: Wish, otherwise: Runtime) -> Runtime:
    """The runtime that is asked for, which was checked."""
    return otherwise if wish.runtime is None else cast("Runtime", wish.runtime)
