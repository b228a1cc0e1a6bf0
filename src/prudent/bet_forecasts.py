"""What a claim about losses that are no counts will take: by simulated bets, under an assumption that is named."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64

from prudent.bounds._checks import check_delta
from prudent.eprocesses import log_wealth_betting
from prudent.errors import BadInput
from prudent.seeds import stream
from prudent.wording import exact_percent

DRAWS = 200
"""Simulated claims; the chance to pass is known to about 3 %."""

MOST = 200_000
"""More examples than these are not simulated."""

POINTS = {"accuracy_drop": (0.0, 0.5, 1.0), "brier": (0.0, 0.5, 1.0)}
"""Values of the loss on its scale from 0 to 1: least, in between, largest. An accuracy drop of 0 lies in between."""

ASSUMED = {
    "accuracy_drop": "if the networks are right on different examples as often as was said, else as rarely as can be",
    "brier": "if the score of every prediction is 0 or 2, the worst case of a given mean",
}
"""Under which assumption the numbers hold, in words."""


def shares(risk: str, rate: float, changed: float | None = None) -> tuple[float, float, float]:
    """How often the loss has each of its POINTS, for a network whose true risk is `rate`.

        accuracy drop: P(+1) - P(-1) = rate,  P(+1) + P(-1) = changed, at least |rate|
        Brier score:   P(2) = rate / 2, the most spread out of all with this mean

    Args:
        risk: "accuracy_drop" or "brier".
        rate: in the risk's own units.
        changed: of an accuracy drop, the share of examples on which one network is right and the other wrong; by
            default |rate|, the least there can be.

    Raises:
        BadInput: a rate outside the range of the risk, a share of changes below |rate| or above 1.
    """
    if risk == "brier":
        if changed is not None or not 0 <= rate <= 2:
            raise BadInput(f"a mean Brier score lies in [0, 2], and no share of changes belongs to it; got {rate}")
        return 1 - rate / 2, 0.0, rate / 2
    changed = abs(rate) if changed is None else changed
    if not abs(rate) <= changed <= 1:
        raise BadInput(f"the share of changed examples lies between |{rate:g}|, the drop, and 1; got {changed}")
    return (changed - rate) / 2, 1 - changed, (changed + rate) / 2


def least_examples_by_bets(risk: str, *, level: float, delta: float) -> int | None:
    """With how many examples the bound "betting" certifies if nothing is lost: the accuracy the same, all scores 0.

    Args:
        risk: "accuracy_drop" or "brier".
        level: the tolerated risk on the scale of losses from 0 to 1.
        delta: as in `prudent.certify`.

    Returns: the least n, or None above 200,000.
    """
    check_delta(delta)
    value = 0.5 if risk == "accuracy_drop" else 0.0

    def passes(n: int) -> bool:
        return bool(log_wealth_betting(np.full(n, value), level).max() >= -np.log(delta))

    return _least(passes)


def examples_by_bets(
    risk: str, rate: float, *, level: float, delta: float, power: float, changed: float | None = None
) -> int | None:
    """How many examples certify a network of this true risk with probability about `power`, by simulation.

    Returns: n to about 5 %, or None where 200,000 are too few.

    Raises:
        BadInput: as `shares`.
    """
    check_delta(delta)
    chances = shares(risk, rate, changed)
    if float(np.dot(POINTS[risk], chances)) >= level:
        return None

    def passes(n: int) -> bool:
        rng = np.random.default_rng(stream("simulated bets", n))
        return _passing(rng.choice(POINTS[risk], (n, DRAWS), p=chances), level, delta) >= power

    return _least(passes, step=1.05)


def most_lost_by_bets(risk: str, n: int, *, level: float, delta: float, power: float) -> int | None:
    """How many of n examples may have the largest loss, and the others none, for a claim that passes in most orders.

    Returns: the largest count with which a share of at least `power` of the orders passes; None if not even 0 does.

    Raises:
        BadInput: n below 1.
    """
    if n < 1:
        raise BadInput(f"at least one example is needed; got n = {n}")
    rng = np.random.default_rng(stream("simulated bets", n))
    ranks = rng.permuted(np.tile(np.arange(n)[:, None], (1, DRAWS)), axis=0)
    none = 0.5 if risk == "accuracy_drop" else 0.0
    low, high = -1, n
    while high - low > 1:
        middle = (low + high) // 2
        passes = _passing(np.where(ranks < middle, 1.0, none), level, delta) >= power
        low, high = (middle, high) if passes else (low, middle)
    return None if low < 0 else low


def amount(risk: str, value: float) -> str:
    """A risk in words: a share in percent, a score as a number."""
    return f"{value:g}" if risk == "brier" else exact_percent(value)


def _passing(losses: Float64[np.ndarray, "n draws"], level: float, delta: float) -> float:
    return float((log_wealth_betting(losses, level).max(axis=0) >= -np.log(delta)).mean())


def _least(passes: Callable[[int], bool], *, step: float = 1.0) -> int | None:
    """The least n that passes, to a factor of `step`: by doubling, then by halving what is between."""
    low, high = 0, 16
    while not passes(high):
        low, high = high, 2 * high
        if high > MOST:
            return None
    while high - low > 1 and high > step * max(low, 1):
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high
