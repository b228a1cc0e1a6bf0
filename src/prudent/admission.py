"""Losses -> nothing, or a refusal: which tables of losses may a claim be made of, and by which bound?"""

from collections.abc import Sequence

import numpy as np

from prudent.errors import BadInput, SplitMisuse
from prudent.planning import ANYTIME
from prudent.risks import CONDITIONAL, LOSSES, options_of
from prudent.types import Losses

BINNED = "mcdiarmid"
"""The one bound for a calibration error, which is no mean of losses."""


def check_tables(tables: Sequence[Losses]) -> None:
    """Refuse no tables, tables of another split, and tables that are not about the same candidates."""
    if not tables or not all(isinstance(table, Losses) for table in tables):
        raise BadInput("certify needs losses, or a list of them, one for each risk of the claim; got something else")
    for table in tables:
        if table.split != "certification":
            raise SplitMisuse(
                f"a certificate needs the certification split; these losses come from {table.split!r}: "
                'predict(..., split="certification") on examples that were used for nothing else'
            )
        for what in ("names", "sparsities", "models", "data"):
            ours, first = getattr(table, what), getattr(tables[0], what)
            if ours != first:
                raise BadInput(f"risks of one claim need the same candidates and examples; {what}: {first} and {ours}")


def check_claim(losses: Losses, alpha: float, bound: str) -> None:
    """Refuse an alpha outside of the range of the risk, and a bound that is not valid for these losses."""
    low, high = (0.0, 1.0) if losses.bins is not None else (losses.low, losses.high)
    if not low < alpha < high:
        raise BadInput(f"alpha lies in ({low:g}, {high:g}); got {alpha}")
    if (bound == BINNED) != (losses.bins is not None):
        needs = "needs bound='mcdiarmid'" if losses.bins is not None else f"is a mean of losses; {BINNED!r} is for bins"
        raise BadInput(f"the risk {losses.loss!r} {needs}; got bound={bound!r}")
    _check_known(losses)
    if losses.stopped and bound not in ANYTIME:
        raise BadInput(
            f"how many examples were used was decided by looking at these losses: only {', '.join(sorted(ANYTIME))} "
            f"stay valid then; got bound={bound!r}"
        )
    if bound == "binomial" and (losses.low, losses.high) != (0, 1):
        raise BadInput(f"the loss {losses.loss!r} is not 0 or 1: binomial is not valid for it; use bound='betting'")


def _check_known(losses: Losses) -> None:
    """Refuse a table that a sentence about a loss of prudent's would not be true of."""
    counted, known = losses.counted, LOSSES.get(losses.loss)
    if counted is not None and losses.stopped and (np.diff(counted.astype(np.int8), axis=0) > 0).any():
        raise BadInput("a table that was stopped counts the first examples of each candidate, and none after them")
    if losses.bins is not None and counted is not None:
        raise BadInput("a risk that is summed over bins is about all examples: leave counted out")
    if known is None:
        return
    wanted = set(options_of(losses.loss))
    if (losses.low, losses.high) != (known.low, known.high) or (losses.bins is None) != (known.bins is None):
        raise BadInput(f"{losses.loss!r} lies in [{known.low:g}, {known.high:g}]; name a loss of your own otherwise")
    if {name for name, _ in losses.options} != wanted:
        raise BadInput(f"{losses.loss!r} needs the options {sorted(wanted)}; got {[n for n, _ in losses.options]}")
    if losses.bins is not None and int(losses.bins.max()) >= int(dict(losses.options)["bins"]):
        raise BadInput(f"{losses.loss!r} has bins beyond the number that its options name")
    if counted is not None and not (losses.group or losses.stopped or losses.loss in CONDITIONAL):
        raise BadInput(f"{losses.loss!r} is about all examples; one about some of them needs a group or its own name")
