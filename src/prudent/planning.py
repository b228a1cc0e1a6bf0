"""What can be certified with how many examples, for losses of 0 and 1 under the exact binomial bound."""

import math

from scipy.special import bdtr

from prudent.errors import BadInput
from prudent.types import Certificate
from prudent.wording import exact_percent, percent, plural

LIMIT = 10**9
"""More examples than this are not searched for."""


def most_losses(n: int, *, alpha: float, delta: float) -> int | None:
    """The largest number of losses among `n` examples that still certifies "risk <= alpha", None if not even 0 does."""
    _check(alpha, delta)
    low, high = -1, n  # bdtr(low) <= delta < bdtr(high) = 1 throughout
    while high - low > 1:
        middle = (low + high) // 2
        if bdtr(middle, n, alpha) <= delta:
            low = middle
        else:
            high = middle
    return None if low < 0 else low


def examples_needed(rate: float, *, alpha: float, delta: float, power: float = 0.8) -> int | None:
    """How many examples certify a network of this true risk with probability about `power`.

    The smallest n found on a grid 1 % apart, from which the chance to pass is at least `power`.

    Args:
        rate: the network's true risk, in [0, 1].
        alpha, delta: as in `certify`.
        power: wanted probability to pass, in (0, 1).

    Returns: n, or None if rate >= alpha (no number of examples will do) or more than 1e9 would be needed.
    """
    _check(alpha, delta)
    if rate >= alpha:
        return None
    n = math.ceil(math.log(delta) / math.log1p(-alpha))  # with fewer not even zero losses pass
    while n <= LIMIT:
        k = most_losses(n, alpha=alpha, delta=delta)
        if k is not None and bdtr(k, n, rate) >= power:
            return n
        n = max(n + 1, math.ceil(n * 1.01))
    return None


def needed(certificate: Certificate) -> str:
    """In words, what it would take to certify the first candidate that did not pass; "" if all passed."""
    at = 0 if certificate.selected is None else certificate.selected + 1
    if at == len(certificate.names):
        return ""
    if certificate.counts is None:
        return "More examples, or a candidate with a lower risk, are needed."
    k, n, alpha, delta = certificate.counts[at], certificate.n, certificate.alpha, certificate.delta
    allowed = most_losses(n, alpha=alpha, delta=delta)
    who = f"the candidate at {percent(certificate.sparsities[at])} sparsity"
    if allowed is None:
        least = math.ceil(math.log(delta) / math.log1p(-alpha))
        first = f"{n:,} examples cannot certify {exact_percent(alpha)} at all: at least {least:,} are needed"
    else:
        first = f"{who[0].upper() + who[1:]} loses {k:,} of {n:,}; at most {allowed:,} may be lost"
    more = examples_needed(k / n, alpha=alpha, delta=delta)
    if more is None:
        return f"{first}. If {percent(k / n)} is its true rate, no number of examples will certify it."
    return f"{first}. If {percent(k / n)} is its true rate, about {plural(_round(more), 'example')} would be needed."


def _round(n: int) -> int:
    """Two significant digits, upwards: the grid is no finer."""
    step: int = 10 ** max(0, len(str(n)) - 2)
    return -(-n // step) * step


def _check(alpha: float, delta: float) -> None:
    if not (0 < alpha < 1 and 0 < delta < 1):
        raise BadInput(f"alpha and delta lie in (0, 1); got alpha={alpha}, delta={delta}")
